//! Text set to a width.

/// Sets text in lines of at most `width` characters, where its words allow it. Each line after the first is indented
/// by more than that, so that the text stands in a column.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = visible(word);
        if used > 0 && used + 1 + length > width {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines
}

/// How many characters show; colours do not.
fn visible(word: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for c in word.chars() {
        match c {
            '\x1b' => escape = true,
            'm' if escape => escape = false,
            _ if escape => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_long_words_stand_alone() {
        assert_eq!(wrap("one two three four", 10, 2), "one two\n  three four");
        assert_eq!(wrap("one", 2, 2), "one");
        assert_eq!(wrap("a verylongword b", 6, 1), "a\n verylongword\n b");
        assert_eq!(wrap("", 6, 1), "");
    }
}
