//! JSON as kubectl reads it: one object after the other, each of them strictly JSON.
//!
//! YAML has nearly all of JSON, but not its pairs of surrogates, and not its way of writing several documents.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::rc::Rc;
use std::str::CharIndices;

use super::node::{Budget, Content, Key, MAX_DEPTH, Node, Place, Problem, Weight, shown};
use super::scalar;
use concordat_core::finding::Code;

/// A value, what is wrong within it, and how many bytes it takes.
pub(super) struct Read {
    pub(super) root: Rc<Node>,
    pub(super) problems: Vec<Problem>,
    pub(super) length: usize,
    /// The place after it.
    pub(super) end: Place,
}

/// Reads the value that a text begins with, its first character being at `start`.
pub(super) fn value(text: &str, start: Place, budget: &mut Budget) -> Result<Read, Problem> {
    let mut reader =
        Reader { text, rest: text.char_indices().peekable(), at: start, problems: Vec::new(), budget };
    let root = reader.value(1)?;
    Ok(Read { root, length: reader.offset(), end: reader.at, problems: reader.problems })
}

struct Reader<'text, 'budget> {
    text: &'text str,
    rest: Peekable<CharIndices<'text>>,
    at: Place,
    problems: Vec<Problem>,
    budget: &'budget mut Budget,
}

impl Reader<'_, '_> {
    fn offset(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, c)| *c)
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        let (line, column) = self.at;
        self.at = if c == '\n' { (line.saturating_add(1), 1) } else { (line, column.saturating_add(1)) };
        Some(c)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.next();
        }
    }

    fn wrong(&self, expected: &str) -> Problem {
        Problem::new(
            Code::InvalidYaml,
            self.at,
            format!("not valid JSON: {expected} is expected here"),
            "look at this line and the one before it: a comma, a quote or a bracket is not as JSON has it",
        )
    }

    fn value(&mut self, depth: usize) -> Result<Rc<Node>, Problem> {
        self.skip_space();
        let at = self.at;
        if depth > MAX_DEPTH {
            return Err(Problem::too_deep(at));
        }
        let mut weight = Weight { nodes: 1, text: 0, height: 1 };
        let content = match self.peek() {
            Some('{') => self.object(depth, &mut weight)?,
            Some('[') => self.list(depth, &mut weight)?,
            Some('"') => Content::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('t') => self.word("true", Content::Bool(true))?,
            Some('f') => self.word("false", Content::Bool(false))?,
            Some('n') => self.word("null", Content::Null)?,
            _ => return Err(self.wrong("a value")),
        };
        let own = if let Content::Text(text) = &content { text.len() } else { 0 };
        weight.text = weight.text.saturating_add(own);
        self.budget.spend(1, own, at)?;
        Ok(Rc::new(Node { at, content, block: None, weight }))
    }

    fn object(&mut self, depth: usize, weight: &mut Weight) -> Result<Content, Problem> {
        self.next();
        let mut entries: Vec<(Key, Rc<Node>)> = Vec::new();
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        self.skip_space();
        if self.peek() == Some('}') {
            self.next();
            return Ok(Content::Map(entries));
        }
        loop {
            self.skip_space();
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.wrong("a key in double quotes"));
            }
            let text = self.string()?;
            self.budget.spend(1, text.len(), at)?;
            weight.text = weight.text.saturating_add(text.len());
            self.skip_space();
            if self.next() != Some(':') {
                return Err(self.wrong("`:`"));
            }
            let value = self.value(depth + 1)?;
            weight.hold(value.weight);
            if let Some(first) = seen.get(&text) {
                self.problems.push(Problem::duplicate_key(&text, at, Some(*first)));
            } else {
                seen.insert(text.clone(), at);
            }
            entries.push((Key { text, at }, value));
            self.skip_space();
            match self.peek() {
                Some(',') => self.next(),
                Some('}') => {
                    self.next();
                    return Ok(Content::Map(entries));
                }
                _ => return Err(self.wrong("`,` or `}`")),
            };
        }
    }

    fn list(&mut self, depth: usize, weight: &mut Weight) -> Result<Content, Problem> {
        self.next();
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(']') {
            self.next();
            return Ok(Content::List(items));
        }
        loop {
            let item = self.value(depth + 1)?;
            weight.hold(item.weight);
            items.push(item);
            self.skip_space();
            match self.peek() {
                Some(',') => self.next(),
                Some(']') => {
                    self.next();
                    return Ok(Content::List(items));
                }
                _ => return Err(self.wrong("`,` or `]`")),
            };
        }
    }

    fn word(&mut self, word: &str, content: Content) -> Result<Content, Problem> {
        for expected in word.chars() {
            if self.peek() != Some(expected) {
                return Err(self.wrong(&format!("`{word}`")));
            }
            self.next();
        }
        Ok(content)
    }

    fn number(&mut self) -> Result<Content, Problem> {
        let at = self.at;
        let mut text = String::new();
        if self.peek() == Some('-') {
            text.extend(self.next());
        }
        if self.peek() == Some('0') {
            text.extend(self.next());
        } else {
            self.digits(&mut text)?;
        }
        if self.peek() == Some('.') {
            text.extend(self.next());
            self.digits(&mut text)?;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            text.extend(self.next());
            if matches!(self.peek(), Some('+' | '-')) {
                text.extend(self.next());
            }
            self.digits(&mut text)?;
        }
        Ok(scalar::number(&text).map_or_else(
            || {
                self.problems.push(no_number(&text, at));
                Content::Null
            },
            Content::Number,
        ))
    }

    fn digits(&mut self, text: &mut String) -> Result<(), Problem> {
        if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Err(self.wrong("a digit"));
        }
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            text.extend(self.next());
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, Problem> {
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(at)?),
                Some(c) if c >= ' ' => text.push(c),
                _ => return Err(Problem { at, ..self.wrong("the rest of a text and its closing quote") }),
            }
        }
    }

    fn escape(&mut self, at: Place) -> Result<char, Problem> {
        Ok(match self.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = self.unit(at)?;
                if let Some(c) = char::from_u32(u32::from(first)) {
                    return Ok(c);
                }
                let second = if self.peek() == Some('\\') {
                    self.next();
                    if self.next() != Some('u') {
                        return Err(lone_surrogate(at));
                    }
                    self.unit(at)?
                } else {
                    return Err(lone_surrogate(at));
                };
                return match char::decode_utf16([first, second]).next() {
                    Some(Ok(c)) => Ok(c),
                    _ => Err(lone_surrogate(at)),
                };
            }
            _ => return Err(Problem { at, ..self.wrong("an escape that JSON has, such as `\\n`,") }),
        })
    }

    fn unit(&mut self, at: Place) -> Result<u16, Problem> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|c| c.to_digit(16)).and_then(|digit| u16::try_from(digit).ok());
            unit = unit << 4
                | digit.ok_or_else(|| Problem { at, ..self.wrong("four hexadecimal digits after `\\u`") })?;
        }
        Ok(unit)
    }
}

