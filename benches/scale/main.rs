//! How Concordat behaves with ten thousand agreements. Prints JSON; `docs/performance.md` says what the figures mean.
//!
//! ```sh
//! cargo bench --bench scale -- files   --agreements 10000
//! cargo bench --bench scale -- core    --agreements 10000
//! cargo bench --bench scale -- round   --agreements 10000
//! cargo bench --bench scale -- cluster --agreements 2000
//! cargo bench --bench scale -- shared  --practices 180 --recipients 60
//! ```
//!
//! Every figure that depends on the machine stands beside a measure of the machine from the same run: reading and
//! parsing the same files, or applying the same objects without the operator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may fail loudly, and prints"
)]

#[path = "../world/mod.rs"]
mod world;

#[path = "../../tests/support/mod.rs"]
mod support;

mod cluster;
mod core;
mod files;
mod process;
mod round;
mod shared;

use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use mimalloc::MiMalloc;

use world::Size;
use world::shared::Members;

/// The command's own, so that what parses here has no other than what checks there.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    // cargo says `--bench` to every bench
    let mut words = env::args().skip(1).filter(|word| word != "--bench");
    let mode = words.next().unwrap_or_else(|| "core".to_owned());
    let mut rest: Vec<String> = words.collect();
    let mut option = |name: &str| -> Option<String> {
        let at = rest.iter().position(|word| word == name)?;
        rest.remove(at);
        Some(rest.remove(at))
    };
    let agreements =
        option("--agreements").map_or(1000, |text| text.parse().expect("a number of agreements"));
    let runs = option("--runs").map_or(3, |text| text.parse().expect("a number of runs"));
    let seed = option("--seed").map_or(1, |text| text.parse().expect("a seed"));
    let at: Timestamp = option("--at").map_or_else(Timestamp::now, |text| text.parse().expect("a moment"));
    let size = Size { agreements, seed, at };
    let answer = match mode.as_str() {
        "files" => files::measure(size, runs),
        "cluster" => cluster::measure(size),
        "core" => core::measure(size, runs),
        "round" => round::measure(size, runs),
        "shared" => {
            let mut count =
                |name: &str, usual| option(name).map_or(usual, |it| it.parse().expect("a number"));
            let members =
                Members { practices: count("--practices", 180), recipients: count("--recipients", 60) };
            shared::measure(members, at, runs)
        }
        "write" => {
            let folder = PathBuf::from(rest.first().expect("a folder to write to"));
            world::World::new(size).write(&folder).expect("the folder is written");
            serde_json::json!({ "written": folder })
        }
        // what `files` starts, to be measured as a process of its own
        "parse" => return files::parse(&rest),
        other => panic!("`{other}` is not one of `files`, `core`, `round`, `cluster`, `shared`, `write`"),
    };
    println!("{answer:#}");
}
