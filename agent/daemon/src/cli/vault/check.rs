//! `check` and `verify`.

use std::sync::Arc;

use nightkeep_engine::check::{self, CheckError, CheckOptions, CheckReport};
use serde::Serialize;

use super::progress::{Watcher, stop_on_signal};
use super::{open, text};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::CheckArgs;

#[derive(Serialize)]
struct Document {
    event: &'static str,
    ok: bool,
    points: u64,
    packs: u64,
    pack_bytes: u64,
    entries: u64,
    bytes_read: u64,
    unlisted_packs: u64,
    problems: Vec<ProblemDocument>,
    affected_count: u64,
    affected: Vec<AffectedDocument>,
}

#[derive(Serialize)]
struct ProblemDocument {
    object: String,
    message: String,
}

#[derive(Serialize)]
struct AffectedDocument {
    machine: String,
    recovery_point: String,
    path: String,
}

/// Checks the vault; problems make it fail.
pub(super) fn run(args: &CheckArgs, json: bool) -> anyhow::Result<Exit> {
    let vault = Arc::new(open::owner_uncached(&args.vault)?);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let options = CheckOptions { read_data: args.read_data, workers };
    let (watcher, stop) = (Watcher::new(json), stop_on_signal());
    let outcome = check::run(&vault, options, &watcher, &stop);
    watcher.finish();
    let report = match outcome {
        Err(CheckError::Stopped(_)) => {
            return Err(Failure {
                exit: Exit::Stopped,
                ..Failure::new("stopped", "stopped before everything was checked")
            }
            .into());
        }
        other => other?,
    };
    let sound = report.problems.is_empty() && report.affected_count == 0;
    if json {
        output::json(&document(&report, sound))
    } else {
        tell(&report, sound, args.read_data)
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

fn tell(report: &CheckReport, sound: bool, read_data: bool) {
    for problem in &report.problems {
        output::note(format_args!("{}: {}", problem.object, problem.text));
    }
    for file in &report.affected {
        output::note(format_args!("damaged: {} {} {}", file.machine, file.point, text::path(&file.path)));
    }
    let named = report.affected.len() as u64;
    if report.affected_count > named {
        output::note(format_args!("… and {} more files", text::count(report.affected_count - named)));
    }
    let depth = if read_data {
        format!("read {} back", text::bytes(report.bytes_read))
    } else {
        "structure only; --read-data reads every byte".to_owned()
    };
    output::line(format_args!(
        "{} recovery points, {} packs with {}, {} entries: {depth}",
        report.points,
        text::count(report.packs),
        text::bytes(report.pack_bytes),
        text::count(report.entries),
    ));
    if report.unlisted_packs > 0 {
        output::line(format_args!("{} packs of interrupted runs belong to no index yet", report.unlisted_packs));
    }
    output::line(if sound {
        "no problems found"
    } else {
        "the vault is damaged; what is not named above can be restored"
    });
}

fn document(report: &CheckReport, ok: bool) -> Document {
    let problem = |p: &check::CheckProblem| ProblemDocument { object: p.object.clone(), message: p.text.clone() };
    let affected = |file: &check::AffectedFile| AffectedDocument {
        machine: file.machine.clone(),
        recovery_point: file.point.clone(),
        path: text::path(&file.path),
    };
    Document {
        event: "done",
        ok,
        points: report.points,
        packs: report.packs,
        pack_bytes: report.pack_bytes,
        entries: report.entries,
        bytes_read: report.bytes_read,
        unlisted_packs: report.unlisted_packs,
        problems: report.problems.iter().map(problem).collect(),
        affected_count: report.affected_count,
        affected: report.affected.iter().map(affected).collect(),
    }
}
