//! Texts that are made as the tests run: too large, too deep, or not text at all.

use std::fmt::Write as _;

const HEAD: &str = "apiVersion: concordat.dev/v1alpha1\nkind: PlaceFootprint\nmetadata: {name: bad}\n";

fn place(glossary: &str) -> Vec<u8> {
    format!("{HEAD}spec: {{tier: Place, leadOrg: chorley-council, glossary: {{word: {glossary}}}}}\n")
        .into_bytes()
}

/// A local policy with a text and no test that could fail.
fn policy(cedar: &str) -> Vec<u8> {
    let mut text = "\
apiVersion: concordat.dev/v1alpha1
kind: LocalPolicy
metadata: {namespace: chorley-place, name: bad}
spec:
  footprint: chorley
  owner: ig-lead@chorley-place.example
  reason: a text that is too much
  reviewBy: 2027-03-31T00:00:00Z
  tests:
    - name: no one comes from nowhere
      at: 2026-11-22T09:00:00Z
      request:
        subject: {type: OrgFunction, id: chorley-council/waste}
        action: {name: readRecord}
        resource: {type: DataProduct, id: northvale-pcn/frailty-register}
      expect: {decision: false}
  cedar: |
"
    .to_owned();
    for line in cedar.lines() {
        let _ = writeln!(text, "    {line}");
    }
    text.into_bytes()
}

fn forbid(condition: &str) -> Vec<u8> {
    policy(&format!(
        "@id(\"bad\")\n@reason(\"too much\")\nforbid (principal, action, resource) when {{\n{condition}\n}};"
    ))
}

fn bomb() -> String {
    let mut text = format!("{HEAD}spec:\n  a: &a0 [{}]\n", ["x"; 10].join(", "));
    for level in 1..9 {
        let _ = writeln!(text, "  b{level}: &a{level} [{}]", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    text
}

/// What it is, the file that holds it, and its bytes.
pub fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let file = "new.yaml";
    let nested = |open: &str, close: &str, times: usize| open.repeat(times) + &close.repeat(times);
    vec![
        ("text that is not UTF-8", file, b"apiVersion: concordat.dev/v1alpha1\nkind: \xff\xfe\n".to_vec()),
        ("text in UTF-16", file, HEAD.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a file with a NUL", file, place("a\0b")),
        ("a NUL as an escape", file, place("\"a\\0b\"")),
        ("text that turns its direction round", file, place("\"a\\u202Eb\"")),
        ("text with a space that no one sees", file, place("\"a\\u200Bb\"")),
        ("a bell", file, place("\"a\\ab\"")),
        ("a number that the health service gives to a patient", file, {
            let number = super::numbers::numbers().next().unwrap();
            place(&format!("\"seen under {number}\""))
        }),
        ("a picture", file, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR concordat.dev".to_vec()),
        ("aliases of aliases of aliases", file, bomb().into_bytes()),
        ("lists in lists, a thousand deep", file, place(&nested("[", "]", 1000))),
        ("lists in lists, seventy deep", file, place(&nested("[", "]", 70))),
        ("mappings in mappings, without brackets", file, {
            let mut text = format!("{HEAD}spec:\n");
            for depth in 1..200 {
                let _ = writeln!(text, "{}a:", " ".repeat(depth));
            }
            text.into_bytes()
        }),
        ("a file of five megabytes", file, [vec![b'#'; 5 << 20], b"concordat.dev".to_vec()].concat()),
        ("a word of a megabyte", file, place(&"a".repeat(1 << 20))),
        ("ten thousand words", file, {
            let words: Vec<String> = (0..10_000).map(|n| format!("w{n}: x")).collect();
            format!(
                "{HEAD}spec: {{tier: Place, leadOrg: chorley-council, glossary: {{{}}}}}\n",
                words.join(", ")
            )
            .into_bytes()
        }),
        ("a number that nothing can hold", file, place("1e999")),
        (
            "JSON that ends too early",
            "new.json",
            b"{\"apiVersion\": \"concordat.dev/v1alpha1\", \"kind\":".to_vec(),
        ),
        ("a document of ours between two that are not", file, {
            format!("a: 1\n---\n{HEAD}spec: {{tier: Town, leadOrg: chorley-council}}\n---\nb: 2\n")
                .into_bytes()
        }),
        ("a template", file, format!("{HEAD}spec: {{{{ .Values.place }}}}\n").into_bytes()),
        ("a policy of 70 KiB", file, forbid(&format!("context.purpose == \"{}\"", "x".repeat(70 << 10)))),
        (
            "two hundred brackets inside each other",
            file,
            forbid(&format!("{}true{}", "(".repeat(200), ")".repeat(200))),
        ),
        ("five hundred terms", file, forbid(&vec!["context.breakGlass"; 500].join(" && "))),
        ("five hundred denials", file, forbid(&format!("{}context.breakGlass", "!".repeat(500)))),
        ("four hundred conditions", file, {
            forbid(&format!("{}false", "if context.breakGlass then true else\n".repeat(400)))
        }),
        (
            "a policy that holds another's text",
            file,
            forbid("context.purpose == \"a\" || true }; permit (principal, action, resource) when { true"),
        ),
    ]
}
