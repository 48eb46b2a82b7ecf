//! What no text field may hold: a valid NHS number, or characters that make text look other than it is.

use serde_json::Value;

/// Something in a text that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextProblem {
    /// Ten digits with a right check digit, standing alone.
    NhsNumber,
    /// NUL, another control character, or one that changes the direction of text.
    Unsafe(char),
}

/// Whether ten digits carry a right NHS number check digit.
///
/// Source: NHS Data Model and Dictionary, `NHS NUMBER`: weights 10 to 2, modulus 11. The range 999 that is kept
/// for tests counts too, so that nobody gets used to seeing one.
fn is_nhs_number(digits: &[u8; 10]) -> bool {
    let (body, check) = digits.split_at(9);
    let sum: u32 = body.iter().zip((2..=10).rev()).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let expected = match 11 - sum % 11 {
        11 => 0,
        10 => return false,
        digit => digit,
    };
    check.first().is_some_and(|digit| u32::from(*digit) == expected)
}

/// Whether a text holds a valid NHS number: ten digits, or grouped 3-3-4 by a space or a hyphen, not adjoining a
/// letter or a digit.
pub fn holds_nhs_number(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).any(|start| {
        let before = start.checked_sub(1).and_then(|index| chars.get(index));
        if before.is_some_and(|c| c.is_alphanumeric()) {
            return false;
        }
        [0_usize, 1].iter().any(|gap| nhs_number_at(&chars, start, *gap))
    })
}

/// Whether an NHS number starts at `start`, with `gap` separators (0 or 1) after the third and the sixth digit.
fn nhs_number_at(chars: &[char], start: usize, gap: usize) -> bool {
    let mut digits = [0_u8; 10];
    let mut index = start;
    for (position, slot) in digits.iter_mut().enumerate() {
        if gap == 1 && (position == 3 || position == 6) {
            if !chars.get(index).is_some_and(|c| is_separator(*c)) {
                return false;
            }
            index += 1;
        }
        match chars.get(index).and_then(|c| c.to_digit(10)).and_then(|digit| u8::try_from(digit).ok()) {
            Some(digit) => *slot = digit,
            None => return false,
        }
        index += 1;
    }
    !chars.get(index).is_some_and(|c| c.is_alphanumeric()) && is_nhs_number(&digits)
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{2010}' | '\u{2011}' | '\u{2013}')
}

/// Whether a character makes text look other than it is (Unicode Technical Report 36, bidirectional text spoofing).
fn is_unsafe(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Fields whose text is a digest or an identity made by a machine, in which ten digits mean nothing.
const DIGESTS: [&str; 5] = ["termsHash", "sha256", "digest", "uid", "resourceVersion"];

/// Everything that is refused in the texts of a value, with the path of each text.
pub fn text_problems(value: &Value) -> Vec<(String, TextProblem)> {
    let mut problems = Vec::new();
    walk(value, &mut String::new(), &mut problems);
    problems
}

fn walk(value: &Value, path: &mut String, problems: &mut Vec<(String, TextProblem)>) {
    match value {
        Value::String(text) => examine(text, path, problems),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                walk(item, path, problems);
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                if DIGESTS.contains(&key.as_str()) {
                    continue;
                }
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                examine(key, path, problems);
                walk(field, path, problems);
                path.truncate(length);
            }
        }
        Value::Number(number) => examine(&number.to_string(), path, problems),
        Value::Null | Value::Bool(_) => {}
    }
}

fn examine(text: &str, path: &str, problems: &mut Vec<(String, TextProblem)>) {
    if holds_nhs_number(text) {
        problems.push((path.to_owned(), TextProblem::NhsNumber));
    }
    if let Some(c) = text.chars().find(|c| is_unsafe(*c)) {
        problems.push((path.to_owned(), TextProblem::Unsafe(c)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number with a right check digit, made here so that none is ever written down.
    fn made(start: &str) -> String {
        (0..10)
            .map(|digit| format!("{start}{digit}"))
            .find(|text| {
                let digits: Vec<u8> = text.bytes().map(|b| b - b'0').collect();
                is_nhs_number(&digits.try_into().unwrap())
            })
            .unwrap()
    }

    #[test]
    fn a_number_with_a_right_check_digit_is_found_plain_and_grouped() {
        let number = made("999000001");
        let (a, b, c) = (&number[..3], &number[3..6], &number[6..]);
        for text in [
            number.clone(),
            format!("{a} {b} {c}"),
            format!("{a}-{b}-{c}"),
            format!("patient ({number})."),
            format!("x {a} {b} {c}, y"),
        ] {
            assert!(holds_nhs_number(&text), "{text}");
        }
    }

    #[test]
    fn a_number_that_adjoins_a_letter_or_digit_or_has_a_wrong_check_digit_is_not_one() {
        let number = made("999000001");
        for text in [format!("1{number}"), format!("{number}5"), format!("A{number}"), format!("{number}b")] {
            assert!(!holds_nhs_number(&text), "{text}");
        }
        let wrong: String = number[..9].to_owned() + if number.ends_with('0') { "1" } else { "0" };
        assert!(!holds_nhs_number(&wrong));
    }

    #[test]
    fn digests_are_exempt_and_paths_name_the_text() {
        let number = made("999000001");
        let value = serde_json::json!({
            "spec": { "termsHash": format!("sha256:{number}"), "parties": [{ "note": number }] }
        });
        assert_eq!(text_problems(&value), [("spec.parties[0].note".to_owned(), TextProblem::NhsNumber)]);
    }

    #[test]
    fn bidirectional_and_control_characters_are_found_and_line_breaks_are_not() {
        assert_eq!(text_problems(&serde_json::json!("a\nb\tc")), []);
        assert_eq!(
            text_problems(&serde_json::json!({ "a": "x\u{202e}y" })),
            [("a".to_owned(), TextProblem::Unsafe('\u{202e}'))]
        );
        assert_eq!(
            text_problems(&serde_json::json!({ "a": "\0" })),
            [("a".to_owned(), TextProblem::Unsafe('\0'))]
        );
    }
}