/// What separates things in JSON.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A number that not every reader holds as it is written.
pub(super) fn no_number(text: &str, at: Place) -> Problem {
    Problem::new(
        Code::InvalidYaml,
        at,
        format!("`{}` is not a number that can be held", shown(text)),
        "quote it if it is text",
    )
}

fn lone_surrogate(at: Place) -> Problem {
    Problem::new(
        Code::InvalidYaml,
        at,
        "not valid JSON: half of a pair of surrogates is no character",
        "write the character itself, or both halves of its pair",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, String> {
        match value(text, (1, 1), &mut Budget::default()) {
            Ok(Read { root, problems, length, .. }) if problems.is_empty() && length == text.len() => {
                Ok(root.value())
            }
            Ok(Read { problems, .. }) => Err(format!("{problems:?}")),
            Err(problem) => Err(problem.message),
        }
    }

    #[test]
    fn what_is_json_is_read_as_serde_reads_it_and_nothing_else_is_read() {
        for text in [
            r#"{"a": [1, -2.5, 1e3, true, null, "x"], "b": {}}"#,
            r#""a \ud83c\udfe5 \u00e9\n\"\\""#,
            "[]",
            "-0",
            "\"\u{7f}é\"",
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            let expected =
                serde_json::to_string(&expected).unwrap().replace("1000.0", "1000").replace("-0.0", "0");
            assert_eq!(read(text).unwrap().to_string(), expected, "{text}");
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a: 1}",
            "'a'",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            r#""\ud83c""#,
            r#""\ud83c\u0041""#,
            r#""\x""#,
            "\"a\nb\"",
            "// a\n{}",
            "{\"a\": 1, \"a\": 2}",
            "99999999999999999999",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
