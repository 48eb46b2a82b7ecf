//! One chunk of YAML, between two `---` lines, to its trees.
//!
//! Everything is bounded before it is held: the depth, the number of nodes and the amount of text, all of them with
//! aliases expanded, so that no file, however it was made, takes the process down. What the YAML 1.1 of kubectl reads
//! differently, or not at all, is a problem of the document; `documents` lists it.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::characters::{self, Invisible};
use super::json::no_number;
use super::node::{Budget, Content, Key, MAX_DEPTH, Node, Place, Problem, Weight, shown};
use super::scalar::{self, Plain};
use concordat_core::finding::Code;

/// How many times what is written itself may come from aliases. kubectl gives up at a hundred times, and earlier in a
/// large file.
const MOST_ALIASED: usize = 20;
/// How many values aliases may always repeat.
const ALWAYS_ALIASED: usize = 1_000;

/// One document of a chunk.
pub(super) struct Read {
    pub(super) root: Rc<Node>,
    /// What is wrong within it, though it could be read to its end.
    pub(super) problems: Vec<Problem>,
}

/// Reads the documents of a chunk whose first line has the number `line`. An error ends the reading; the documents
/// before it stay.
pub(super) fn read(
    chunk: &str,
    line: u32,
    budget: &mut Budget,
    documents: &mut Vec<Read>,
) -> Result<(), Problem> {
    let mut reader = Reader {
        parser: Parser::new_from_str(chunk),
        lines: chunk.lines().collect(),
        above: line.saturating_sub(1),
        anchors: BTreeMap::new(),
        problems: Vec::new(),
        own: 0,
        aliased: 0,
        flow: 0,
        blocks: Vec::new(),
        quoted: Vec::new(),
        last: Marker::default(),
        current: Marker::default(),
        budget,
    };
    while let Some(document) = reader.document()? {
        documents.push(document);
    }
    match (reader.tab(), documents.last_mut()) {
        (Some(problem), Some(last)) => last.problems.push(problem),
        (Some(problem), None) => return Err(problem),
        (None, _) => {}
    }
    Ok(())
}

struct Reader<'text, 'budget> {
    parser: Parser<'text, StrInput<'text>>,
    lines: Vec<&'text str>,
    /// How many lines of the file are above the chunk.
    above: u32,
    /// Values that an alias may repeat. `None` while the value is still being read.
    anchors: BTreeMap<usize, Option<Rc<Node>>>,
    problems: Vec<Problem>,
    /// How many values are written in the document, and how many come from aliases.
    own: usize,
    aliased: usize,
    /// How many brackets are open around a value.
    flow: usize,
    /// The first line of each text that is written as a block, and the line after it, from 1 within the chunk. Tabs are
    /// text there.
    blocks: Vec<(usize, usize)>,
    /// Where each text in quotes begins and ends.
    quoted: Vec<(Marker, Marker)>,
    /// Where what was read before the last ended, and where the last ended.
    last: Marker,
    current: Marker,
    budget: &'budget mut Budget,
}

