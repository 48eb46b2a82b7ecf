//! What Kubernetes takes for a name, a label's key or a label's value.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/util/validation`, to the byte: what passes here, the API server takes.

/// An RFC 1123 subdomain: the name of an object.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

/// An RFC 1123 label: the name of a namespace.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// The key of a label or annotation, or the name of a finalizer: `name` or `prefix/name`.
pub fn is_qualified(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && is_word(name)
}

/// The value of a label; an empty one is a value too.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_word(text)
}

/// What a qualified name has to look like, for a help.
pub const QUALIFIED: &str = "it takes letters, digits, `-`, `_` and `.`, at most 63, starting and ending with a letter or a digit; \
                             before it may come a domain and a `/`, as in `app.kubernetes.io/name`";

/// What a label's value has to look like, for a help.
pub const LABEL_VALUE: &str =
    "it takes letters, digits, `-`, `_` and `.`, at most 63, starting and ending with a letter or a digit";

fn is_part(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || c == '-')
}

fn is_word(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualified_name_is_a_word_with_or_without_a_domain() {
        let long = |count| "a".repeat(count);
        for good in
            ["app", "App_1.x-Y", "app.kubernetes.io/name", &long(63), &format!("{}/{}", long(253), long(63))]
        {
            assert!(is_qualified(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/name",
            "app/",
            "a/b/c",
            "app kubernetes/io",
            "-app",
            "app.",
            "App.Io/name",
            "a..b/name",
            "é",
            &long(64),
            &format!("{}/a", long(254)),
        ] {
            assert!(!is_qualified(bad), "{bad}");
        }
    }

    #[test]
    fn the_value_of_a_label_may_be_empty_and_no_longer_than_63() {
        assert!(is_label_value("") && is_label_value("a") && is_label_value("A-1_b.c"));
        assert!(!is_label_value("-a") && !is_label_value(&"a".repeat(64)) && !is_label_value("a b"));
    }

    #[test]
    fn names_of_objects_are_those_of_dns() {
        assert!(is_subdomain("a.b-c") && !is_subdomain("a.-b") && !is_subdomain(&"a".repeat(254)));
    }
}
