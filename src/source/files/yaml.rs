//! Text to a small tree, in which each key and value knows its line and column.
//!
//! Everything is bounded before it is held: the depth, the number of nodes and the amount of text, all of them with
//! aliases expanded, so that no file, however it was made, takes the process down.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};

use super::scalar::{self, Plain};
use crate::core::finding::Code;

/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 64;
/// How many values one file may hold.
const MAX_NODES: usize = 500_000;
/// How much text one file may hold once its aliases are expanded.
const MAX_TEXT: usize = 16 << 20;

/// A line and a column, both from 1, the column in characters.
pub(super) type Place = (u32, u32);

/// What was read of a text.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) documents: Vec<Document>,
    /// What ended the reading before the end of the text. The documents before it stand.
    pub(super) stopped: Option<Problem>,
}

/// One document of a text.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    /// What is wrong within it, though it could be read to its end.
    pub(super) problems: Vec<Problem>,
}

/// Something that is wrong with the text itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) at: Place,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// A value, with its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Content,
    /// Where the text of a block scalar begins, below its `|`, so that a place within it is one of the file.
    block: Option<Place>,
    weight: Weight,
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

/// A key of a mapping, with its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: Place,
}

/// How much a value is with its aliases expanded.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    nodes: usize,
    text: usize,
    height: usize,
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

/// Reads every document of a text.
pub(super) fn parse(text: &str) -> Parsed {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        lines: text.lines().collect(),
        anchors: BTreeMap::new(),
        problems: Vec::new(),
        spent: Weight::default(),
    };
    let mut parsed = Parsed::default();
    loop {
        match reader.document() {
            Ok(Some(document)) => parsed.documents.push(document),
            Ok(None) => return parsed,
            Err(problem) => {
                parsed.stopped = Some(problem);
                return parsed;
            }
        }
    }
}

struct Reader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    lines: Vec<&'text str>,
    /// Values that an alias may repeat. `None` while the value is still being read.
    anchors: BTreeMap<usize, Option<Rc<Node>>>,
    problems: Vec<Problem>,
    spent: Weight,
}

