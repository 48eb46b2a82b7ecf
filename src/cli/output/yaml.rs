//! YAML that every reader takes for the same: kubectl's 1.1 as well as ours.

use serde::Serialize;

/// A value as a YAML document.
pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String, serde_saphyr::SerializeError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_that_looks_like_something_else_stays_text() {
        let value = json!({
            "words": ["yes", "no", "on", "off", "y", "n", "true", "null", "~", "", "<<", "="],
            "numbers": ["1", "010", "0x1F", "0b1", "1_000", "1e3", "1.0", ".5", "+1", "-0", ".inf", "12:30", "1:20:30"],
            "dates": ["2026-04-01T00:00:00Z", "2026-04-01"],
            "marks": ["# a", "a: b", "a #b", "- a", "*a", "&a", "!a", "%a", "@a", "`a", "{a", "[a", "'a", "\"a", "a\nb\n", " a ", "a\t"],
            "long": "word ".repeat(60),
            "no": { "empty": {}, "list": [] },
        });
        let text = to_yaml(&value).unwrap();
        assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&text).unwrap(), value, "{text}");
        for (from, line) in text.lines().enumerate() {
            let item = line.trim().trim_start_matches("- ");
            let quoted = item.starts_with(['"', '\''])
                || item.ends_with(':')
                || item.contains(": ")
                || item.contains('{');
            let date = item.starts_with("2026");
            let time = item.contains(':');
            assert!(quoted || date || time, "line {from} is open to another reading: {line}");
        }
    }
}
