//! Texts of every form that YAML has, and of some that it has not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A text as a file may hold it.
pub fn text() -> impl Strategy<Value = String> {
    let whole = prop_oneof![
        8 => documents(),
        2 => json_documents(),
        1 => (json(), documents()).prop_map(|(json, rest)| format!("{json}\n---\n{rest}")),
        1 => flow(false).prop_map(|flow| flow + "\n"),
    ];
    (
        whole,
        prop_oneof![6 => Just(Vec::new()), 1 => vec(splice(), 1..4)],
        line_end(),
        prop_oneof![12 => Just(""), 1 => Just("\u{feff}")],
    )
        .prop_map(|(text, splices, end, mark)| {
            let text = splices.into_iter().fold(text, |text, (at, over, piece)| {
                let chars: Vec<char> = text.chars().collect();
                let start = at.index(chars.len() + 1);
                let rest = chars.iter().skip(start + over);
                chars.iter().take(start).copied().chain(piece.chars()).chain(rest.copied()).collect()
            });
            format!("{mark}{}", text.replace('\n', end))
        })
}

/// Mostly one of the plain ones. What is odd in one place hides all that is read otherwise in others.
fn mostly(
    plain: &'static [&'static str],
    odd: &'static [&'static str],
) -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![20 => select(plain), 1 => select(odd)]
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![24 => Just("\n"), 6 => Just("\r\n"), 1 => select(&["\r", "\u{85}", "\u{2028}"][..])]
}

/// Something put into a text at a place, over some characters.
fn splice() -> impl Strategy<Value = (prop::sample::Index, usize, &'static str)> {
    const PIECES: &[&str] = &[
        "{", "}", "[", "]", ":", ": ", "- ", "? ", "&a ", "*a", "!", "!!", "|", ">", "|+2\n", "\"", "'", "#",
        " #", "\n", "\t", "%", "---\n", "\n---\n", "...\n", "\n...\n", "\r", "é", "🏥", "<<: ", ",", ", ",
        "@", "`", "\\", "\\u", "~", "\u{feff}", "   ", "  ", " ", "!<a>", "? [a\n", "- - -", "-", ".",
        "\u{a0}", "\0", "\n\n", " \n", "\t\n", "#a\n", "---", "--- ", "0", "a", "{}", "[]", "''", "\"\"",
        "\u{200b}",
    ];
    (any::<prop::sample::Index>(), 0..3_usize, select(PIECES))
}

/// Documents of YAML and what may be between them.
fn documents() -> impl Strategy<Value = String> {
    const PLAIN: &[&str] = &["---\n", "--- # a\n", "---  \n", "---\n---\n", "\n---\n\n"];
    const ODD: &[&str] = &[
        "---\t\n",
        "...\n---\n",
        "...\n",
        "... # a\n---\n",
        "--- a\n",
        "---a\n",
        "%YAML 1.1\n---\n",
        "%TAG ! a\n---\n",
        "--- |\n",
    ];
    let before = prop_oneof![
        6 => mostly(&["", "", "", "# a\n", "\n"], &[" \n", "\t# a\n"]),
        1 => mostly(PLAIN, ODD),
    ];
    let after = mostly(&["", "", "", "\n", "---\n", "# a"], &["...\n", "---", "..."]);
    (before, vec((document(), mostly(PLAIN, ODD)), 1..4), after).prop_map(|(before, documents, after)| {
        let last = documents.len() - 1;
        let body: String = documents
            .into_iter()
            .enumerate()
            .map(|(index, (text, between))| if index == last { text } else { text + between })
            .collect();
        format!("{before}{body}{after}")
    })
}

fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => tree().prop_map(|tree| {
            let mut text = String::new();
            tree.write(0, &mut text);
            text
        }),
        1 => scalar().prop_map(|scalar| scalar + "\n"),
        1 => flow(false).prop_map(|flow| flow + "\n"),
    ]
}

