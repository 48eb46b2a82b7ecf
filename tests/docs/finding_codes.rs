//! The finding codes: every code, what it means, what comes of it, and an example.
//!
//! The examples are what the code says of the bad input under `tests/`, as the snapshots of those tests have it: of each
//! code the shortest that there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use concordat_core::finding::{Code, Severity};

/// The hundreds, and what each is about.
const CHAPTERS: [(&str, &str); 10] = [
    ("CON0", "Texts and shapes"),
    ("CON1", "Names that lead nowhere"),
    ("CON2", "Organisations and clusters"),
    ("CON3", "Data products"),
    ("CON4", "Agreements"),
    ("CON5", "Signatures"),
    ("CON6", "Frameworks and exceptions"),
    ("CON7", "Local policies"),
    ("CON8", "Places and tests"),
    ("CON9", "A live cluster"),
];

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Finding codes\n\n\
         <!-- Generated from src/core/finding.rs and tests/bad_input: UPDATE=1 cargo test --test offline docs -->\n\n\
         What `concordat check` finds has a code. A code never changes its meaning, and is never used again for another.\n\
         An *error* keeps the object, or the part of it that is wrong, from being used: nothing is opened by it.\n\
         A *warning* is worth knowing; the object is used. With `--strict` a warning fails `check` too.\n\
         The name is the `reason` of the object's condition in a cluster, where the error keeps it from being used.\n\
         Each finding also says where it is, what is wrong there, and what would help. The examples are real: of all that\n\
         the tests get wrong on purpose, the shortest.\n",
    );
    let examples = examples();
    let mut without = Vec::new();
    for (prefix, title) in CHAPTERS {
        let codes = || Code::ALL.iter().filter(move |code| code.as_str().starts_with(prefix));
        writeln!(page, "\n## {title}\n\n| Code | Name | | What it means |\n|---|---|---|---|")
            .expect("a text can be written to");
        for code in codes() {
            let severity = match code.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let anchor = code.as_str().to_lowercase();
            writeln!(page, "| [`{code}`](#{anchor}) | `{}` | {severity} | {} |", code.reason(), code.title())
                .expect("likewise");
        }
        for code in codes() {
            // raised by a file that is no manifest, and held by the tests of how files are read
            if matches!(code, Code::IgnoredManifest | Code::IgnorePattern) {
                continue;
            }
            let Some(example) = examples.get(code.as_str()) else {
                without.push(code.as_str());
                continue;
            };
            write!(page, "\n### {code}\n\n```text\n{}```\n", example.text()).expect("likewise");
        }
    }
    assert!(without.is_empty(), "no test under tests/bad_input or tests/cli raises {without:?}");
    let told = CHAPTERS
        .iter()
        .map(|(prefix, _)| Code::ALL.iter().filter(|code| code.as_str().starts_with(prefix)).count());
    assert_eq!(told.sum::<usize>(), Code::ALL.len(), "a code has no chapter");
    page
}

/// A finding as somebody reads it.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Example {
    length: usize,
    message: String,
    origin: String,
    help: String,
}

impl Example {
    fn new(origin: &str, message: &str, help: &str) -> Self {
        // one without help shows less, however short it is
        let length = message.len() + origin.len() + if help.is_empty() { 10_000 } else { help.len() };
        Self { length, message: message.to_owned(), origin: origin.to_owned(), help: help.to_owned() }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.origin.is_empty() {
            text += &format!("{}\n", self.origin);
        }
        text += &format!("{}\n", self.message);
        if !self.help.is_empty() {
            text += &format!("help: {}\n", self.help);
        }
        text
    }
}

/// The shortest example of each code.
fn examples() -> BTreeMap<String, Example> {
    let mut found: BTreeMap<String, Example> = BTreeMap::new();
    let mut add = |code: &str, example: Example| {
        let shortest = found.entry(code.to_owned()).or_insert_with(|| example.clone());
        if example < *shortest {
            *shortest = example;
        }
    };
    for text in texts("tests/bad_input/snapshots") {
        told(&text, &mut add);
    }
    // what only the command comes upon, such as a server that does not know our kinds
    for text in texts("tests/cli/snapshots") {
        shown(&text, &mut add);
    }
    found
}

fn texts(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("the tests have snapshots");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let snapshots = paths.filter(|path| path.extension().is_some_and(|extension| extension == "snap"));
    snapshots.map(|path| std::fs::read_to_string(path).expect("a snapshot is a text")).collect()
}

/// What the tests of bad input tell: `  error CODE ORIGIN`, then the message, then what helps.
fn told(text: &str, add: &mut impl FnMut(&str, Example)) {
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some((code, origin)) = coded(line, &["  error ", "  warning "]) else { continue };
        let of = |offset: usize| lines.get(index + offset).copied().unwrap_or_default();
        let Some(message) = of(1).strip_prefix("      ") else { continue };
        let help = of(2).strip_prefix("      help: ").unwrap_or_default();
        add(code, Example::new(origin, message, help));
    }
}

/// What the command shows: `  × CODE MESSAGE`, perhaps a place in a file, then what helps.
fn shown(text: &str, add: &mut impl FnMut(&str, Example)) {
    for block in text.split("\n\n") {
        let mut lines = block.lines().skip_while(|line| coded(line, &MARKS).is_none()).peekable();
        let Some((code, first)) = lines.next().and_then(|line| coded(line, &MARKS)) else { continue };
        let mut message = first.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("  │ ")) {
            message += &format!(" {}", more.trim_start_matches("  │ "));
        }
        // a place is passed over, and the tests of bad input, which say it in a line, come first
        let is_placed = lines.peek().is_some_and(|line| line.contains('╭'));
        let mut help = String::new();
        for line in lines.skip_while(|line| is_placed && !line.contains("╰────")).skip(usize::from(is_placed))
        {
            let part = line.trim_start().trim_start_matches("help: ");
            help += &format!("{}{part}", if help.is_empty() { "" } else { " " });
        }
        let example = Example::new("", &message, &help);
        let length = if is_placed { example.length + 5_000 } else { example.length };
        add(code, Example { length, ..example });
    }
}

const MARKS: [&str; 2] = ["  × ", "  ⚠ "];

/// A line that begins with a mark and a code: the code, and the rest.
fn coded<'t>(line: &'t str, marks: &[&str]) -> Option<(&'t str, &'t str)> {
    let rest = marks.iter().find_map(|mark| line.strip_prefix(mark))?;
    let (code, rest) = rest.split_once(' ')?;
    Code::ALL.iter().any(|known| known.as_str() == code).then_some((code, rest))
}
