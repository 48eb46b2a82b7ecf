//! What a plain scalar means: the core schema of YAML 1.2, and where kubectl reads something else.
//!
//! kubectl reads YAML 1.1: an unquoted `no` is a truth value to it, and `010` is eight. Such text is never guessed
//! at here; it is a problem of its own, because a file must mean the same to everyone who reads it.

use serde_json::Number;

/// The meaning of an unquoted scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Number(Number),
    Text,
    /// A number that JSON cannot hold: infinite, not a number, or too large.
    NoJsonNumber,
}

/// What an unquoted scalar means in YAML 1.2.
pub(super) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::NoJsonNumber,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Plain::NoJsonNumber;
    }
    let based = [("0x", 16), ("0o", 8)].iter().find_map(|(prefix, base)| {
        let digits = text.strip_prefix(prefix).filter(|digits| all(digits, |c| c.is_digit(*base)))?;
        Some(i64::from_str_radix(digits, *base).ok())
    });
    if let Some(value) = based {
        return value.map_or(Plain::NoJsonNumber, |value| Plain::Number(value.into()));
    }
    if all(unsigned, |c| c.is_ascii_digit()) || is_float(unsigned) {
        return number(text).map_or(Plain::NoJsonNumber, Plain::Number);
    }
    Plain::Text
}

/// A number, if it is one that every reader holds exactly: a whole one within 64 bits, or a fraction. What is whole is
/// held as such however it is written, as it is sent to the API server.
pub(super) fn number(text: &str) -> Option<Number> {
    /// From here on a float no longer tells each whole number from the next.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if all(unsigned, |c| c.is_ascii_digit()) {
        return text.parse::<i64>().ok().map(Number::from);
    }
    let value = text.parse::<f64>().ok().filter(|value| value.abs() < EXACT)?;
    if value.fract() == 0.0 {
        // in range, as it is below the bound
        return format!("{value:.0}").parse::<i64>().ok().map(Number::from);
    }
    Number::from_f64(value)
}

/// What kubectl takes an unquoted scalar for, where that is not what YAML 1.2 says.
pub(super) fn kubectl_reads(text: &str) -> Option<String> {
    let kubectl = kubectl(text);
    (kubectl != plain(text)).then(|| match kubectl {
        Plain::Null => "null".to_owned(),
        Plain::Bool(value) => format!("`{value}`"),
        Plain::Number(number) => format!("the number {number}"),
        Plain::NoJsonNumber => "a number that cannot be held".to_owned(),
        Plain::Text => "text".to_owned(),
    })
}

/// What kubectl makes of an unquoted key, where it makes one of it.
pub(super) fn kubectl_key(text: &str) -> Option<String> {
    match kubectl(text) {
        Plain::Text => Some(text.to_owned()),
        Plain::Bool(value) => Some(value.to_string()),
        Plain::Number(number) if number.is_i64() && !text.contains(['.', 'e', 'E']) => {
            Some(number.to_string())
        }
        Plain::Null | Plain::Number(_) | Plain::NoJsonNumber => None,
    }
}

/// What an unquoted scalar means to kubectl, whose YAML is 1.1 with the whole numbers of Go.
fn kubectl(text: &str) -> Plain {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Plain::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Plain::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return plain(text);
    }
    let joined = text.replace('_', "");
    if let Some(whole) = go_integer(&joined) {
        return whole.map_or(Plain::NoJsonNumber, |value| Plain::Number(value.into()));
    }
    match plain(&joined) {
        number @ (Plain::Number(_) | Plain::NoJsonNumber) => number,
        Plain::Null | Plain::Bool(_) | Plain::Text => Plain::Text,
    }
}

/// A whole number as Go reads it, with a prefix for its base; `Some(None)` where it has more than 63 bits.
fn go_integer(text: &str) -> Option<Option<i64>> {
    let (sign, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { "-" } else { "" }, rest),
        None => ("", text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let bases = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = bases.iter().find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, *base)));
    let (digits, base) = match prefixed {
        Some(parts) => parts,
        None if lower.len() > 1 && lower.starts_with('0') => (lower.as_str(), 8),
        None => (lower.as_str(), 10),
    };
    all(digits, |c| c.is_digit(base)).then(|| i64::from_str_radix(&format!("{sign}{digits}"), base).ok())
}

fn all(text: &str, each: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(each)
}

/// `\.[0-9]+` or `[0-9]+(\.[0-9]*)?`, then perhaps an exponent.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| all(text, |c| c.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa_fits && exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let number = |value: i64| Plain::Number(value.into());
        let float = |value: f64| Plain::Number(Number::from_f64(value).unwrap());
        for (text, meaning) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("null", Plain::Null),
            ("True", Plain::Bool(true)),
            ("FALSE", Plain::Bool(false)),
            ("tRUE", Plain::Text),
            ("12", number(12)),
            ("-12", number(-12)),
            ("+12", number(12)),
            ("0x1F", number(31)),
            ("0o17", number(15)),
            ("1.5", float(1.5)),
            ("1.", number(1)),
            ("1.0", number(1)),
            (".5", float(0.5)),
            ("1e3", number(1000)),
            ("1e20", Plain::NoJsonNumber),
            ("9223372036854775807", number(i64::MAX)),
            ("9223372036854775808", Plain::NoJsonNumber),
            ("-0", number(0)),
            ("-1.5e-1", float(-0.15)),
            (".inf", Plain::NoJsonNumber),
            ("-.inf", Plain::NoJsonNumber),
            (".nan", Plain::NoJsonNumber),
            ("99999999999999999999", Plain::NoJsonNumber),
            ("1.0.0", Plain::Text),
            ("1e", Plain::Text),
            (".", Plain::Text),
            ("-", Plain::Text),
            ("2026-04-01T00:00:00Z", Plain::Text),
            ("no", Plain::Text),
            ("6(1)(e)", Plain::Text),
        ] {
            assert_eq!(plain(text), meaning, "{text}");
        }
    }

    #[test]
    fn what_kubectl_reads_otherwise_is_known() {
        for (text, read) in [
            ("no", "`false`"),
            ("Yes", "`true`"),
            ("on", "`true`"),
            ("OFF", "`false`"),
            ("y", "`true`"),
            ("N", "`false`"),
            ("010", "the number 8"),
            ("-017", "the number -15"),
            ("0b11", "the number 3"),
            ("0X123", "the number 291"),
            ("+0x1F", "the number 31"),
            ("0O17", "the number 15"),
            ("1_000", "the number 1000"),
            ("-_1", "the number -1"),
            ("1_0.5", "the number 10.5"),
            (".8_1", "the number 0.81"),
            ("0xFFFF_FFFF_FFFF_FFFF", "a number that cannot be held"),
        ] {
            assert_eq!(kubectl_reads(text).as_deref(), Some(read), "{text}");
        }
        for text in
            ["0", "10", "08", "08x", "true", "none", "1.0.0", "0x1F", "0o17", "_1", "noon", "1:30:00", ""]
        {
            assert_eq!(kubectl_reads(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_what_kubectl_makes_of_it() {
        for (text, key) in [
            ("a", Some("a")),
            ("no", Some("false")),
            ("12", Some("12")),
            ("012", Some("10")),
            ("1.5", None),
            ("~", None),
        ] {
            assert_eq!(kubectl_key(text).as_deref(), key, "{text}");
        }
    }
}
