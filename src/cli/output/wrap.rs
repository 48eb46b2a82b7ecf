//! Text set to a width.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Sets text in lines of at most `width` columns, where its words allow it: names and paths are never cut. Each line after
/// the first is indented by more than that, so that the text is a column. Colours take no room.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let words: Vec<&str> = text.split_whitespace().collect();
    textwrap::wrap(&words.join(" "), options).join(&format!("\n{}", " ".repeat(indent)))
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
        assert_eq!(wrap("\x1b[1mone\x1b[0m two", 7, 0), "\x1b[1mone\x1b[0m two");
        assert_eq!(wrap("a-b/c-d e", 4, 0), "a-b/c-d\ne");
    }
}
