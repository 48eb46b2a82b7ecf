//! Characters that no one sees, or that end a line for some readers only.

use super::node::{Place, Problem};
use concordat_core::finding::Code;

/// What is said of a character that cannot be seen.
pub(super) struct Invisible {
    pub(super) message: String,
    pub(super) help: &'static str,
}

/// The name of a character that looks like a space or like nothing at all, and is no plain space.
fn name(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' => "no-break space",
        '\u{ad}' => "soft hyphen",
        '\u{34f}' => "combining grapheme joiner",
        '\u{61c}' => "Arabic letter mark",
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => "Hangul filler",
        '\u{1680}' => "Ogham space",
        '\u{17b4}' | '\u{17b5}' => "Khmer inherent vowel",
        '\u{180b}'..='\u{180f}' => "Mongolian separator",
        '\u{2000}'..='\u{200a}' => "typographic space",
        '\u{200b}' => "zero width space",
        '\u{200c}' | '\u{200d}' => "zero width joiner",
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => "change of direction",
        '\u{202f}' => "narrow no-break space",
        '\u{205f}' => "mathematical space",
        '\u{2060}' => "word joiner",
        '\u{2061}'..='\u{2064}' => "invisible operator",
        '\u{206a}'..='\u{206f}' => "deprecated format character",
        '\u{2800}' => "blank Braille pattern",
        '\u{3000}' => "ideographic space",
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => "variation selector",
        '\u{feff}' => "byte order mark",
        '\u{e0000}'..='\u{e007f}' => "tag character",
        _ => return None,
    })
}

/// Whether a character is shown as a space, and no plain space.
fn is_odd_space(c: char) -> bool {
    !c.is_ascii() && c.is_whitespace()
}

fn invisible(c: char, within: &str) -> Option<Invisible> {
    let name = name(c)?;
    Some(Invisible {
        message: format!("this {within} holds the invisible character U+{:04X} ({name})", u32::from(c)),
        help: if is_odd_space(c) {
            "write a plain space, or none"
        } else {
            "take it out: it makes the text look other than it is"
        },
    })
}

/// A character in a key that cannot be seen: no key needs one.
pub(super) fn in_key(key: &str) -> Option<Invisible> {
    key.chars().find_map(|c| invisible(c, "key"))
}

/// A space in a value that is no plain one, where it is not typography: at either end, or where the value has no plain
/// space, so that it is a name or a code and not prose. What else is refused in values is asked of the object.
pub(super) fn in_value(value: &str) -> Option<Invisible> {
    let odd = value.chars().find(|c| is_odd_space(*c))?;
    let at_an_end =
        [value.chars().next(), value.chars().next_back()].into_iter().flatten().find(|c| is_odd_space(*c));
    let is_prose = value.trim().contains(' ');
    at_an_end.or((!is_prose).then_some(odd)).and_then(|c| invisible(c, "value"))
}

/// A character that cannot be seen in a line, for whoever cannot make sense of the line.
pub(super) fn in_line(line: &str) -> Option<String> {
    let c = line.chars().find(|c| name(*c).is_some())?;
    Some(format!("U+{:04X} ({})", u32::from(c), name(c)?))
}

/// Every character of a text that kubectl refuses, or that ends a line for some readers and not for others. The text's
/// first line has the number `line`.
pub(super) fn refused(text: &str, line: u32) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut at: Place = (line, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_line_for_some = match c {
            '\r' => chars.peek() != Some(&'\n'),
            '\u{85}' | '\u{2028}' | '\u{2029}' => true,
            _ => false,
        };
        let code = u32::from(c);
        if ends_line_for_some {
            problems.push(Problem::new(
                Code::InvalidYaml,
                at,
                format!("U+{code:04X} ends a line for some readers and not for others"),
                "end lines with a line feed, and write the character as an escape in double quotes where you mean it",
            ));
        } else if c == '\u{feff}' {
            problems.push(Problem::new(
                Code::InvalidYaml,
                at,
                "a byte order mark (U+FEFF) is not at the start of the file",
                "take it out: files that were joined may have left it",
            ));
        } else if (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        {
            problems.push(Problem::new(
                Code::InvalidYaml,
                at,
                format!("not valid YAML: the text holds the control character U+{code:04X}"),
                "take the character out, or look whether this is a text file at all",
            ));
        }
        if problems.len() == MOST {
            return problems;
        }
        at = if c == '\n' { (at.0.saturating_add(1), 1) } else { (at.0, at.1.saturating_add(1)) };
    }
    problems
}

/// How many such characters are worth naming.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_that_is_no_plain_one_is_named_where_it_is_not_typography() {
        for (value, found) in [
            ("Independent\u{a0}", true),
            ("\u{3000}a b", true),
            ("Northvale\u{a0}Trust", true),
            ("within 10\u{a0}km of the practice", false),
            ("a b", false),
            ("é🏥", false),
        ] {
            assert_eq!(in_value(value).is_some(), found, "{value:?}");
        }
        let Some(Invisible { message, .. }) = in_key("kind\u{a0}") else { panic!("it is named") };
        assert_eq!(message, "this key holds the invisible character U+00A0 (no-break space)");
    }

    #[test]
    fn what_ends_a_line_for_some_only_is_found_with_its_place() {
        let places: Vec<Place> =
            refused("a\r\nb\rc\u{2028}\n\u{85}\u{feff}\0\t", 5).iter().map(|it| it.at).collect();
        assert_eq!(places, [(6, 2), (6, 4), (7, 1), (7, 2), (7, 3)]);
        assert_eq!(refused(&"\0".repeat(1_000), 1).len(), MOST);
    }
}