impl<'text> Reader<'text, '_> {
    /// The line of a mark, as it is written.
    fn written(&self, marker: &Marker) -> &'text str {
        marker.line().checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or_default()
    }

    fn begins_with(&self, span: &Span, bracket: char) -> bool {
        self.written(&span.start).chars().nth(span.start.col()) == Some(bracket)
    }

    /// Notes what kubectl reads otherwise in a scalar, and where blocks are.
    fn look_at(&mut self, text: &str, style: ScalarStyle, span: &Span, at: Place) {
        if matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
            self.quoted.push((span.start, span.end));
        }
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded if text.trim().is_empty() => {}
            ScalarStyle::Literal | ScalarStyle::Folded if text.trim_start_matches('\n').starts_with('\t') => {
                self.problem(
                    at,
                    "a block of text begins with a tab, and kubectl refuses it",
                    "begin with a letter",
                );
            }
            ScalarStyle::Literal | ScalarStyle::Folded => {
                self.blocks.push((span.start.line(), span.end.line()));
            }
            ScalarStyle::Plain
                if self.flow > 0
                    && (text.contains('?')
                        || text.starts_with(['|', '>', ':', '\\'])
                        || text.ends_with(':')) =>
            {
                self.problem(
                    at,
                    "between brackets, plain text with a `?`, or with a sign at its beginning or a `:` at its end, is \
                     another thing to kubectl",
                    "put the text into quotes",
                );
            }
            ScalarStyle::DoubleQuoted => {
                let lines = span.start.line()..=span.end.line();
                let mut written = lines.filter_map(|line| self.lines.get(line.checked_sub(1)?));
                if written.any(|line| line.contains("\\/")) {
                    self.problem(at, "`\\/` is no escape to kubectl", "write `/`, which needs none");
                }
            }
            ScalarStyle::Plain | ScalarStyle::SingleQuoted => {}
        }
    }

    /// Names of anchors that kubectl does not take, between what was read last and the value at this place.
    fn anchor_name(&mut self, anchor: usize, span: &Span, at: Place) {
        if anchor == 0 {
            return;
        }
        let lines = self.last.line().max(1) - 1..span.start.line().max(self.last.line());
        let lines: Vec<&str> = lines.filter_map(|line| self.lines.get(line).copied()).collect();
        let named = |after: &str| {
            let name = after.split([' ', '\t', ',', '[', ']', '{', '}']).next().unwrap_or_default();
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        let mut anchors = lines.iter().flat_map(|line| line.split('&').skip(1));
        if anchors.any(|after| !named(after)) {
            self.problem(
                at,
                "the name of an anchor is letters, digits, `_` and `-` to kubectl",
                "give it such a name",
            );
        }
    }

    /// The first tab that is no part of a text in quotes, of a block of text or of a comment. Readers differ in where they
    /// take those for space.
    fn tab(&self) -> Option<Problem> {
        let (line, column) = (1_usize..).zip(&self.lines).find_map(|(line, text)| {
            let tab = text.char_indices().enumerate().find(|(column, (at, c))| {
                *c == '\t' && !self.is_text(line, *column, text.get(..*at).unwrap_or_default(), text)
            });
            tab.map(|(column, _)| (line, column + 1))
        })?;
        let place = (self.above.saturating_add(u32::try_from(line).ok()?), u32::try_from(column).ok()?);
        Some(Problem::new(
            Code::OtherMeaning,
            place,
            "a tab is used as space here, which some readers refuse",
            "write spaces, or put a text with a tab into quotes",
        ))
    }

    /// Whether what is in a line, from 1, at a column, from 0, after this text is text to every reader.
    fn is_text(&self, line: usize, column: usize, before: &str, whole: &str) -> bool {
        let is_blank = |text: &str| text.trim_matches([' ', '\t', '\r']).is_empty();
        if self.blocks.iter().any(|(first, last)| (*first..*last).contains(&line)) {
            return !is_blank(whole);
        }
        let after = whole.split_at(before.len()).1;
        if is_blank(before) || is_blank(after) || after.trim_start_matches([' ', '\t']).starts_with('#') {
            return false;
        }
        let within = |(line, column): (usize, usize)| {
            self.quoted.iter().any(|(start, end)| {
                (start.line(), start.col()) < (line, column) && (line, column) < (end.line(), end.col())
            })
        };
        let comments = before.char_indices().enumerate().filter(|(_, (at, c))| {
            *c == '#' && (*at == 0 || before.get(..*at).is_some_and(|it| it.ends_with(' ')))
        });
        within((line, column)) || comments.into_iter().any(|(column, _)| !within((line, column)))
    }

    fn document(&mut self) -> Result<Option<Read>, Problem> {
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
                    (self.own, self.aliased) = (0, 0);
                    let root = self.node(event, span, 1)?;
                    if self.aliased > ALWAYS_ALIASED.max(self.own.saturating_mul(MOST_ALIASED)) {
                        let message =
                            "nearly all of this document comes from aliases, and kubectl refuses it";
                        return Err(Problem::too_large(root.at, message.to_owned()));
                    }
                    return Ok(Some(Read { root, problems: std::mem::take(&mut self.problems) }));
                }
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, Problem> {
        let next = self.parser.next_event().transpose().map_err(|error| self.syntax(&error))?;
        if let Some((_, span)) = &next {
            self.last = std::mem::replace(&mut self.current, span.end);
        }
        Ok(next)
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
        let at = self.place(&span.start);
        if depth > MAX_DEPTH {
            return Err(Problem::too_deep(at));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.look_at(&text, style, &span, at);
                if depth == 1 && matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    self.problem(
                        at,
                        "a document that is a block of text ends elsewhere for kubectl",
                        "write an object",
                    );
                }
                self.anchor_name(anchor, &span, at);
                let content = self.scalar(&text, style, tag.as_deref(), at);
                let length = if let Content::Text(text) = &content { text.len() } else { 0 };
                let block = if style == ScalarStyle::Literal { self.block(&text, at) } else { None };
                let weight = Weight { nodes: 1, text: length, height: 1 };
                self.finish(Node { at, content, block, weight }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at);
                self.anchor_name(anchor, &span, at);
                self.open(anchor);
                let flow = self.begins_with(&span, '[');
                self.flow += usize::from(flow);
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
                self.flow -= usize::from(flow);
                self.finish(Node { at, content: Content::List(items), block: None, weight }, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at);
                self.anchor_name(anchor, &span, at);
                self.open(anchor);
                let mut weight = Weight { nodes: 1, text: 0, height: 1 };
                let flow = self.begins_with(&span, '{');
                self.flow += usize::from(flow);
                let entries = self.entries(at, depth, &mut weight)?;
                self.flow -= usize::from(flow);
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
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        loop {
            let (event, span) = self.inner(opened)?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, span, depth)?;
            weight.text = weight.text.saturating_add(key.text.len());
            let written = self.current;
            let (event, span) = self.inner(opened)?;
            let mut value = self.node(event, span, depth + 1)?;
            if self.flow > 0 && matches!(value.content, Content::Null) && self.is_missing(&written) {
                self.problem(
                    key.at,
                    "between brackets, a key with a `:` and without a value is another thing to kubectl",
                    "write the value, or `null`",
                );
            }
            if matches!(value.content, Content::Null) && value.at.0 <= self.above {
                // an absent value has no place of its own
                value =
                    Rc::new(Node { at: key.at, content: Content::Null, block: None, weight: value.weight });
            }
            weight.hold(value.weight);
            if let Some(first) = seen.get(&key.text) {
                self.problems.push(Problem::duplicate_key(&key.text, key.at, Some(*first)));
            } else {
                seen.insert(key.text.clone(), key.at);
            }
            entries.push((key, value));
        }
    }

    fn key(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Key, Problem> {
        let at = self.place(&span.start);
        if self.is_explicit(at) {
            self.problem(
                at,
                "a key after `?` is read differently by different readers",
                "write `key: value`",
            );
        }
        // what a key means is asked of its own spelling, also where that would be a number or a truth value
        let spelling = match event {
            Event::Scalar(text, style, 0, None) => {
                self.budget.spend(1, text.len(), at)?;
                self.own += 1;
                self.look_at(&text, style, &span, at);
                if self.flow > 0 && !self.is_on_one_line(&span) {
                    self.problem(
                        at,
                        "a key and its `:` on several lines are read by some readers and not by others",
                        "write `key: value` on one line",
                    );
                }
                if style == ScalarStyle::Plain {
                    self.plain_key(&text, at);
                    if text.contains('?') {
                        self.problem(
                            at,
                            "a `?` in a key is another thing to some readers",
                            "put the key into quotes",
                        );
                    }
                }
                Some(text.into_owned())
            }
            other => {
                // read it, so that what follows is in its place
                let node = self.node(other, span, depth + 1)?;
                self.problem(
                    at,
                    "a key is not plain text",
                    "write the key itself: no tag, anchor, alias, list or mapping",
                );
                node.text().map(str::to_owned)
            }
        };
        let text = spelling.unwrap_or_default();
        if let Some(invisible) = characters::in_key(&text) {
            self.invisible(&invisible, at);
        }
        Ok(Key { text, at })
    }

    /// Whether there is a `:` after this mark, and nothing after that.
    fn is_missing(&self, mark: &Marker) -> bool {
        let after: String = self.written(mark).chars().skip(mark.col()).collect();
        after.trim_start().strip_prefix(':').is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.is_empty() || rest.starts_with([',', '}', ']', '#'])
        })
    }

    /// Whether a key and what follows it between brackets are on one line.
    fn is_on_one_line(&self, span: &Span) -> bool {
        let after: String = self.written(&span.end).chars().skip(span.end.col()).collect();
        span.start.line() == span.end.line() && after.trim_start().starts_with([':', ',', '}', ']'])
    }

    fn plain_key(&mut self, text: &str, at: Place) {
        if text == "<<" {
            self.problem(
                at,
                "`<<` merges another mapping into this one, which kubectl and we do not read alike",
                "write the keys out",
            );
        } else if text.is_empty() || text == "~" {
            self.problem(at, "a key is missing before this `:`", "name the field, or quote an empty key");
        } else {
            match scalar::kubectl_key(text) {
                Some(key) if key == text => {}
                Some(key) => self.read_differently(text, &format!("`{key}`"), at),
                None => self.read_differently(text, "something else than text", at),
            }
        }
    }

    /// Whether a `?` introduces a key.
    fn is_explicit(&self, (line, column): Place) -> bool {
        let before =
            line.checked_sub(self.above + 1).and_then(|line| self.lines.get(usize::try_from(line).ok()?));
        let mut before =
            before.iter().flat_map(|line| line.chars().take(usize::try_from(column).unwrap_or(0) - 1));
        let mut last = None;
        before.by_ref().filter(|c| !c.is_whitespace()).for_each(|c| last = Some(c));
        last == Some('?')
    }

    fn alias(&mut self, id: usize, at: Place, depth: usize) -> Result<Rc<Node>, Problem> {
        let target = self.anchors.get(&id).cloned().flatten().ok_or_else(|| Problem {
            code: Code::InvalidYaml,
            at,
            message: "this alias is inside the value that it repeats".to_owned(),
            help: Some("write the value out".to_owned()),
        })?;
        if depth + target.weight.height > MAX_DEPTH {
            return Err(Problem::too_large(
                at,
                format!("with this alias, lists and mappings nest deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.budget.spend(target.weight.nodes, target.weight.text, at)?;
        self.aliased = self.aliased.saturating_add(target.weight.nodes);
        Ok(target)
    }

    /// Where the text of a block scalar begins: at its first line that is not empty, which is in the file as it is,
    /// only further in.
    fn block(&self, text: &str, at: Place) -> Option<Place> {
        let (above, first) = (0_u32..).zip(text.split('\n')).find(|(_, line)| !line.trim().is_empty())?;
        let header = usize::try_from(at.0).ok()?.checked_sub(usize::try_from(self.above).ok()? + 1)?;
        // comments and empty lines may come between
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
        self.budget.spend(1, own, node.at)?;
        self.own += 1;
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        Ok(node)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Content {
        if let Some(invisible) = characters::in_value(text) {
            self.invisible(&invisible, at);
        }
        match tag {
            None if style == ScalarStyle::Plain => self.plain(text, at),
            None => Content::Text(text.to_owned()),
            Some(tag) => {
                if !(tag.is_yaml_core_schema() && tag.suffix == "str") {
                    self.foreign_tag(tag, at);
                }
                if style == ScalarStyle::Plain && text.is_empty() {
                    self.problem(at, "a tag without a value is read differently", "write `\"\"`");
                }
                Content::Text(text.to_owned())
            }
        }
    }

    fn plain(&mut self, text: &str, at: Place) -> Content {
        let differs = scalar::kubectl_reads(text);
        if let Some(other) = &differs {
            self.read_differently(text, other, at);
        }
        match scalar::plain(text) {
            Plain::Null => Content::Null,
            Plain::Bool(value) => Content::Bool(value),
            Plain::Number(number) => Content::Number(number),
            Plain::Text => Content::Text(text.to_owned()),
            Plain::NoJsonNumber => {
                if differs.is_none() {
                    self.problems.push(no_number(text, at));
                }
                Content::Null
            }
        }
    }

    fn read_differently(&mut self, text: &str, read: &str, at: Place) {
        let text = shown(text);
        self.problems.push(Problem::new(
            Code::InvalidField,
            at,
            format!("kubectl reads an unquoted `{text}` as {read}"),
            format!("write \"{text}\" for the text, or the value that you mean"),
        ));
    }

    fn invisible(&mut self, invisible: &Invisible, at: Place) {
        let Invisible { message, help } = invisible;
        self.problems.push(Problem::new(Code::UnsafeText, at, message, *help));
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
        self.problems.push(Problem::new(Code::InvalidYaml, at, message, help));
    }

    fn place(&self, marker: &Marker) -> Place {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        (number(marker.line()).saturating_add(self.above), number(marker.col()).saturating_add(1))
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let info = error.info();
        let at = self.place(error.marker());
        if info.contains("recursion limit") {
            // the scanner has a bound of its own
            return Problem::too_deep(at);
        }
        let speaks_of = |word: &str| info.split(|c: char| !c.is_alphanumeric()).any(|it| it == word);
        let help = if info.contains("unprintable") {
            "take the character out, or look whether this is a text file at all"
        } else if speaks_of("tab") || speaks_of("tabs") {
            "indent with spaces: YAML does not allow tabs there"
        } else if info.contains("mapping values are not allowed") || info.contains("simple key") {
            "check the indentation of this line and the one before it; a text that holds `: ` needs quotes"
        } else if info.contains("unknown anchor") {
            "an alias `*name` needs an anchor `&name` before it, in the same document; text that starts with `*` needs \
             quotes"
        } else {
            "look at this line and the one before it: an indentation, a quote or a bracket is not as YAML has it"
        };
        Problem::new(Code::InvalidYaml, at, format!("not valid YAML: {info}"), help)
    }
}
