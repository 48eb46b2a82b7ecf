//! A file means the same to us as to kubectl, or it is refused: held against kubectl's own reader, on many more texts
//! than anyone would write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly, its helpers too"
)]

mod support;
#[path = "yaml/texts.rs"]
mod texts;

use std::io::Write;
use std::process::{Command, Stdio};

use concordat_source::files;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Deserialize;
use serde_json::{Number, Value};

/// What kubectl makes of a text.
#[derive(Debug, Deserialize)]
struct Read {
    /// As JSON. It may hold numbers that cannot be read back.
    documents: Vec<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Has kubectl's reader read some texts.
fn kubectl(texts: &[String]) -> Vec<Read> {
    let program = support::yaml_reader_binary().unwrap();
    let mut process = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let answers: Vec<Read> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

/// The same value with each whole number written as one, as JSON does not tell `1` from `1.0`.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                Value::Number(Number::from(float as i64))
            }
            _ => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// How our reading of a text differs from kubectl's, where it is not refused.
fn difference(text: &str, kubectl: &Read) -> Option<String> {
    let (ours, findings) = files::values("a.yaml", text);
    if !findings.is_empty() {
        return None;
    }
    let ours: Vec<Value> = ours.iter().map(plain).collect();
    let theirs: Vec<Value> = kubectl
        .documents
        .iter()
        .map(|text| {
            serde_json::from_str(text)
                .map_or_else(|_| Value::from(format!("unreadable: {text}")), |value| plain(&value))
        })
        .collect();
    (kubectl.error.is_some() || ours != theirs).then(|| {
        format!(
            "{text:?}\n  ours    {}\n  kubectl {}\n  error   {:?}",
            Value::from(ours),
            Value::from(theirs),
            kubectl.error
        )
    })
}

/// How many texts are made. `CONCORDAT_YAML_TEXTS` asks for more, and `CONCORDAT_YAML_SEED` for others.
const TEXTS: usize = 10_000;

#[test]
fn what_is_not_refused_means_the_same_to_kubectl() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let count = number("CONCORDAT_YAML_TEXTS").unwrap_or(TEXTS);
    let seed = [u8::try_from(number("CONCORDAT_YAML_SEED").unwrap_or(7) % 251).unwrap(); 32];
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let strategy = texts::text();
    let texts: Vec<String> = (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();

    let answers = kubectl(&texts);
    let mut differences: Vec<String> =
        texts.iter().zip(&answers).filter_map(|(text, read)| difference(text, read)).collect();
    differences.sort_by_key(String::len);
    let shown: Vec<&str> = differences.iter().take(25).map(String::as_str).collect();
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), shown.join("\n"));

    // neither refusing everything nor writing nothing but what is plain would show anything
    let read = texts.iter().filter(|text| files::values("a.yaml", text).1.is_empty()).count();
    let told = |read: &&Read| read.error.is_none() && !read.documents.is_empty();
    let meant = answers.iter().filter(told).count();
    assert!(meant * 4 > count && (count - meant) * 4 > count, "kubectl reads {meant} of {count}");
    assert!(read * 2 > meant, "{read} are read of {meant} that kubectl reads");
}

#[test]
fn plain_manifests_are_read_and_what_kubectl_reads_differently_is_refused_by_name() {
    let good = [
        "a: b\n",
        "# only a comment\n",
        "a: 1\n---\nb: 2\n...\n",
        "a:\n- b\n- c: [1, 2.5, true, null]\n  d: {e: 'f', \"g\": h}\n",
        "a: |\n  b\n   c\n\nd: >-\n  e\n  f\n",
        "{\"a\": 1}\n{\"a\": 2}\n",
        "{\"a\": 1}\n---\na: 2\n",
        "{a: 1, b: [c, d]}\n",
        "\u{feff}a: b\r\nc: d\r\n",
        "a: &x {b: c}\nd: *x\n",
        "a: 2026-04-01T00:00:00Z\nb: 1:30:00\nc: 6(1)(e)\n",
        "--- # comment\na: 1.0\nb: 1e3\nc: !!str 1\n",
        "# a\tcomment\na: \"b\tc\" # with\ttabs\nc: |\n  c\td\n  \te\n",
        "a: [-1, b.c, http://d, 'e: f']\nb: &b-1 {c: d}\ne: *b-1\n",
    ];
    let good: Vec<String> = good.map(str::to_owned).to_vec();
    for (text, read) in good.iter().zip(kubectl(&good)) {
        assert_eq!(files::values("a.yaml", text).1, [], "{text:?}");
        assert_eq!(difference(text, &read), None);
    }
    for (text, named) in [
        ("a: 1\n...\nb: 2\n", "`...`"),
        ("--- {a: 1}\n", "after `---`"),
        ("{\"a\": 1}\nb: 2\n", "after the JSON object"),
        ("a: 0X123\n", "0X123"),
        ("a: 010\n", "010"),
        ("a: 1_000\n", "1_000"),
        ("a: .inf\n", ".inf"),
        ("a: 99999999999999999999\n", "99999999999999999999"),
        ("a: no\n", "no"),
        ("on: a\n", "on"),
        ("1.5: a\n", "1.5"),
        ("a: !x b\n", "!x"),
        ("a: {<<: {b: c}}\n", "<<"),
        ("a: b\na: c\n", "duplicate key `a`"),
        ("%YAML 1.1\n---\na: b\n", "`%`"),
        ("a: b\n---\n\u{feff}c: d\n", "U+FEFF"),
        ("a:\n\tb: c\n", "tab"),
        ("a: b\0\n", "U+0000"),
        ("? a\n: b\n", "`?`"),
        ("[a]: b\n", "not plain text"),
        ("a: b\u{a0}\n", "U+00A0"),
        ("a\u{a0}: b\n", "U+00A0"),
        ("a: b\nc:\u{a0}d\n", "U+00A0"),
        ("a: b\u{2028}c\n", "U+2028"),
        ("a: b\rc: d\n", "U+000D"),
        ("a: b\n---# c\nd: e\n", "after `---`"),
        ("a: |\n  \tb\n", "begins with a tab"),
        ("- \ta\n", "tab"),
        ("a: b\tc\n", "tab"),
        ("a: |\n  \t\n  b\n", "tab"),
        ("a: &b%\n- c\n", "anchor"),
        ("a: [b:, c]\n", "between brackets"),
        ("a: {|b: c}\n", "between brackets"),
        ("a: {b\n  : c}\n", "on one line"),
        ("a: {b: !!str}\n", "tag"),
    ] {
        let (_, findings) = files::values("a.yaml", text);
        let said: Vec<String> = findings
            .iter()
            .map(|it| format!("{} {}", it.message, it.help.as_deref().unwrap_or_default()))
            .collect();
        assert!(said.iter().any(|it| it.contains(named)), "{text:?}: {said:?}");
        assert!(findings.iter().all(|it| it.origin.line.is_some() && it.help.is_some()), "{findings:?}");
    }
}
