//! The bytes of a file: how many are read, whether they are text, and whether they speak of our group.

use std::fs;
use std::io::{self, Read};

use super::walk::{self, Entry, STDIN};
use concordat_api::GROUP;
use concordat_core::finding::{Code, Finding, Origin};

/// How large a file of ours may be.
const MAX_SIZE: usize = 4 << 20;
/// How far a larger one is searched for our group.
const MAX_SEARCHED: usize = 1 << 30;
/// How much of it is held at a time.
const PIECE: usize = 64 << 10;

/// What the bytes of a file are.
pub(super) enum Bytes {
    Text(String),
    /// Not for us to read, and why.
    Not {
        finding: Box<Finding>,
        /// Whether our group occurs in it, or may.
        mentions: bool,
    },
}

/// Reads a file.
pub(super) fn read(entry: &Entry) -> Bytes {
    let opened: io::Result<Box<dyn Read>> = if entry.name == STDIN && entry.path.as_os_str() == "-" {
        Ok(Box::new(io::stdin().lock()))
    } else {
        fs::File::open(&entry.path).map(|file| -> Box<dyn Read> { Box::new(file) })
    };
    opened.and_then(|source| bytes(&entry.name, source)).unwrap_or_else(|error| Bytes::Not {
        finding: Box::new(walk::unreadable(&entry.name, &error)),
        mentions: true,
    })
}

fn bytes(name: &str, mut source: impl Read) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    // one more than is allowed, so that too much differs from just enough
    source.by_ref().take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_SIZE {
        let finding = Finding::new(
            Code::TooLarge,
            walk::file(name),
            format!("`{name}` is larger than {} MiB", MAX_SIZE >> 20),
        )
        .help("split it, or name the files and folders that hold manifests");
        let mentions = search(bytes.as_slice().chain(source))?;
        return Ok(Bytes::Not { finding: Box::new(finding), mentions });
    }
    Ok(String::from_utf8(bytes).map_or_else(
        |error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let (line, column) = walk::end_of(&String::from_utf8_lossy(before));
            let origin = Origin { line: Some(line), column: Some(column), ..walk::file(name) };
            let finding =
                Finding::new(Code::InvalidYaml, origin, "not valid YAML: the text is not UTF-8 from here on")
                    .help("save the file as UTF-8");
            Bytes::Not { finding: Box::new(finding), mentions: mentions_group(error.as_bytes()) }
        },
        Bytes::Text,
    ))
}

/// Whether our group occurs in some bytes, whatever the case of its letters, and also where each letter takes two or
/// four bytes.
pub(super) fn mentions_group(bytes: &[u8]) -> bool {
    let occurs = |bytes: &[u8]| {
        bytes.windows(GROUP.len()).any(|window| {
            // most windows end here
            window.first().is_some_and(|first| matches!(first, b'c' | b'C'))
                && window.eq_ignore_ascii_case(GROUP.as_bytes())
        })
    };
    if occurs(bytes) {
        return true;
    }
    bytes.contains(&0) && {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        occurs(&narrow)
    }
}

/// The same for a text that is too large to be read, a piece at a time, and however YAML and JSON may spell it. What is too
/// much to be searched may.
fn search(mut source: impl Read) -> io::Result<bool> {
    // a name may lie across two pieces, wide letters and all
    let overlap = 4 * GROUP.len();
    let (mut held, mut piece, mut searched) = (Vec::new(), Vec::new(), 0);
    let mut spelling = Spelling::default();
    loop {
        piece.clear();
        let read = source.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if read == 0 {
            return Ok(false);
        }
        searched += read;
        held.extend_from_slice(&piece);
        if mentions_group(&held) || spelling.disguises(&piece) || searched > MAX_SEARCHED {
            return Ok(true);
        }
        held.drain(..held.len().saturating_sub(overlap));
    }
}

/// Looks for letters that are spelt another way: what writes YAML and JSON for machines spells only other characters so.
#[derive(Debug, Default)]
struct Spelling {
    /// What has been seen of an escape, from its backslash on.
    escape: Vec<u8>,
    /// The last bytes without those of an escape.
    before: Vec<u8>,
}