/// A block of YAML.
#[derive(Clone, Debug)]
enum Tree {
    /// On the line of its key.
    Inline(String),
    /// A block scalar: its header and its lines.
    Text(String, Vec<String>),
    /// On further lines of its own, such as plain text of several lines.
    Lines(Vec<String>),
    List {
        items: Vec<(Tree, String)>,
        indent: usize,
        properties: String,
    },
    Map {
        entries: Vec<(String, String, Tree, String)>,
        indent: usize,
        properties: String,
    },
}

impl Tree {
    /// Writes it after a key or dash, its lines being indented by so many spaces.
    fn write(&self, column: usize, text: &mut String) {
        let pad = |more: usize| " ".repeat(column + more);
        match self {
            Self::Inline(inline) => {
                text.push_str(inline);
                text.push('\n');
            }
            Self::Text(header, lines) => {
                text.push_str(header);
                text.push('\n');
                for line in lines {
                    if !line.is_empty() {
                        text.push_str(&pad(1));
                    }
                    text.push_str(line);
                    text.push('\n');
                }
            }
            Self::Lines(lines) => {
                for (index, line) in lines.iter().enumerate() {
                    if index > 0 {
                        text.push_str(&pad(1));
                    }
                    text.push_str(line);
                    text.push('\n');
                }
            }
            Self::List { items, indent, properties } => {
                text.push_str(properties);
                if column > 0 || !properties.is_empty() {
                    text.push('\n');
                }
                for (item, between) in items {
                    text.push_str(between);
                    text.push_str(&pad(*indent));
                    text.push_str("- ");
                    item.write(column + indent + 1, text);
                }
            }
            Self::Map { entries, indent, properties } => {
                text.push_str(properties);
                if column > 0 || !properties.is_empty() {
                    text.push('\n');
                }
                let indent = if column == 0 { 0 } else { *indent };
                for (key, colon, value, between) in entries {
                    text.push_str(between);
                    text.push_str(&pad(indent));
                    text.push_str(key);
                    text.push_str(colon);
                    value.write(column + indent + 1, text);
                }
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let properties = || {
        mostly(&["", "", "", "", "", "", "&a", "&b ", " # a"], &["!!map", "!!seq", "!x", "# a", "&a # b"])
            .prop_map(str::to_owned)
    };
    let between = || {
        mostly(&["", "", "", "", "", "", "\n", "# a\n", "  # a\n", " \n"], &["\t\n", "\t# a\n"])
            .prop_map(str::to_owned)
    };
    let leaf = prop_oneof![
        6 => (scalar(), comment()).prop_map(|(scalar, comment)| Tree::Inline(scalar + comment)),
        2 => flow(true).prop_map(Tree::Inline),
        2 => (header(), vec(line(), 0..4)).prop_map(|(header, lines)| Tree::Text(header, lines)),
        1 => vec(line(), 1..4).prop_map(Tree::Lines),
        1 => (quote(), vec(line(), 1..4)).prop_map(|(quote, mut lines)| {
            lines[0].insert_str(0, quote);
            lines.last_mut().unwrap().push_str(quote);
            Tree::Lines(lines)
        }),
    ];
    let nested = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            1 => (vec((inner.clone(), between()), 1..4), 0..4_usize, properties())
                .prop_map(|(items, indent, properties)| Tree::List { items, indent, properties }),
            2 => (vec((key(), colon(), inner, between()), 1..4), 1..4_usize, properties())
                .prop_map(|(entries, indent, properties)| Tree::Map { entries, indent, properties }),
        ]
    });
    vec((key(), colon(), nested, between()), 1..5).prop_map(|entries| {
        let unique = entries.into_iter().enumerate().map(|(index, (key, colon, value, between))| {
            // most of the time, as doubled keys are refused and nothing else would be seen
            let key = if index % 5 == 4 || !key.chars().all(char::is_alphanumeric) {
                key
            } else {
                format!("{key}x{index}")
            };
            (key, colon, value, between)
        });
        Tree::Map { entries: unique.collect(), indent: 0, properties: String::new() }
    })
}

