//! `check` and `plan` on a folder, beside only parsing the same files.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr_parser::Parser;
use serde_json::{Value, json};

use crate::process::{Ran, median, rounded, run};
use crate::world::{Size, World};

pub fn measure(size: Size, runs: usize) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    World::new(size).write(folder.path()).expect("the folder is written");
    let at = size.at.to_string();
    let own = std::env::current_exe().expect("the bench's own path");
    let concordat = env!("CARGO_BIN_EXE_concordat");
    let commands: [(&str, PathBuf, Vec<&str>); 4] = [
        ("parseEvents", own.clone(), vec!["parse", "events"]),
        ("parseValues", own, vec!["parse", "values"]),
        ("check", concordat.into(), vec!["check", "--format", "json", "--at", &at]),
        ("plan", concordat.into(), vec!["plan", "--output", "json", "--at", &at]),
    ];
    let mut all: Vec<Vec<Ran>> = vec![Vec::new(); commands.len()];
    // in turn, so that a machine that gets slower does so for all; the first round warms up
    for round in 0..=runs {
        for (ran, (_, program, words)) in all.iter_mut().zip(&commands) {
            let one = run(Command::new(program).args(words).arg(folder.path()));
            if round > 0 {
                ran.push(one);
            }
        }
    }
    let (mut files, mut bytes) = (0_u64, 0_u64);
    each(folder.path(), &mut |text| {
        files += 1;
        bytes += text.len() as u64;
    });
    let mut answer = json!({ "agreements": size.agreements, "runs": runs, "files": files, "bytes": bytes });
    for (ran, (name, _, _)) in all.iter().zip(&commands) {
        let over = |base: usize| {
            rounded(median(
                ran.iter()
                    .zip(&all[base])
                    .map(|(a, b)| a.wall.as_secs_f64() / b.wall.as_secs_f64())
                    .collect(),
            ))
        };
        answer[*name] = json!({
            "seconds": rounded(median(ran.iter().map(|ran| ran.wall.as_secs_f64()).collect())),
            "peakMiB": ran.iter().filter_map(|ran| ran.peak_mib).max(),
            "overEvents": over(0),
            "overValues": over(1),
        });
    }
    answer
}

/// Only reads and parses: to events, or to values.
pub fn parse(words: &[String]) {
    let (how, folder) = (words[0].as_str(), Path::new(&words[1]));
    each(folder, &mut |text| match how {
        "events" => {
            let mut parser = Parser::new_from_str(text);
            while let Some(event) = parser.next_event() {
                black_box(event.expect("valid YAML"));
            }
        }
        _ => {
            let values: Vec<Value> = serde_saphyr::from_multiple(text).expect("valid YAML");
            black_box(values);
        }
    });
}

/// Every file of a folder.
fn each(folder: &Path, with: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            each(&path, with);
        } else {
            with(&fs::read_to_string(&path).expect("a text"));
        }
    }
}