impl Spelling {
    /// Whether a letter of our group is written as an escape, a line break falls into the middle of a word, or a text is in
    /// base 64, at the latest in this piece.
    fn disguises(&mut self, piece: &[u8]) -> bool {
        piece.iter().filter(|byte| **byte != 0).any(|byte| self.step(*byte))
    }

    fn step(&mut self, byte: u8) -> bool {
        const BASE64: &[u8] = b"!!binary";
        const BASE64_LONG: &[u8] = b":binary";
        if self.escape.is_empty() {
            if byte == b'\\' {
                self.escape.push(byte);
                return false;
            }
            self.before.push(byte);
            self.before.drain(..self.before.len().saturating_sub(BASE64.len()));
            return self.before.ends_with(BASE64) || self.before.ends_with(BASE64_LONG);
        }
        let length = match self.escape.get(1) {
            None if byte.is_ascii_whitespace() => None,
            None => match byte {
                b'x' => Some(2),
                b'u' => Some(4),
                b'U' => Some(8),
                _ => Some(0),
            },
            // what a broken line goes on with
            Some(first) if first.is_ascii_whitespace() => {
                if byte.is_ascii_whitespace() {
                    return false;
                }
                self.escape.clear();
                let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b".-/".contains(byte);
                return self.before.last().is_some_and(in_word) && in_word(&byte);
            }
            Some(b'x') => Some(2),
            Some(b'u') => Some(4),
            Some(b'U') => Some(8),
            Some(_) => Some(0),
        };
        self.escape.push(byte);
        let Some(length) = length else { return false };
        if self.escape.len() < 2 + length {
            return false;
        }
        let digits = self.escape.get(2..).map(String::from_utf8_lossy).unwrap_or_default();
        let spelt = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
        self.escape.clear();
        spelt.is_some_and(|it| GROUP.contains(it.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_is_found_in_any_case_and_width_and_across_pieces() {
        let wide: Vec<u8> = GROUP.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, found) in [
            (b"apiVersion: concordat.dev/v1alpha1".to_vec(), true),
            (b"CONCORDAT.DEV".to_vec(), true),
            (b"\xff\xfe".iter().copied().chain(wide.clone()).collect(), true),
            (b"concordat.de".to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(mentions_group(&bytes), found, "{bytes:?}");
        }
        for padding in [PIECE - 20, PIECE - 5, PIECE, 3 * PIECE + 1] {
            let rest: Vec<u8> =
                std::iter::repeat_n(b'x', padding).chain(wide.clone()).chain([b'y'; 9]).collect();
            assert!(search(rest.as_slice()).unwrap(), "{padding}");
        }
        assert!(search(b"xxconcor".chain(b"dat.dev".as_slice())).unwrap());
        assert!(!search(b"xxdat.dev".as_slice()).unwrap());
    }

    #[test]
    fn our_group_is_found_however_a_large_text_spells_it() {
        let spelt = [
            r#"apiVersion: "concordat\u002edev/v1alpha1""#,
            r#"{"apiVersion": "concordat.d\u0065v/v1alpha1"}"#,
            r#"apiVersion: "\x63oncordat.dev/v1alpha1""#,
            r#"apiVersion: "\U00000063oncordat.dev/v1alpha1""#,
            "apiVersion: \"concor\\\n     dat.dev/v1alpha1\"",
            "apiVersion: \"concor\\  \r\n  dat.dev/v1alpha1\"",
            "apiVersion: !!binary Y29uY29yZGF0LmRldi92MWFscGhhMQ==",
            "apiVersion: !<tag:yaml.org,2002:binary> Y29uY29yZGF0LmRldi92MWFscGhhMQ==",
        ];
        for text in spelt {
            for padding in [0, PIECE - 22, PIECE - 18, PIECE] {
                let large = " ".repeat(padding) + text;
                assert!(search(large.as_bytes()).unwrap(), "{padding} {text}");
            }
        }
        // what machines write of other things
        for text in [
            r#"{"html": "\u003cb\u003e \u0026 \"quoted\" C:\\users\\name \n\t \u00e9 \/path"}"#,
            "a: \"a long line that is folded \\\n  \\ between its words\"",
        ] {
            assert!(!search(text.as_bytes()).unwrap(), "{text}");
        }
    }
}