impl<'text> Reader<'text> {
    fn document(&mut self) -> Result<Option<Document>, Problem> {
        loop {
            let Some((event, span)) = self.next()? else {
                return Ok(None);
            };
            match event {
                Event::StreamEnd => return Ok(None),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => {
                    self.anchors.clear();
                    let root = self.node(event, span, 1)?;
                    return Ok(Some(Document { root, problems: std::mem::take(&mut self.problems) }));
                }
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, Problem> {
        self.parser.next_event().transpose().map_err(|error| syntax(&error))
    }

    /// The next event within a value.
    fn inner(&mut self, opened: Place) -> Result<(Event<'text>, Span), Problem> {
        self.next()?.ok_or_else(|| Problem {
            code: Code::InvalidYaml,
            at: opened,
            message: "the text ends before this value does".to_owned(),
            help: Some("close it: a bracket or a quote is missing at its end".to_owned()),
        })
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Rc<Node>, Problem> {
        let at = place(&span.start);
        if depth > MAX_DEPTH {
            return Err(too_large(at, format!("lists and mappings nest deeper than {MAX_DEPTH} levels")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let content = self.scalar(&text, style, tag.as_deref(), at);
                let length = if let Content::Text(text) = &content { text.len() } else { 0 };
                let block = if style == ScalarStyle::Literal { self.block(&text, at) } else { None };
                let weight = Weight { nodes: 1, text: length, height: 1 };
                self.finish(Node { at, content, block, weight }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at);
                self.open(anchor);
                let mut items = Vec::new();
                let mut weight = Weight { nodes: 1, text: 0, height: 1 };
                loop {
                    let (event, span) = self.inner(at)?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let item = self.node(event, span, depth + 1)?;
                    weight.hold(item.weight);
                    items.push(item);
                }
                self.finish(Node { at, content: Content::List(items), block: None, weight }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at);
                self.open(anchor);
                let mut weight = Weight { nodes: 1, text: 0, height: 1 };
                let entries = self.entries(at, depth, &mut weight)?;
                self.finish(Node { at, content: Content::Map(entries), block: None, weight }, anchor)
            }
            Event::Alias(id) => self.alias(id, at, depth),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Err(Problem {
                code: Code::InvalidYaml,
                at,
                message: "a value is expected here".to_owned(),
                help: Some("write the value, or take the line out".to_owned()),
            }),
        }
    }

    fn entries(
        &mut self,
        opened: Place,
        depth: usize,
        weight: &mut Weight,
    ) -> Result<Vec<(Key, Rc<Node>)>, Problem> {
        let mut entries: Vec<(Key, Rc<Node>)> = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.inner(opened)?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, span, depth)?;
            weight.text = weight.text.saturating_add(key.text.len());
            let (event, span) = self.inner(opened)?;
            let mut value = self.node(event, span, depth + 1)?;
            if matches!(value.content, Content::Null) && value.at.0 == 0 {
                // an absent value has no place of its own
                value =
                    Rc::new(Node { at: key.at, content: Content::Null, block: None, weight: value.weight });
            }
            weight.hold(value.weight);
            if !seen.insert(key.text.clone()) {
                let first = entries
                    .iter()
                    .find(|(entry, _)| entry.text == key.text)
                    .map_or(0, |(entry, _)| entry.at.0);
                self.problems.push(Problem {
                    code: Code::DuplicateKey,
                    at: key.at,
                    message: format!("key `{}` stands twice in one mapping", shown(&key.text)),
                    help: Some(format!("it stands on line {first} already: keep one of the two")),
                });
            }
            entries.push((key, value));
        }
    }

    fn key(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Key, Problem> {
        let at = place(&span.start);
        if let Event::Scalar(text, ScalarStyle::Plain, _, None) = &event {
            if text == "<<" {
                self.problem(
                    at,
                    "`<<` merges another mapping into this one, which kubectl and we do not read alike",
                    "write the keys out",
                );
            } else if text.is_empty() || text == "~" {
                self.problem(at, "a key is missing before this `:`", "name the field, or quote an empty key");
            }
        }
        // the spelling is what counts for a key, also where it would be a number as a value
        let spelling =
            if let Event::Scalar(text, ..) = &event { Some(text.clone().into_owned()) } else { None };
        let node = self.node(event, span, depth + 1)?;
        let text = match (spelling, &node.content) {
            (Some(text), _) => text,
            (None, Content::Text(text)) => text.clone(),
            (None, _) => {
                self.problem(at, "a key is not text", "keys are single words, such as `spec`");
                String::new()
            }
        };
        Ok(Key { text, at })
    }

    fn alias(&mut self, id: usize, at: Place, depth: usize) -> Result<Rc<Node>, Problem> {
        let target = self.anchors.get(&id).cloned().flatten().ok_or_else(|| Problem {
            code: Code::InvalidYaml,
            at,
            message: "this alias stands inside the value that it repeats".to_owned(),
            help: Some("write the value out".to_owned()),
        })?;
        if depth + target.weight.height > MAX_DEPTH {
            return Err(too_large(
                at,
                format!("with this alias, lists and mappings nest deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.spend(target.weight, at)?;
        Ok(target)
    }

    /// Where the text of a block scalar begins: at its first line that is not empty, which stands in the file as it is,
    /// only further in.
    fn block(&self, text: &str, at: Place) -> Option<Place> {
        let (above, first) = (0_u32..).zip(text.split('\n')).find(|(_, line)| !line.trim().is_empty())?;
        let header = usize::try_from(at.0).ok()?.checked_sub(1)?;
        // comments and empty lines may stand between
        let below = (at.0..).zip(self.lines.get(header..)?).take(usize::try_from(above).ok()? + 3);
        let (line, indent) = below.into_iter().find_map(|(line, whole)| {
            let indent = whole.strip_suffix(first)?;
            indent.chars().all(|c| c == ' ').then_some((line, indent.len()))
        })?;
        Some((line.checked_sub(above)?, u32::try_from(indent + 1).ok()?))
    }

    fn open(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<Rc<Node>, Problem> {
        // what is inside was paid for when it was read
        let own = if let Content::Text(text) = &node.content { text.len() } else { 0 };
        self.spend(Weight { nodes: 1, text: own, height: 0 }, node.at)?;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        Ok(node)
    }

    fn spend(&mut self, weight: Weight, at: Place) -> Result<(), Problem> {
        self.spent.nodes = self.spent.nodes.saturating_add(weight.nodes);
        self.spent.text = self.spent.text.saturating_add(weight.text);
        if self.spent.nodes > MAX_NODES {
            return Err(too_large(
                at,
                format!("the file holds more than {MAX_NODES} values, aliases expanded"),
            ));
        }
        if self.spent.text > MAX_TEXT {
            return Err(too_large(
                at,
                format!("the file holds more than {} MiB of text, aliases expanded", MAX_TEXT >> 20),
            ));
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Content {
        let kind = match tag {
            None if style == ScalarStyle::Plain => return self.plain(text, at),
            None => "str",
            Some(tag) if tag.is_yaml_core_schema() => tag.suffix.as_str(),
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => "str",
            Some(tag) => {
                self.foreign_tag(tag, at);
                "str"
            }
        };
        let wrong = |reader: &mut Self, what: &str| {
            reader.problem(
                at,
                format!("`{}` is not {what}, as its tag says", shown(text)),
                "leave the tag out",
            );
            Content::Text(text.to_owned())
        };
        match (kind, scalar::plain(text)) {
            ("str", _) => Content::Text(text.to_owned()),
            ("null", Plain::Null) => Content::Null,
            ("bool", Plain::Bool(value)) => Content::Bool(value),
            ("int" | "float", Plain::Number(number)) => Content::Number(number),
            ("null", _) => wrong(self, "null"),
            ("bool", _) => wrong(self, "a truth value"),
            ("int" | "float", _) => wrong(self, "a number"),
            (_, _) => {
                if let Some(tag) = tag {
                    self.foreign_tag(tag, at);
                }
                Content::Text(text.to_owned())
            }
        }
    }

    fn plain(&mut self, text: &str, at: Place) -> Content {
        if let Some(other) = scalar::kubectl_reads(text) {
            self.problems.push(Problem {
                code: Code::InvalidField,
                at,
                message: format!("kubectl reads an unquoted `{text}` as {other}"),
                help: Some(format!("write \"{text}\" for the text, or the value that you mean")),
            });
        }
        match scalar::plain(text) {
            Plain::Null => Content::Null,
            Plain::Bool(value) => Content::Bool(value),
            Plain::Number(number) => Content::Number(number),
            Plain::Text => Content::Text(text.to_owned()),
            Plain::NoJsonNumber => {
                self.problem(
                    at,
                    format!("`{}` is not a number that can be held", shown(text)),
                    "quote it if it is text",
                );
                Content::Null
            }
        }
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, expected: &str, at: Place) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
        {
            self.foreign_tag(tag, at);
        }
    }

    fn foreign_tag(&mut self, tag: &Tag, at: Place) {
        let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        self.problem(at, format!("tag `{}` has no meaning here", shown(&name)), "leave the tag out");
    }

    fn problem(&mut self, at: Place, message: impl Into<String>, help: &str) {
        self.problems.push(Problem {
            code: Code::InvalidYaml,
            at,
            message: message.into(),
            help: Some(help.to_owned()),
        });
    }
}

impl Weight {
    /// Adds the weight of something inside.
    fn hold(&mut self, inner: Self) {
        self.nodes = self.nodes.saturating_add(inner.nodes);
        self.text = self.text.saturating_add(inner.text);
        self.height = self.height.max(inner.height.saturating_add(1));
    }
}

fn place(marker: &Marker) -> Place {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    (number(marker.line()), number(marker.col()).saturating_add(1))
}

fn too_large(at: Place, message: String) -> Problem {
    Problem {
        code: Code::TooLarge,
        at,
        message,
        help: Some("split the file, or write it more plainly".to_owned()),
    }
}

fn syntax(error: &ScanError) -> Problem {
    let info = error.info();
    let at = place(error.marker());
    if info.contains("recursion limit") {
        // the scanner has a bound of its own
        return too_large(at, format!("lists and mappings nest deeper than {MAX_DEPTH} levels"));
    }
    let speaks_of = |word: &str| info.split(|c: char| !c.is_alphanumeric()).any(|it| it == word);
    let help = if info.contains("unprintable") {
        "take the character out, or look whether this is a text file at all"
    } else if speaks_of("tab") || speaks_of("tabs") {
        "indent with spaces: YAML does not allow tabs there"
    } else if info.contains("mapping values are not allowed") || info.contains("simple key") {
        "check the indentation of this line and the one before it; a text that holds `: ` needs quotes"
    } else if info.contains("unknown anchor") {
        "an alias `*name` needs an anchor `&name` before it, in the same document; text that starts with `*` needs quotes"
    } else {
        "look at this line and the one before it: an indentation, a quote or a bracket is not as YAML has it"
    };
    Problem {
        code: Code::InvalidYaml,
        at,
        message: format!("not valid YAML: {info}"),
        help: Some(help.to_owned()),
    }
}

/// What a user wrote, short enough for a message.
fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain(['…']).collect()
    }
}
