//! Running one program once, and what it cost.
//!
//! **Invariant**: a program that fails stops the run; its time never enters a table.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one run of a program cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// From start to end.
    pub(crate) seconds: f64,
    /// Of all its threads and children, in user and system mode.
    pub(crate) cpu_seconds: f64,
    /// The largest resident set of any of its processes.
    pub(crate) peak_kib: u64,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) program: String,
}

/// All that was measured about a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) costs: Vec<Cost>,
    /// Bytes of all objects afterwards, and their number.
    pub(crate) stored: Option<(u64, u64)>,
    /// Bytes the operation added.
    pub(crate) added: Option<u64>,
    /// What else is worth telling.
    pub(crate) note: String,
}

/// Everything measured in this run, in the order in which it was first seen.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    order: Vec<Row>,
    rows: BTreeMap<Row, Sample>,
}

impl Samples {
    pub(crate) fn row(&mut self, workload: &'static str, operation: &'static str, program: &str) -> &mut Sample {
        let row = Row { workload, operation, program: program.to_owned() };
        if !self.rows.contains_key(&row) {
            self.order.push(row.clone());
        }
        self.rows.entry(row).or_default()
    }

    pub(crate) fn get(&self, workload: &str, operation: &str, program: &str) -> Option<&Sample> {
        let found = self
            .rows
            .iter()
            .find(|(row, _)| row.workload == workload && row.operation == operation && row.program == program);
        found.map(|(_, sample)| sample)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Row, &Sample)> {
        self.order.iter().filter_map(|row| Some((row, self.rows.get(row)?)))
    }

    /// Rows of an operation by programs other than ours, bounds left out.
    pub(crate) fn peers<'a>(
        &'a self,
        workload: &'a str,
        operation: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Sample)> {
        self.iter()
            .filter(move |(row, _)| row.workload == workload && row.operation == operation)
            .filter(|(row, _)| matches!(row.program.as_str(), "restic" | "rustic" | "borg" | "bupstash"))
            .map(|(row, sample)| (row.program.as_str(), sample))
    }
}

impl Sample {
    /// The median over the rounds of one part of the cost.
    pub(crate) fn median(&self, part: impl Fn(&Cost) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.costs.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    pub(crate) fn seconds(&self) -> Option<f64> {
        self.median(|cost| cost.seconds)
    }
}

/// GNU time reads what the kernel knows of a child.
pub(crate) fn require_time() -> Result<()> {
    if Path::new("/usr/bin/time").exists() { Ok(()) } else { bail!("GNU time is missing: apt-get install time") }
}

/// Runs a program to its end. Exit code 3 of ours would be findings, so it fails like any other.
pub(crate) fn run(command: &Command) -> Result<(Cost, String)> {
    let (cost, success, output, errors) = run_unchecked(command)?;
    if !success {
        bail!("{} failed: {}", shown(command), errors.trim());
    }
    Ok((cost, output))
}

fn run_unchecked(command: &Command) -> Result<(Cost, bool, String, String)> {
    let report = tempfile::NamedTempFile::new()?;
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-q", "-f", "%U %S %M", "-o"]).arg(report.path()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => _ = timed.env(name, value),
            None => _ = timed.env_remove(name),
        }
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let start = Instant::now();
    let output = timed.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", shown(command)))?;
    let seconds = start.elapsed().as_secs_f64();
    let text = std::fs::read_to_string(report.path())?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, system, peak] = numbers[..] else { bail!("GNU time said '{}' of {}", text.trim(), shown(command)) };
    let cost = Cost { seconds, cpu_seconds: user + system, peak_kib: peak as u64 };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((cost, output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// A line of shell, for bounds that are pipes.
pub(crate) fn shell(line: &str, folder: &Path) -> Result<Cost> {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(folder);
    Ok(run(&command)?.0)
}

/// Summed lengths of all files below a folder, and their number.
pub(crate) fn stored(folder: &Path) -> Result<(u64, u64)> {
    let mut total = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let (bytes, objects) = if meta.is_dir() { stored(&entry.path())? } else { (meta.len(), 1) };
        total = (total.0 + bytes, total.1 + objects);
    }
    Ok(total)
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
