//! Good manifests, broken at random in their bytes and in their structure: whatever comes of it is told, or is read,
//! and nothing panics. The seed is fixed; `CONCORDAT_MUTATIONS=100000` tries for longer.

use super::world::World;
use super::{at, faults};

/// SplitMix64: small, even, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.throw(from.len())]
    }
}

/// What is put somewhere.
const BITS: [&str; 34] = [
    "",
    " ",
    "\n",
    "\t",
    "\0",
    ": ",
    "- ",
    "#",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "---\n",
    "...\n",
    "? ",
    "| \n",
    "> ",
    "null",
    "true",
    "-1",
    "1e999",
    "9223372036854775808",
    "\u{202e}",
    "\u{feff}",
    "\u{10ffff}",
    "%YAML 9.9\n",
    "2027-13-45T99:99:99Z",
    "@",
];

/// A text with something in it other than it was.
fn mutated(text: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let a_line = dice.throw(lines.len());
    match dice.throw(9) {
        0 => {
            let at = dice.throw(bytes.len());
            bytes[at] = u8::try_from(dice.throw(256)).unwrap();
        }
        1 => {
            let at = dice.throw(bytes.len());
            bytes.splice(at..at, dice.pick(&BITS).bytes());
        }
        2 => {
            let (a, b) = (dice.throw(bytes.len()), dice.throw(40));
            bytes.drain(a..(a + b).min(bytes.len()));
        }
        3 => {
            let end = dice.throw(bytes.len());
            bytes.truncate(end);
        }
        4 => bytes = [&lines[..a_line], &lines[a_line + 1..]].concat().concat().into_bytes(),
        5 => {
            let to = dice.throw(lines.len());
            let mut lines = lines.clone();
            lines.insert(to, lines[a_line]);
            bytes = lines.concat().into_bytes();
        }
        6 => {
            let other = dice.throw(lines.len());
            let mut lines = lines.clone();
            lines.swap(a_line, other);
            bytes = lines.concat().into_bytes();
        }
        7 => {
            // another value for a key
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            if let Some((key, _)) = lines[a_line].clone().split_once(": ") {
                lines[a_line] = format!("{key}: {}\n", dice.pick(&BITS));
            }
            bytes = lines.concat().into_bytes();
        }
        _ => {
            // deeper, or less deep
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let line = &mut lines[a_line];
            *line = if dice.throw(2) == 0 {
                format!("  {line}")
            } else {
                line.trim_start_matches("  ").to_owned()
            };
            bytes = lines.concat().into_bytes();
        }
    }
    bytes
}

#[test]
fn whatever_is_broken_is_told_or_read_and_nothing_panics() {
    let times = std::env::var("CONCORDAT_MUTATIONS").ok().and_then(|it| it.parse().ok()).unwrap_or(30);
    let good = World::good();
    let names: Vec<&String> = good.names().collect();
    let mut dice = Dice(2026);
    let (mut told, mut read) = (0, 0);
    for turn in 0..times {
        let mut world = good.clone();
        let file = names[dice.throw(names.len())];
        let mut bytes = mutated(good.text(file), &mut dice);
        for _ in 0..dice.throw(3) {
            if let Ok(text) = String::from_utf8(bytes.clone()) {
                if text.is_empty() {
                    break;
                }
                bytes = mutated(&text, &mut dice);
            }
        }
        world.put(file, bytes.clone());
        let seen = std::panic::catch_unwind(|| world.seen(at()));
        let shown = || format!("turn {turn}, {file}:\n{}", String::from_utf8_lossy(&bytes));
        let seen = seen.unwrap_or_else(|_| panic!("a panic in {}", shown()));
        for finding in &seen.findings {
            let mut faults = faults(finding);
            // what has lost its name is known by its line alone
            faults.retain(|fault| !fault.contains("names no object"));
            assert!(faults.is_empty(), "{faults:?} in {}", shown());
        }
        if seen.findings.is_empty() { read += 1 } else { told += 1 }
    }
    // most of what is broken shows
    assert!(told > read, "{told} told, {read} read");
}