fn colon() -> impl Strategy<Value = String> {
    mostly(&[": ", ": ", ": ", ":  ", " : "], &[":", ":\t", ": \t "]).prop_map(str::to_owned)
}

fn comment() -> impl Strategy<Value = &'static str> {
    mostly(&["", "", "", "", " # a", "  #", " #: a", " "], &["\t# a", "#a", "\t"])
}

fn quote() -> impl Strategy<Value = &'static str> {
    select(&["\"", "'"][..])
}

fn header() -> impl Strategy<Value = String> {
    (
        select(&["|", ">"][..]),
        mostly(&["", "", "", "-", "+", "1", "1-", "-1"], &["2", "+2", "0", "10"]),
        mostly(&["", "", "", " ", " # a"], &["\t", "#a", " a"]),
        mostly(&["", "", "", "", "", "", "!!str ", "&a "], &["!!str", "!x "]),
    )
        .prop_map(|(style, indicators, after, before)| format!("{before}{style}{indicators}{after}"))
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        30 => "[a-c][a-c ]{0,8}",
        1 => select(&["", " ", "\t", "\ta", "a\t", "# a", "a # b", "a: b", "- a", "---", "...", "%a", "  ", "a ", "'", "\"", "\\", "\\n", "\u{a0}a b", "{", "}", "a:", ": a", "é 🏥", "a\\"][..]).prop_map(str::to_owned),
    ]
}

/// A key, mostly one that is plain.
fn key() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "yes",
        "on",
        "n",
        "12",
        "012",
        "1.5",
        "1e3",
        "true",
        "null",
        "~",
        "",
        "<<",
        "\"a\"",
        "'a'",
        "\"\\u0061\"",
        "\"<<\"",
        "? a\n",
        "[a]",
        "{a: b}",
        "*a",
        "&a a",
        "!!str a",
        "!x a",
        "a b",
        "a: b",
        "a#b",
        "a #b",
        "-",
        "- a",
        "-a",
        "?a",
        ":a",
        "@a",
        "a\u{a0}",
        "0x1F",
        "2026-01-01",
        ".inf",
        "a,b",
        "a]",
        "{a",
        "é",
        "\"a b\"",
        "''",
        "'a''b'",
        "=",
        ".",
        "..",
    ];
    prop_oneof![40 => "[a-c]{1,3}", 1 => select(ODD).prop_map(str::to_owned)]
}

