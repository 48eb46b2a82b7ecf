//! What a plain scalar means: the core schema of YAML 1.2, and where kubectl reads something else.
//!
//! kubectl reads YAML 1.1: an unquoted `no` is a truth value to it, and `010` is eight. Such text is never guessed
//! at here; it is a problem of its own, because one file must mean the same to everybody who reads it.

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
    if let Some(digits) = text.strip_prefix("0x").filter(|digits| all(digits, |c| c.is_ascii_hexdigit())) {
        return u64::from_str_radix(digits, 16)
            .map_or(Plain::NoJsonNumber, |value| Plain::Number(value.into()));
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| all(digits, |c| matches!(c, '0'..='7'))) {
        return u64::from_str_radix(digits, 8)
            .map_or(Plain::NoJsonNumber, |value| Plain::Number(value.into()));
    }
    if all(unsigned, |c| c.is_ascii_digit()) {
        let signed = text.strip_prefix('+').unwrap_or(text);
        return if let Ok(value) = signed.parse::<i64>() {
            Plain::Number(value.into())
        } else if let Ok(value) = signed.parse::<u64>() {
            Plain::Number(value.into())
        } else {
            Plain::NoJsonNumber
        };
    }
    if is_float(unsigned) {
        return text
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map_or(Plain::NoJsonNumber, Plain::Number);
    }
    Plain::Text
}

/// What kubectl takes an unquoted scalar for, where that is not what YAML 1.2 says.
pub(super) fn kubectl_reads(text: &str) -> Option<&'static str> {
    if matches!(text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") {
        return Some("`true`");
    }
    if matches!(text, "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") {
        return Some("`false`");
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let octal = unsigned.len() > 1 && unsigned.starts_with('0') && all(unsigned, |c| matches!(c, '0'..='7'));
    let binary =
        unsigned.strip_prefix("0b").is_some_and(|digits| all(digits, |c| matches!(c, '0' | '1' | '_')));
    let grouped = unsigned.contains('_')
        && unsigned.starts_with(|c: char| c.is_ascii_digit())
        && all(unsigned, |c| c.is_ascii_digit() || c == '_');
    (octal || binary || grouped).then_some("another number")
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
            ("1.", float(1.0)),
            (".5", float(0.5)),
            ("1e3", float(1000.0)),
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
        for text in ["no", "Yes", "on", "OFF", "y", "N"] {
            assert!(kubectl_reads(text).is_some(), "{text}");
        }
        for text in ["010", "-017", "0b11", "1_000"] {
            assert_eq!(kubectl_reads(text), Some("another number"), "{text}");
        }
        for text in ["0", "10", "08x", "true", "none", "1.0.0", "0x1F", "_1", "noon"] {
            assert_eq!(kubectl_reads(text), None, "{text}");
        }
    }
}
