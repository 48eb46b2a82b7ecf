//! What no text field may hold: a valid NHS number, or characters that make text look other than it is.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

/// The braille cell without dots, a symbol to Unicode.
const BLANK_BRAILLE: char = '\u{2800}';

/// Something in a text that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextProblem {
    /// Ten digits with a right check digit, standing alone.
    NhsNumber,
    /// NUL, another control character, or one that changes the direction of text.
    Unsafe(char),
}

/// Whether a text is empty to whoever reads it: nothing but white space and characters that show nothing.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || has_no_width(c) || c == BLANK_BRAILLE)
}

/// Whether ten digits carry a right NHS number check digit.
///
/// Source: NHS Data Model and Dictionary, `NHS NUMBER`: weights 10 to 2, modulus 11. The range 999 that is kept
/// for tests counts too, so that no one gets used to seeing one.
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

/// Whether a text holds a valid NHS number: ten digits, or grouped 3-3-4, not adjoining a letter or a digit.
pub fn holds_nhs_number(text: &str) -> bool {
    nhs_numbers(text).next().is_some()
}

/// The text with each NHS number in it made unreadable, with as many characters as before: what is said about a text
/// goes to logs and to statuses, where a number has no place either.
pub fn masked(text: &str) -> Cow<'_, str> {
    let hidden: BTreeSet<usize> = nhs_numbers(text).flat_map(|found| found.digits).collect();
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.char_indices().map(|(at, c)| if hidden.contains(&at) { '•' } else { c }).collect())
}

/// An NHS number in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NhsNumber {
    /// Its ten digits, however they are grouped.
    pub number: [u8; 10],
    /// Where each of them starts, in bytes.
    pub digits: Vec<usize>,
}

/// Every NHS number in a text. Characters without a width are read over, and full-width digits are digits: neither
/// hides a number from who reads it.
pub fn nhs_numbers(text: &str) -> impl Iterator<Item = NhsNumber> {
    // most texts have no ten digits at all
    let enough = text.chars().filter(|c| digit(*c).is_some()).nth(9).is_some();
    let chars: Vec<(usize, char)> =
        if enough { text.char_indices().filter(|(_, c)| !has_no_width(*c)).collect() } else { Vec::new() };
    (0..chars.len()).filter_map(move |start| {
        let before = start.checked_sub(1).and_then(|index| chars.get(index));
        if before.is_some_and(|(_, c)| c.is_alphanumeric()) {
            return None;
        }
        [false, true].into_iter().find_map(|grouped| nhs_number_at(chars.get(start..)?, grouped))
    })
}

/// How many separators may be between two groups.
const MOST_SEPARATORS: usize = 3;

/// The NHS number that a text starts with, with separators after the third and the sixth digit where it is grouped.
fn nhs_number_at(chars: &[(usize, char)], grouped: bool) -> Option<NhsNumber> {
    let mut found = NhsNumber { number: [0; 10], digits: Vec::with_capacity(10) };
    let mut rest = chars;
    for (position, slot) in found.number.iter_mut().enumerate() {
        if grouped && (position == 3 || position == 6) {
            let separators = rest.iter().take_while(|(_, c)| is_separator(*c)).count();
            if separators == 0 || separators > MOST_SEPARATORS {
                return None;
            }
            rest = rest.get(separators..)?;
        }
        let ((at, c), tail) = rest.split_first()?;
        *slot = digit(*c)?;
        found.digits.push(*at);
        rest = tail;
    }
    let stands_alone = !rest.first().is_some_and(|(_, c)| c.is_alphanumeric());
    (stands_alone && is_nhs_number(&found.number)).then_some(found)
}

/// What a digit is worth, also where it is as wide as a Chinese character.
fn digit(c: char) -> Option<u8> {
    let plain = match c {
        '\u{ff10}'..='\u{ff19}' => char::from_u32(u32::from(c) - 0xff10 + u32::from('0'))?,
        _ => c,
    };
    u8::try_from(plain.to_digit(10)?).ok()
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || c == BLANK_BRAILLE
        || matches!(c, '-' | '.' | '/' | '_' | '\u{b7}' | '\u{2010}'..='\u{2015}' | '\u{2022}' | '\u{2212}')
}

