//! A text to its documents, cut where kubectl cuts it.
//!
//! A file must mean the same to us as to `kubectl apply -f`, which reads each document with the YAML 1.1 of
//! `sigs.k8s.io/yaml`, and a text that begins with `{` as JSON while it can. Where the two could differ, the form is
//! refused by name, in objects of ours and in files that hold any:
//!
//! | Form | Why |
//! |---|---|
//! | text after `...` | kubectl drops it without a word |
//! | anything but a comment after `---` on its line | kubectl refuses it |
//! | text after a JSON object other than another object or a `---` line | kubectl reads it as JSON or as YAML, by how many came before |
//! | `yes`, `no`, `on`, `off`, `y`, `n` without quotes | truth values to kubectl |
//! | `010`, `0X1F`, `0b11`, `1_000`, `+0x1F` without quotes | other numbers to kubectl |
//! | `.inf`, `.nan`, whole numbers past 63 bits, floats past 2^53 | JSON cannot hold them, or not exactly |
//! | keys that are such a word or number, lists, mappings, aliases, or have a tag or an anchor | kubectl makes another text of them |
//! | keys after `?`, and keys of several lines | read differently by different readers |
//! | `<<` | kubectl merges it, YAML 1.2 does not |
//! | tags other than `!!str` | they change what a value is, for some readers |
//! | duplicate keys | the last wins for kubectl, the API server refuses them |
//! | documents that are nearly all aliases | kubectl refuses them |
//! | directives (`%`) | kubectl cuts the text between them and the document |
//! | control characters, U+FEFF within, U+0085, U+2028, U+2029 and a lone carriage return | kubectl refuses them, or ends a line there |
//! | spaces that are no plain ones in keys, names and codes | they cannot be seen |
//! | tabs outside of quotes, comments and blocks of text, and at the beginning or end of a line | taken for space here by one reader and there by the other |
//! | between brackets: a key without its `:` on the same line, or with a `:` and no value | another key, or nothing, to kubectl |
//! | names of anchors other than letters, digits, `_` and `-` | kubectl refuses them |
//! | `?` in plain text between brackets, text there that begins with a sign, and `\/` in quotes | a key, or no escape, to kubectl |
//! | a document that begins with `...` | kubectl refuses it |
//!
//! `tests/yaml.rs` holds this against kubectl's own reader.

use std::rc::Rc;

use super::node::{Budget, Node, Place, Problem};
use super::{characters, json, yaml};
use concordat_core::finding::Code;

/// One document of a text.
#[derive(Debug)]
pub(super) struct Document {
    /// What it holds; nothing where it could not be read to its end.
    pub(super) root: Option<Rc<Node>>,
    /// What is wrong within it. Where it could not be read, the last says why.
    pub(super) problems: Vec<Problem>,
}

/// Reads every document of a text, as kubectl would in a file of this name.
pub(super) fn parse(text: &str, is_json: bool) -> Vec<Document> {
    let mut budget = Budget::default();
    let mut documents = Vec::new();
    let (start, text) = match text.strip_prefix('\u{feff}') {
        // what begins with a mark is not JSON to kubectl
        Some(text) => (1, text),
        None => match objects(text, &mut budget, &mut documents) {
            Rest::Nothing => return documents,
            Rest::Yaml { line, text } => (line, text),
            Rest::NotJson(problem) => {
                budget = Budget::default();
                yaml_documents(text, 1, &mut budget, &mut documents);
                // in a file of JSON, what is wrong is reported as a reader of JSON sees it
                let broken = documents.iter_mut().find(|it| it.root.is_none()).filter(|_| is_json);
                if let Some(Document { problems, .. }) = broken {
                    *problems = vec![problem];
                }
                return documents;
            }
        },
    };
    yaml_documents(text, start, &mut budget, &mut documents);
    documents
}

/// What follows the JSON at the beginning of a text.
enum Rest<'text> {
    Nothing,
    /// Documents of YAML, from this line on.
    Yaml {
        line: u32,
        text: &'text str,
    },
    /// The whole text is YAML, perhaps: it begins like JSON, but this is wrong.
    NotJson(Problem),
}

/// Reads JSON objects, one after the other, from the beginning of a text.
fn objects<'text>(text: &'text str, budget: &mut Budget, documents: &mut Vec<Document>) -> Rest<'text> {
    if !text.trim_start().starts_with('{') {
        return Rest::Yaml { line: 1, text };
    }
    let (mut rest, mut at) = (text, (1, 1));
    loop {
        let trimmed = rest.trim_start_matches(json::is_space);
        at = advance(at, rest.strip_suffix(trimmed).unwrap_or_default());
        if trimmed.is_empty() {
            return Rest::Nothing;
        }
        let begins = trimmed.starts_with('{');
        if !documents.is_empty() && !begins {
            if at.1 == 1 && trimmed.starts_with("---") && documents.len() == 1 {
                return Rest::Yaml { line: at.0, text: trimmed };
            }
            documents.push(Document { root: None, problems: vec![after_json(at)] });
            return Rest::Nothing;
        }
        match json::value(trimmed, at, budget) {
            Ok(json::Read { root, mut problems, length, end }) => {
                let (own, after) = trimmed.split_at(length);
                problems.extend(characters::refused(own, at.0));
                documents.push(Document { root: Some(root), problems });
                (rest, at) = (after, end);
            }
            Err(problem) if documents.is_empty() && problem.code != Code::TooLarge => {
                return Rest::NotJson(problem);
            }
            Err(problem) => {
                documents.push(Document { root: None, problems: vec![problem] });
                return Rest::Nothing;
            }
        }
    }
}

