//! A document as a small tree, in which each key and value knows its line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use concordat_core::finding::Code;

/// How deep lists and mappings may nest.
pub(super) const MAX_DEPTH: usize = 64;
/// How many values one file may hold.
const MAX_NODES: usize = 500_000;
/// How much text one file may hold once its aliases are expanded.
const MAX_TEXT: usize = 16 << 20;

/// A line and a column, both from 1, the column in characters.
pub(super) type Place = (u32, u32);

/// Something that is wrong with the text itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) at: Place,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(code: Code, at: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, at, message: message.into(), help: Some(help.into()) }
    }

    pub(super) fn too_large(at: Place, message: String) -> Self {
        Self::new(Code::TooLarge, at, message, "split the file, or write it more plainly")
    }

    pub(super) fn too_deep(at: Place) -> Self {
        Self::too_large(at, format!("lists and mappings nest deeper than {MAX_DEPTH} levels"))
    }

    /// A key that a mapping has already.
    pub(super) fn duplicate_key(key: &str, at: Place, first: Option<Place>) -> Self {
        let line = first.map_or(0, |(line, _)| line);
        Self::new(
            Code::DuplicateKey,
            at,
            format!("duplicate key `{}`", shown(key)),
            format!("line {line} has it already: keep one of the two"),
        )
    }
}

/// What has been read of a file so far, so that no file takes more than its share.
#[derive(Debug, Default)]
pub(super) struct Budget {
    nodes: usize,
    text: usize,
}

impl Budget {
    /// Counts what is read next.
    pub(super) fn spend(&mut self, nodes: usize, text: usize, at: Place) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.text = self.text.saturating_add(text);
        if self.nodes > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values, aliases expanded");
            return Err(Problem::too_large(at, message));
        }
        if self.text > MAX_TEXT {
            let message =
                format!("the file holds more than {} MiB of text, aliases expanded", MAX_TEXT >> 20);
            return Err(Problem::too_large(at, message));
        }
        Ok(())
    }
}

/// A value, with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Content,
    /// Where the text of a block scalar begins, below its `|`, so that a place within it is one of the file.
    pub(super) block: Option<Place>,
    pub(super) weight: Weight,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Rc<Node>>),
    /// In written order, a doubled key with both its values.
    Map(Vec<(Key, Rc<Node>)>),
}

impl Node {
    /// The value at a path such as `spec.parties[0].org`.
    pub(super) fn within(&self, path: &str) -> Option<&Self> {
        let steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|it| !it.is_empty());
        steps.into_iter().try_fold(self, |node, step| match &node.content {
            Content::List(items) => items.get(step.parse::<usize>().ok()?).map(|it| &**it),
            _ => node.get(step).map(|it| &**it),
        })
    }
}

/// A key of a mapping, with its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Place,
}

/// How much a value is with its aliases expanded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) nodes: usize,
    pub(super) text: usize,
    pub(super) height: usize,
}

impl Weight {
    /// Adds the weight of something inside.
    pub(super) fn hold(&mut self, inner: Self) {
        self.nodes = self.nodes.saturating_add(inner.nodes);
        self.text = self.text.saturating_add(inner.text);
        self.height = self.height.max(inner.height.saturating_add(1));
    }
}

impl Node {
    /// The first value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.entries().find(|(entry, _)| entry.text == key).map(|(_, value)| value)
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> impl Iterator<Item = &(Key, Rc<Node>)> {
        let entries: &[(Key, Rc<Node>)] =
            if let Content::Map(entries) = &self.content { entries } else { &[] };
        entries.iter()
    }

    /// The text of a scalar that is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Text(text) = &self.content { Some(text) } else { None }
    }

    /// The value as JSON, without the value of a doubled key: which of the two is meant is not known.
    pub(super) fn certain(&self) -> Value {
        match &self.content {
            Content::List(items) => Value::Array(items.iter().map(|item| item.certain()).collect()),
            Content::Map(entries) => {
                let mut seen = BTreeSet::new();
                let doubled: BTreeSet<&str> = entries
                    .iter()
                    .map(|(key, _)| key.text.as_str())
                    .filter(|key| !seen.insert(*key))
                    .collect();
                let certain = entries.iter().filter(|(key, _)| !doubled.contains(key.text.as_str()));
                Value::Object(certain.map(|(key, value)| (key.text.clone(), value.certain())).collect())
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => self.value(),
        }
    }

    /// The value as JSON. Of a doubled key the first counts.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(|item| item.value()).collect()),
            Content::Map(entries) => {
                let mut fields = Map::new();
                for (key, value) in entries {
                    fields.entry(key.text.as_str()).or_insert_with(|| value.value());
                }
                Value::Object(fields)
            }
        }
    }

    /// Calls `each` with every text in a value: keys, texts and numbers.
    pub(super) fn texts(&self, each: &mut impl FnMut(&str)) {
        match &self.content {
            Content::Null | Content::Bool(_) => {}
            Content::Number(number) => each(&number.to_string()),
            Content::Text(text) => each(text),
            Content::List(items) => items.iter().for_each(|item| item.texts(each)),
            Content::Map(entries) => {
                for (key, value) in entries {
                    each(&key.text);
                    value.texts(each);
                }
            }
        }
    }

    /// The place of each field by its path, the value's own under the empty path.
    pub(super) fn positions(&self) -> BTreeMap<String, Place> {
        let mut positions = BTreeMap::from([(String::new(), self.at)]);
        self.collect_positions(&mut String::new(), &mut positions);
        positions
    }

    fn collect_positions(&self, path: &mut String, positions: &mut BTreeMap<String, Place>) {
        let length = path.len();
        match &self.content {
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    positions.insert(path.clone(), item.at);
                    item.collect_positions(path, positions);
                    path.truncate(length);
                }
            }
            Content::Map(entries) => {
                for (key, value) in entries {
                    if length > 0 {
                        path.push('.');
                    }
                    path.push_str(&key.text);
                    if !positions.contains_key(path.as_str()) {
                        positions.insert(path.clone(), key.at);
                        if let Some(block) = value.block {
                            positions.insert(format!("{path}|"), block);
                        }
                        value.collect_positions(path, positions);
                    }
                    path.truncate(length);
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {}
        }
    }
}

/// What a user wrote, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain(['…']).collect()
    }
}