/// Whether a character shows nothing: Unicode's `Default_Ignorable_Code_Point`, fillers and selectors among them. Most are
/// not unsafe, as scripts and emoji need them.
fn has_no_width(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a character is one that no one sees, and no script needs.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Whether a character makes text look other than it is (Unicode Technical Report 36, bidirectional text spoofing).
fn is_unsafe(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
        || is_hidden(c)
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character does something else than show itself: it moves a terminal's cursor, turns writing round, takes
/// no room, or ends a line where no reader sees it. More than what texts are refused for, as joiners are of use in a
/// text, and in what is shown about one they only hide something.
fn is_invisible(c: char) -> bool {
    is_unsafe(c)
        // what says how the character before it is drawn hides nothing
        || (has_no_width(c) && !matches!(c, '\u{fe00}'..='\u{fe0f}'))
        || matches!(c, '\r' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
        // no characters, which XML does not take
        || u32::from(c) & 0xfffe == 0xfffe
}

/// The text as it can be shown in a terminal, a log or a page: what would act there instead of being seen is written
/// as `\u{…}`. Line breaks and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, is_invisible, |c, out| out.extend(c.escape_unicode()))
}

/// The text as [`visible`] has it, and in one line: what is said about a text does not end where it has a line break.
pub fn in_one_line(text: &str) -> Cow<'_, str> {
    let breaks = |c| matches!(c, '\n' | '\t') || is_invisible(c);
    replaced(text, breaks, |c, out| out.extend(c.escape_unicode()))
}

/// JSON as it can be shown: what would act instead of being seen is written as JSON writes it, `\u202e`. It only
/// is within texts, so that the JSON means the same.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    replaced(json, is_invisible, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn replaced(text: &str, acts: impl Fn(char) -> bool, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    // most texts are plain
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.chars().any(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { write(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Fields of metadata that a machine counts up, in which ten digits mean nothing. A digest needs no exemption: its
/// digits are 64 without a gap. By their name alone no fields are exempt, as a label may have any name.
const COUNTED: [&str; 2] = ["uid", "resourceVersion"];

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
                if path.is_empty() && COUNTED.contains(&key.as_str()) {
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
    // what a Cedar text spells in escapes is what is shown of it
    let text = if is_cedar(path) { unescaped(text) } else { Cow::Borrowed(text) };
    if holds_nhs_number(&text) {
        problems.push((path.to_owned(), TextProblem::NhsNumber));
    }
    if let Some(c) = text.chars().find(|c| is_unsafe(*c)) {
        problems.push((path.to_owned(), TextProblem::Unsafe(c)));
    }
}

/// Whether a field of a spec holds Cedar.
fn is_cedar(path: &str) -> bool {
    path == "cedar" || path.starts_with("policies.") || path.starts_with("policies[")
}

/// A Cedar text with the escapes of its strings as what they stand for.
///
/// Source: the grammar of the Cedar policy language, `STR`: the escapes of Rust's strings, `\x7f` and `\u{1f600}`
/// among them.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        out.push_str(before);
        let (digits, after) = match escape.strip_prefix("u{").and_then(|it| it.split_once('}')) {
            Some((digits, after)) => (Some(digits), after),
            None if escape.starts_with('x') => (escape.get(1..3), escape.get(3..).unwrap_or_default()),
            None => (escape.strip_prefix('0').map(|_| "0"), escape.get(1..).unwrap_or_default()),
        };
        let spelt = digits.and_then(|it| u32::from_str_radix(&it.replace('_', ""), 16).ok());
        match spelt.and_then(char::from_u32) {
            Some(spelt) => {
                out.push(spelt);
                rest = after;
            }
            // another escape is looked at as it is written
            None => {
                out.push('\\');
                out.extend(escape.chars().next());
                rest = escape.get(escape.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
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
            format!("{a}.{b}.{c}"),
            format!("{a}/{b}/{c}"),
            format!("{a}_{b}_{c}"),
            format!("{a}\t{b}\n{c}"),
            format!("{a} - {b} - {c}"),
            format!("{a}\u{2013}{b}\u{2011}{c}"),
            format!("{a}\u{200b}{b}\u{ad}{c}"),
            number.chars().map(|c| char::from_u32(u32::from(c) - 0x30 + 0xff10).unwrap()).collect(),
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
    fn a_digest_holds_none_and_paths_name_the_text() {
        let number = made("999000001");
        let digest = format!("sha256:{number}{}", "0".repeat(54));
        let value = serde_json::json!({
            "spec": { "termsHash": digest, "parties": [{ "note": number }] }
        });
        assert_eq!(text_problems(&value), [("spec.parties[0].note".to_owned(), TextProblem::NhsNumber)]);
        // only what the API server counts is exempt, and not what is called so elsewhere
        let metadata = serde_json::json!({ "resourceVersion": number, "labels": { "uid": number } });
        assert_eq!(text_problems(&metadata), [("labels.uid".to_owned(), TextProblem::NhsNumber)]);
    }

    #[test]
    fn a_masked_text_is_as_long_as_before_and_holds_no_number() {
        let number = made("999000001");
        let (a, b, c) = (&number[..3], &number[3..6], &number[6..]);
        for text in [number.clone(), format!("é {a} {b} {c}, then {a}-{b}-{c}")] {
            let masked = masked(&text);
            assert!(!holds_nhs_number(&masked), "{masked}");
            assert_eq!(masked.chars().count(), text.chars().count());
        }
        assert_eq!(masked("call 01772 515151"), "call 01772 515151");
    }

    #[test]
    fn what_acts_instead_of_being_seen_is_spelt_out() {
        for (text, seen) in [
            ("a\u{1b}[2Kb", "a\\u{1b}[2Kb"),
            ("x\u{202e}y\u{2066}", "x\\u{202e}y\\u{2066}"),
            ("a\rb\u{7f}\u{9b}", "a\\u{d}b\\u{7f}\\u{9b}"),
            ("a\u{200b}\u{200d}\u{feff}\u{ad}", "a\\u{200b}\\u{200d}\\u{feff}\\u{ad}"),
            ("one\n\ttwo é 好", "one\n\ttwo é 好"),
        ] {
            assert_eq!(visible(text), seen);
        }
        let value = serde_json::json!({ "a\u{202e}": "\u{1b}\u{7f}\u{e0041}\n" });
        let json = value.to_string();
        let seen = visible_json(&json);
        assert!(!seen.chars().any(is_invisible), "{seen}");
        assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), value);
    }

    #[test]
    fn bidirectional_and_control_characters_are_found_and_line_breaks_are_not() {
        assert_eq!(text_problems(&serde_json::json!("a\nb\tc")), []);
        assert_eq!(
            text_problems(&serde_json::json!({ "a": "x\u{202e}y" })),
            [("a".to_owned(), TextProblem::Unsafe('\u{202e}'))]
        );
        assert_eq!(
            text_problems(&serde_json::json!({ "cedar": "@reason(\"a \\u{202e} b\") permit \\n" })),
            [("cedar".to_owned(), TextProblem::Unsafe('\u{202e}'))]
        );
        assert_eq!(text_problems(&serde_json::json!({ "cedar": "\"a\\tb\\n\\\\u{202e}\\'\"" })), []);
        let spelt: String = made("999000001").bytes().map(|it| format!("\\u{{{it:x}}}")).collect();
        assert_eq!(
            text_problems(&serde_json::json!({ "policies": { "a.cedar": spelt } })),
            [("policies.a.cedar".to_owned(), TextProblem::NhsNumber)]
        );
        assert_eq!(
            text_problems(&serde_json::json!({ "a": "\0" })),
            [("a".to_owned(), TextProblem::Unsafe('\0'))]
        );
    }

    #[test]
    fn a_line_that_somebody_else_has_broken_is_one_line() {
        assert_eq!(
            in_one_line("a\n::error::b\tc\u{1b}d\u{202e}"),
            "a\\u{a}::error::b\\u{9}c\\u{1b}d\\u{202e}"
        );
        assert_eq!(in_one_line("plain"), "plain");
    }

    #[test]
    fn what_is_blank_here_is_blank_to_the_schema() {
        let schema = serde_json::json!({ "pattern": concordat_api::shape::VISIBLE });
        let visible = jsonschema::validator_for(&schema).unwrap();
        let blank: Vec<char> = ('\0'..=char::MAX).filter(|c| is_blank(&c.to_string())).collect();
        assert!(blank.len() > 4000, "{}", blank.len());
        let shown = blank.into_iter().filter(|c| visible.is_valid(&Value::from(c.to_string())));
        assert_eq!(shown.collect::<String>(), "");
    }
}