fn scalar() -> impl Strategy<Value = String> {
    const ODD: &[&str] = &[
        "",
        "~",
        "null",
        "Null",
        "nULL",
        "true",
        "True",
        "TRUE",
        "tRUE",
        "false",
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "0",
        "-0",
        "+0",
        "00",
        "7",
        "007",
        "08",
        "0o17",
        "0O17",
        "0b11",
        "0B11",
        "0b12",
        "0x1F",
        "0X1f",
        "0xG",
        "-0x1F",
        "+0x1F",
        "+12",
        "-12",
        "1_000",
        "_1",
        "1_",
        "-_1",
        "0_7",
        "0x_1F",
        "1__0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "0xFFFFFFFFFFFFFFFF",
        "1.0",
        "1.",
        ".5",
        "-.5",
        "+.5",
        "1.5",
        "1_0.5",
        "1e3",
        "1E3",
        "1e+3",
        "1e-3",
        "1.5e300",
        "1e400",
        "9007199254740993.0",
        "123456789012345678",
        "1e15",
        "1e22",
        ".inf",
        "-.inf",
        "+.INF",
        ".nan",
        ".NaN",
        "inf",
        "nan",
        "Infinity",
        "0x1p-2",
        ".e5",
        "1e",
        "e5",
        "1.0.0",
        "190:20:30",
        "1:30",
        "2026-04-01",
        "2026-04-01T00:00:00Z",
        "2026-04-01 00:00:00",
        "2026-4-1",
        "=",
        "<<",
        "!!str",
        "!!str 1",
        "!!int 1",
        "!!int a",
        "!!float 1",
        "!!bool yes",
        "!!null ''",
        "!!binary YQ==",
        "!x a",
        "! 1",
        "!<tag:yaml.org,2002:str> 1",
        "!!timestamp 2026-04-01",
        "!!str ~",
        "!!str yes",
        "&a b",
        "&a",
        "*a",
        "*b",
        "&a *a",
        "&a 'b'",
        "a: b",
        "a:b",
        "a:",
        ":a",
        ": a",
        ":",
        "::",
        "a::b",
        "- a",
        "-a",
        "-",
        "--",
        "---",
        "...",
        "? a",
        "?a",
        "?",
        "@a",
        "`a",
        "%a",
        "|",
        ">",
        "|a",
        "a#b",
        "a #b",
        "#a",
        "[",
        "]",
        "a]",
        "a}",
        "a,b",
        ",a",
        "{",
        "a{b",
        "[a",
        "{{ .Values.a }}",
        "\"{{ a }}\"",
        "\"\"",
        "''",
        "'a''b'",
        "'a\\nb'",
        "\"a\\nb\"",
        "\"\\x41\"",
        "\"\\u00e9\"",
        "\"\\U0001F3E5\"",
        "\"\\ud83c\\udfe5\"",
        "\"\\ud83c\"",
        "\"\\/\"",
        "\"\\ \"",
        "\"\\_\"",
        "\"\\N\"",
        "\"\\L\"",
        "\"\\P\"",
        "\"\\e\"",
        "\"\\0\"",
        "\"\\a\"",
        "\"\\v\"",
        "\"\\q\"",
        "\"\\\t\"",
        "\"a\tb\"",
        "\"a\" b",
        "'a' b",
        "\"a\"b",
        "\"a\": b",
        "\"a",
        "'a",
        "a\tb",
        "a\t",
        "a  b",
        "é",
        "🏥",
        "a\u{a0}b",
        "\u{a0}a",
        "a\u{200b}",
        "\u{3000}",
        "a\u{7f}",
        "a\u{80}",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{fffe}",
        "\u{feff}a",
        "6(1)(e)",
        "a/b",
        "a\\b",
        "a'b",
        "a\"b",
        "a!b",
        "a&b",
        "a*b",
    ];
    prop_oneof![
        8 => select(ODD).prop_map(str::to_owned),
        40 => "[a-z][a-z0-9./-]{0,8}",
        4 => "[1-9][0-9]{0,3}",
        1 => "[-+]?[0-9_]{1,4}",
        1 => "[-+.]?[0-9][0-9_.eExXobB+-]{0,6}",
        1 => "[a-c:#,\\[\\]{}&*!|>'\"%@`?~ -]{1,6}",
        4 => "[a-c '\\t]{0,6}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        4 => "([a-c ]|\\\\[nt\"\\\\/x0e]|\\\\u00[0-9a-f]{2}){0,5}".prop_map(|text| format!("\"{text}\"")),
    ]
}

/// A flow collection, perhaps over several lines where these are indented.
fn flow(is_nested: bool) -> BoxedStrategy<String> {
    let breaks = if is_nested { "\n        " } else { "\n" };
    let space = move || {
        prop_oneof![
            30 => select(vec!["", "", "", " ", " ", "  "]),
            1 => select(vec!["\t", breaks, " # a\n          "]),
        ]
    };
    let leaf = prop_oneof![12 => "[a-c]{1,3}", 8 => scalar(), 1 => select(&["a:b", "a: b", "a :b", "http://a", "a?b", "?", "-", "- a", "a-b", "a#b"][..]).prop_map(str::to_owned)];
    let entry_key = prop_oneof![6 => "[a-z]{1,3}", 2 => "\"[a-z]{1,3}\"", 2 => key()];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        let pair = (
            entry_key.clone(),
            mostly(&[": ", ": ", ": ", " : "], &[":", "", ":\t", ":\n         ", "\n         : "]),
            inner.clone(),
        )
            .prop_map(
                |(key, colon, value)| if colon.is_empty() { key } else { format!("{key}{colon}{value}") },
            );
        let comma = || mostly(&[", ", ", ", ", ", ",", " ,"], &[",,", ""]);
        let joined = |items: Vec<(String, &'static str, &'static str)>, trailing: bool| {
            let last = items.len().saturating_sub(1);
            items
                .into_iter()
                .enumerate()
                .map(|(index, (item, space, comma))| {
                    let comma = if index == last && !trailing { "" } else { comma };
                    format!("{space}{item}{comma}")
                })
                .collect::<String>()
        };
        let item = prop_oneof![6 => inner, 1 => pair.clone()];
        prop_oneof![
            (vec((item, space(), comma()), 0..4), space(), prop::bool::weighted(0.15))
                .prop_map(move |(items, space, trailing)| format!("[{}{space}]", joined(items, trailing))),
            (vec((pair, space(), comma()), 0..4), space(), prop::bool::weighted(0.15))
                .prop_map(move |(items, space, trailing)| format!("{{{}{space}}}", joined(items, trailing))),
        ]
    })
    .boxed()
}