fn after_json(at: Place) -> Problem {
    Problem::new(
        Code::OtherMeaning,
        at,
        "there is text after the JSON object, which readers take for different things",
        "put each object into a file of its own, or all of them into one `kind: List`",
    )
}

fn advance(at: Place, over: &str) -> Place {
    over.chars().fold(at, |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
}

/// Reads the documents of YAML between `---` lines.
fn yaml_documents(text: &str, first: u32, budget: &mut Budget, documents: &mut Vec<Document>) {
    for Chunk { text, line, separator } in chunks(text, first) {
        let mut problems: Vec<Problem> = separator.into_iter().collect();
        problems.extend(directive(text, line));
        problems.extend(characters::refused(text, line));
        problems.extend(ended_before_it_begins(text, line));
        let mut read = Vec::new();
        let ended = yaml::read(text, line, budget, &mut read);
        for (index, yaml::Read { root, problems: within }) in read.into_iter().enumerate() {
            if index > 0 {
                problems.push(after_end(root.at));
            }
            problems.extend(within);
            documents.push(Document { root: Some(root), problems: std::mem::take(&mut problems) });
        }
        if let Err(mut problem) = ended {
            name_invisible(&mut problem, text, line);
            // one that names the character comes before one that stumbles over it
            let named = problems.iter().any(|known| known.at == problem.at);
            if !named {
                problems.push(problem);
            }
            documents.push(Document { root: None, problems });
        } else if !problems.is_empty() {
            documents.push(Document { root: None, problems });
        }
    }
}

/// Text between two `---` lines.
struct Chunk<'text> {
    text: &'text str,
    /// The number of its first line.
    line: u32,
    /// What is wrong with the `---` line before it.
    separator: Vec<Problem>,
}

/// Cuts a text at every line that begins with `---`, wherever it is, as kubectl does.
fn chunks(text: &str, first: u32) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut separator = Vec::new();
    let (mut start, mut started, mut offset) = (0, first, 0);
    let mut line = first;
    for whole in text.split_inclusive('\n') {
        if let Some(after) = whole.strip_prefix("---") {
            chunks.push(Chunk {
                text: text.get(start..offset).unwrap_or_default(),
                line: started,
                separator: std::mem::take(&mut separator),
            });
            // what ends a line for some readers ends it here too
            separator.extend(characters::refused(whole.trim_end_matches(['\r', '\n']), line));
            let is_comment = after.starts_with([' ', '\t']) && after.trim_start().starts_with('#');
            separator.extend((!after.trim().is_empty() && !is_comment).then(|| {
                Problem::new(
                    Code::OtherMeaning,
                    (line, 4),
                    "there is text after `---`, and kubectl refuses it",
                    "begin the document on the line below",
                )
            }));
            (start, started) = (offset + whole.len(), line.saturating_add(1));
        }
        offset += whole.len();
        line = line.saturating_add(1);
    }
    chunks.push(Chunk { text: text.get(start..).unwrap_or_default(), line: started, separator });
    chunks
}

fn directive(text: &str, first: u32) -> Option<Problem> {
    let (line, _) = (first..).zip(text.lines()).find(|(_, line)| line.starts_with('%'))?;
    Some(Problem::new(
        Code::InvalidYaml,
        (line, 1),
        "a line begins with `%`, which makes it a directive, and kubectl refuses those",
        "take the line out, or indent it where it is text",
    ))
}

/// A chunk that begins with `...`, which kubectl refuses.
fn ended_before_it_begins(text: &str, first: u32) -> Option<Problem> {
    let is_empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let (line, _) = (first..)
        .zip(text.lines())
        .find(|(_, line)| !is_empty(line))
        .filter(|(_, line)| line.starts_with("..."))?;
    Some(Problem::new(
        Code::OtherMeaning,
        (line, 1),
        "the document ends with `...` before it begins, and kubectl refuses it",
        "take the line out",
    ))
}

fn after_end(at: Place) -> Problem {
    Problem::new(
        Code::OtherMeaning,
        at,
        "this document comes after `...`, and kubectl drops it",
        "write `---` between documents, and leave `...` out",
    )
}

/// Says of a line that cannot be read, or the one above it, which character in it cannot be seen.
fn name_invisible(problem: &mut Problem, text: &str, first: u32) {
    if problem.code != Code::InvalidYaml {
        return;
    }
    let line = problem.at.0;
    let near =
        (first..).zip(text.lines()).filter(|(number, _)| (line.saturating_sub(1)..=line).contains(number));
    if let Some((number, found)) =
        near.filter_map(|(number, line)| Some((number, characters::in_line(line)?))).last()
    {
        problem.help = Some(format!(
            "line {number} holds the invisible character {found}: write a plain space, or none"
        ));
    }
}
