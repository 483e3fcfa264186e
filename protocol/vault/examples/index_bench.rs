//! What an index of ten million chunks costs, and a vault of ten thousand recovery points: seconds, memory, requests.
//!
//! `cargo xtask bench index`, or `index_bench [--chunks N] [--points N] [--machines N] [--dir FOLDER]`. Each step runs in a
//! process of its own, so that its memory is its own. Memory is `RssAnon` of `/proc/self/status`, sampled every two
//! milliseconds for the peak.
#![expect(clippy::print_stdout, reason = "the figures are the product of this program")]

#[path = "index_bench/chunks.rs"]
mod chunks;
#[path = "index_bench/fleet.rs"]
mod fleet;
#[path = "index_bench/memory.rs"]
mod memory;

use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::{CustomerRoot, key_text, parse_key_text};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every trouble ends the program.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Options {
    chunks: u64,
    points: u32,
    machines: u32,
    dir: PathBuf,
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["step", name, dir, number, other] = words[..] {
        return step(name, Path::new(dir), number.parse()?, other.parse()?);
    }
    let options = parse(&words)?;
    let dir = options.dir.join(format!("nightkeep-index-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let done = tables(&options, &dir);
    std::fs::remove_dir_all(&dir)?;
    done
}

fn parse(words: &[&str]) -> Outcome<Options> {
    let mut options = Options { chunks: 10_000_000, points: 10_000, machines: 500, dir: std::env::temp_dir() };
    for pair in words.chunks(2) {
        match pair {
            ["--chunks", n] => options.chunks = n.parse()?,
            ["--points", n] => options.points = n.parse()?,
            ["--machines", n] => options.machines = n.parse()?,
            ["--dir", dir] => options.dir = dir.into(),
            other => return Err(format!("unknown argument {other:?}").into()),
        }
    }
    Ok(options)
}

fn tables(options: &Options, dir: &Path) -> Outcome {
    println!("index of {} chunks", options.chunks);
    let chunks = dir.join("chunks");
    for name in ["write-segments", "build", "open", "session"] {
        run_step(name, &chunks, options.chunks, 0)?;
    }
    std::fs::remove_dir_all(&chunks)?;
    for points in [options.points / 10, options.points] {
        println!("\n{points} recovery points of {} machines", options.machines);
        let fleet = dir.join(format!("fleet-{points}"));
        for name in ["write-fleet", "list-cold", "list-warm", "backup-cold", "backup-warm", "backup-enrolled"] {
            run_step(name, &fleet, points.into(), options.machines)?;
        }
    }
    Ok(())
}

/// The key of a step's vault, made by the first step.
fn root(dir: &Path, vault: VaultId) -> Outcome<CustomerRoot> {
    let path = dir.join("key");
    if !path.exists() {
        std::fs::create_dir_all(dir)?;
        std::fs::write(&path, key_text(vault, &CustomerRoot::generate()))?;
    }
    Ok(parse_key_text(&std::fs::read_to_string(path)?)?.1)
}

fn run_step(name: &str, dir: &Path, number: u64, other: u32) -> Outcome {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("step").arg(name).arg(dir).arg(number.to_string()).arg(other.to_string());
    if command.status()?.success() { Ok(()) } else { Err(format!("the step {name} failed").into()) }
}

fn step(name: &str, dir: &Path, number: u64, other: u32) -> Outcome {
    match name {
        "write-segments" => chunks::write_segments(dir, number),
        "build" => chunks::build(dir),
        "open" => chunks::open(dir, number),
        "session" => chunks::session(number),
        "write-fleet" => fleet::write(dir, number as u32, other),
        "list-cold" => fleet::list(dir, "list all, cold", true),
        "list-warm" => fleet::list(dir, "list all, warm", false),
        "backup-cold" => fleet::back_up(dir, "one machine's run, cold", true),
        "backup-warm" => fleet::back_up(dir, "one machine's run, warm", false),
        "backup-enrolled" => fleet::back_up_enrolled(dir),
        other => Err(format!("unknown step {other}").into()),
    }
}
