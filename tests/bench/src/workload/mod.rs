//! The workloads. Each prepares its data, lets every program work on it in turn, and notes what it cost.
//!
//! **Invariant**: within a round all programs see the same tree in the same state, read once before so that it is warm.

pub(crate) mod home;
pub(crate) mod image;
pub(crate) mod kernel;
pub(crate) mod points;
pub(crate) mod random;
pub(crate) mod small;

use crate::measure::{self, Sample};
use crate::tool::{Repository, Tool};
use crate::{Bench, retire};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The archive that real text comes from.
fn text_archive(bench: &Bench) -> Result<&Path> {
    let archive = bench.kernels.first().map(PathBuf::as_path);
    archive.context("name two kernel source archives: --kernels OLD.tar.xz NEW.tar.xz")
}

/// Reads every byte once, and lets what is to be written reach the disk.
fn warm(tree: &Path) -> Result<()> {
    measure::shell("find . -type f -print0 | xargs -0 cat >/dev/null; sync", tree)?;
    Ok(())
}

/// Says on the terminal what goes on; a run takes long.
#[expect(clippy::print_stderr, reason = "progress, apart from the table")]
fn say(what: &str, program: &str) {
    eprintln!("  {what}: {program}");
}

/// Runs a bound, which is a line of shell.
fn bound(bench: &mut Bench, at: (&'static str, &'static str), name: &str, line: &str, folder: &Path) -> Result<()> {
    say(at.1, name);
    measure::shell("sync", folder)?;
    let cost = measure::shell(line, folder)?;
    bench.samples.row(at.0, at.1, name).costs.push(cost);
    Ok(())
}

/// One operation of one program, from a quiet disk.
fn operate<'s>(
    bench: &'s mut Bench,
    at: (&'static str, &'static str),
    tool: &Tool,
    command: &Command,
) -> Result<(&'s mut Sample, String)> {
    say(at.1, tool.name());
    measure::shell("sync", &bench.place)?;
    let (cost, output) = measure::run(command)?;
    let sample = bench.samples.row(at.0, at.1, tool.name());
    sample.costs.push(cost);
    if let Some(note) = note_of(&output) {
        sample.note = note;
    }
    Ok((sample, output))
}

/// What our own last JSON line tells beyond time: how much was read, and the levels of compression.
fn note_of(output: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(output.lines().last()?).ok()?;
    let mut parts = Vec::new();
    if let Some(read) = document.get("bytes_read").and_then(serde_json::Value::as_u64) {
        parts.push(format!("read {} MiB", read >> 20));
    }
    for name in ["compression", "requests"] {
        if let Some(value) = document.get(name) {
            parts.push(format!("{name} {value}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A backup, and how much the repository grew by it.
fn back_up(
    bench: &mut Bench,
    at: (&'static str, &'static str),
    repository: &Repository<'_>,
    tool: &Tool,
    tree: &Path,
) -> Result<String> {
    let before = repository.stored()?.0;
    let (sample, output) = operate(bench, at, tool, &repository.backup(tree, at.1))?;
    let after = repository.stored()?;
    (sample.stored, sample.added) = (Some(after), Some(after.0.saturating_sub(before)));
    Ok(output)
}

/// A restore into an empty folder; the first of each program is compared with the source.
fn restore(
    bench: &mut Bench,
    at: (&'static str, &'static str),
    repository: &Repository<'_>,
    tool: &Tool,
    tree: &Path,
    name: &str,
) -> Result<()> {
    let target = bench.folder("restored")?;
    let first = operate(bench, at, tool, &repository.restore(&target, name))?.0.costs.len() == 1;
    if first {
        let restored = repository.restored(&target, tree)?;
        let same = Command::new("diff").args(["-r", "--no-dereference", "-q"]).arg(tree).arg(&restored).output()?;
        if !same.status.success() {
            bail!("{} restored another tree: {}", tool.name(), String::from_utf8_lossy(&same.stdout));
        }
    }
    retire(&target)
}

/// Fresh repositories for a round.
fn repositories(bench: &Bench, tools: &'_ [Tool]) -> Result<Vec<(usize, PathBuf)>> {
    tools.iter().enumerate().map(|(n, tool)| Ok((n, bench.folder(&format!("repo-{}", tool.name()))?))).collect()
}

/// Opens every program's fresh repository.
fn init<'t>(bench: &mut Bench, workload: &'static str, tools: &'t [Tool]) -> Result<Vec<(&'t Tool, Repository<'t>)>> {
    let mut made = Vec::new();
    for (n, folder) in repositories(bench, tools)? {
        let repository = tools[n].init(folder)?;
        if let Some(open) = repository.open() {
            operate(bench, (workload, "open"), &tools[n], &open)?;
        }
        made.push((&tools[n], repository));
    }
    Ok(made)
}
