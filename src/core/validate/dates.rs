//! Dates as people write them, and how they have to be written.

use jiff::civil::Date;
use jiff::{Timestamp, Unit};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What would work where a date was written some other way: the date itself, where it can be made out.
pub(super) fn help(text: &str) -> String {
    match rewritten(text) {
        Some(date) => format!("write it as `{date}`"),
        None => "write it as RFC 3339 has it, such as `2026-04-01T00:00:00Z`".to_owned(),
    }
}

/// A date as it has to be written, where it can be made out. Days come before months, as in British dates.
fn rewritten(text: &str) -> Option<String> {
    let text = text.trim();
    let moment = moment(text).or_else(|| {
        let date = date(text)?;
        format!("{date}T00:00:00Z").parse().ok()
    })?;
    // rounded down, so that what ends does not end later
    let round = jiff::TimestampRound::new().smallest(Unit::Millisecond).mode(jiff::RoundMode::Floor);
    let moment = moment.round(round).ok()?;
    let within = |year: i64| (1000..=9999).contains(&year);
    within(moment.to_string().get(..4)?.parse().ok()?).then(|| moment.to_string())
}

/// A moment that lacks its zone or its seconds, or has a blank for the `T`, or digits that no one signs.
fn moment(text: &str) -> Option<Timestamp> {
    let upper = text.to_ascii_uppercase().replacen(' ', "T", 1);
    let seconds = || format!("{}:00Z", upper.trim_end_matches('Z'));
    [upper.clone(), format!("{upper}Z"), seconds()].iter().find_map(|text| text.parse().ok())
}

/// A day: `2026-4-1`, `1/4/2026`, `01.04.2026`, `1 April 2026`, `1st Apr 2026`, `April 1, 2026`.
fn date(text: &str) -> Option<Date> {
    let parts: Vec<&str> = text.split(['-', '/', '.', ' ', ',']).filter(|part| !part.is_empty()).collect();
    let [first, second, third] = parts.as_slice() else {
        return None;
    };
    let (day, month, year) = match (number(first), number(second), number(third)) {
        (Some(year), Some(month), Some(day)) if first.len() == 4 => (day, month, year),
        (Some(day), Some(month), Some(year)) if third.len() == 4 => (day, month, year),
        (Some(day), None, Some(year)) if third.len() == 4 => (day, named_month(second)?, year),
        (None, Some(day), Some(year)) if third.len() == 4 => (day, named_month(first)?, year),
        _ => return None,
    };
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn number(text: &str) -> Option<i16> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| text.strip_suffix(ending)).unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn named_month(text: &str) -> Option<i16> {
    let lower = text.to_ascii_lowercase();
    let found = MONTHS.iter().position(|month| lower.len() >= 3 && month.starts_with(&lower))?;
    i16::try_from(found + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_however_it_is_written_is_told_as_it_has_to_be() {
        for text in [
            "2026-04-01",
            "2026-4-1",
            "2026/04/01",
            "1/4/2026",
            "01.04.2026",
            "1 April 2026",
            "1st Apr 2026",
            "April 1, 2026",
            "2026-04-01T00:00",
            "2026-04-01 00:00:00",
            "2026-04-01t00:00:00z",
            "2026-04-01T00:00:00.0004Z",
            "2026-04-01T01:00:00+01:00",
        ] {
            assert_eq!(help(text), "write it as `2026-04-01T00:00:00Z`", "{text}");
        }
    }

    #[test]
    fn what_cannot_be_made_out_is_shown_by_example() {
        for text in ["", "soon", "2026", "31/2/2026", "1/4/26", "0001-01-01", "2026-13-01T00:00:00Z"] {
            assert_eq!(help(text), "write it as RFC 3339 has it, such as `2026-04-01T00:00:00Z`", "{text}");
        }
    }

    #[test]
    fn what_is_finer_than_a_millisecond_is_cut() {
        assert_eq!(help("2026-04-01T00:00:00.1239999Z"), "write it as `2026-04-01T00:00:00.123Z`");
    }
}
