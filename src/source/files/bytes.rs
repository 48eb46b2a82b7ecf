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
        /// Whether our group occurs in it, or it cannot be told.
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
    // one more than is allowed, so that too much can be told from just enough
    source.by_ref().take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_SIZE {
        let finding = Finding::new(
            Code::TooLarge,
            walk::file(name),
            format!("`{name}` is larger than {} MiB", MAX_SIZE >> 20),
        )
        .help("split it, or name the files and folders that hold manifests");
        let mentions = mentions_group(&bytes) || rest_mentions_group(&bytes, source)?;
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

/// The same for what comes after the bytes in hand, a piece at a time. What is too much to be searched may.
fn rest_mentions_group(before: &[u8], mut source: impl Read) -> io::Result<bool> {
    // a name may lie across two pieces, wide letters and all
    let overlap = 4 * GROUP.len();
    let tail = |bytes: &[u8]| bytes.get(bytes.len().saturating_sub(overlap)..).unwrap_or_default().to_vec();
    let mut held = tail(before);
    let mut searched = before.len();
    loop {
        let read = source.by_ref().take(PIECE as u64).read_to_end(&mut held)?;
        if read == 0 {
            return Ok(false);
        }
        searched += read;
        if mentions_group(&held) || searched > MAX_SEARCHED {
            return Ok(true);
        }
        held = tail(&held);
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
            assert!(rest_mentions_group(b"conc", rest.as_slice()).unwrap(), "{padding}");
        }
        assert!(rest_mentions_group(b"xxconcor", b"dat.dev".as_slice()).unwrap());
        assert!(!rest_mentions_group(b"xx", b"dat.dev".as_slice()).unwrap());
    }
}