fn json_documents() -> impl Strategy<Value = String> {
    let between = mostly(
        &["\n", "\n", "", " ", "\n---\n", "\n--- # a\n", "\n\n"],
        &["---", "\n...\n", ",", "\na: b\n", "#a\n", "\t"],
    );
    let before = mostly(&["", "", "", "\n", " ", "---\n", "# a\n"], &["\t", "\u{a0}"]);
    (before, vec((json(), between), 1..4)).prop_map(|(before, documents)| {
        documents
            .into_iter()
            .fold(before.to_owned(), |text, (json, between)| format!("{text}{json}{between}"))
    })
}

fn json() -> impl Strategy<Value = String> {
    const LEAVES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1.5",
        "1e3",
        "1.0",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "01",
        "1.",
        ".5",
        "+1",
        "\"\"",
        "\"a\"",
        "\"\\ud83c\\udfe5\"",
        "\"\\ud83c\"",
        "\"\\u00e9\"",
        "\"\\/\"",
        "\"a\tb\"",
        "\"\\q\"",
        "'a'",
        "a",
        "yes",
        "\"\u{7f}\"",
        "\"\u{2028}\"",
        "[]",
        "{}",
    ];
    let leaf = prop_oneof![12 => "\"[a-c]{0,3}\"", 8 => "[1-9][0-9]{0,3}", 1 => select(LEAVES).prop_map(str::to_owned)];
    let space = || select(&["", "", " ", "\n  ", "\t", "\r\n"][..]);
    let value = leaf.prop_recursive(3, 12, 4, move |inner| {
        let comma = || mostly(&[",", ", ", ",\n"], &[",,"]);
        let key = prop_oneof![24 => "\"[a-d]{1,3}\"", 1 => select(&["a", "'a'", "1", "\"\"", "\"<<\""][..]).prop_map(str::to_owned)];
        let join = |items: Vec<String>, comma: &str, space: &str| items.join(&format!("{comma}{space}"));
        prop_oneof![
            (vec(inner.clone(), 0..4), comma(), space()).prop_map(move |(items, comma, space)| format!("[{space}{}{space}]", join(items, comma, space))),
            (vec((key, inner), 0..4), comma(), space()).prop_map(move |(pairs, comma, space)| {
                let pairs = pairs.into_iter().map(|(key, value)| format!("{key}:{space}{value}")).collect();
                format!("{{{space}{}{space}}}", join(pairs, comma, space))
            }),
        ]
    });
    vec(("[a-d]{1,2}", value), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> =
            pairs.into_iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", pairs.join(", "))
    })
}
