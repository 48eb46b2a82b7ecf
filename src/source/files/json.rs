//! The one thing in JSON that YAML does not have: a character written as a pair of surrogates.

/// Writes out each pair of surrogate escapes, such as `\\ud83c\\udfe5`, as the character that it stands for.
pub(super) fn join_surrogates(text: String) -> String {
    if !text.contains("\\u") {
        return text;
    }
    let mut joined = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        joined.push_str(before);
        if let Some(character) = pair(escape) {
            joined.push(character);
            rest = escape.get(12..).unwrap_or_default();
        } else {
            // the escape and what it escapes, so that an escaped backslash starts nothing
            let length = 1 + escape.chars().nth(1).map_or(0, char::len_utf8);
            let (kept, after) = escape.split_at(length);
            joined.push_str(kept);
            rest = after;
        }
    }
    joined.push_str(rest);
    joined
}

fn pair(text: &str) -> Option<char> {
    let unit = |from: usize| {
        let digits = text.get(from..from + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    char::decode_utf16([unit(0)?, unit(6)?]).next()?.ok().filter(|character| u32::from(*character) > 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_joined_and_everything_else_stays() {
        for (from, to) in [
            (r"a \ud83c\udfe5 b", "a 🏥 b"),
            (r"\\ud83c\udfe5", r"\\ud83c\udfe5"),
            (r"\ud83c", r"\ud83c"),
            (r"\u00e9\u00e9", r"\u00e9\u00e9"),
            (r"\", r"\"),
            (r"\é\u", r"\é\u"),
        ] {
            assert_eq!(join_surrogates(from.to_owned()), to);
        }
    }
}
