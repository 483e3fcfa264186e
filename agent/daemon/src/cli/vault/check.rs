//! `check` and `verify`.

use std::sync::Arc;

use nightkeep_engine::check::{self, CheckError, CheckOptions, CheckReport};
use nightkeep_vault::scrub::{self, ScrubOptions};
use nightkeep_vault::vault::Vault;
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
    quarantined: u64,
    entries_lost: u64,
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
    if args.scrub {
        return scrub(args, json);
    }
    let vault = Arc::new(open::owner_uncached(&args.vault)?);
    let read_data = args.read_data || args.read_data_subset.is_some();
    let options = CheckOptions { read_data, workers: workers() };
    let part = args.read_data_subset.filter(|_| !args.read_data).unwrap_or_default();
    let (watcher, stop) = (Watcher::new(json), stop_on_signal());
    let outcome = check::run_part(&vault, options, part, &watcher, &stop);
    watcher.finish();
    let report = match outcome {
        Err(CheckError::Stopped(_)) => return Err(stopped().into()),
        other => other?,
    };
    let sound = report.problems.is_empty() && report.affected_count == 0 && report.entries_lost == 0;
    if json {
        output::json(&document(&report, sound))
    } else {
        tell(&report, sound, read_data)
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

pub(super) fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(8)
}

pub(super) fn stopped() -> Failure {
    Failure { exit: Exit::Stopped, ..Failure::new("stopped", "stopped before everything was checked") }
}

#[derive(Serialize)]
struct ScrubDocument {
    event: &'static str,
    ok: bool,
    objects: u64,
    bytes_read: u64,
    foreign: u64,
    problems: Vec<ProblemDocument>,
}

/// Holds every object against its name. Needs the storage alone, and no key.
fn scrub(args: &CheckArgs, json: bool) -> anyhow::Result<Exit> {
    let (store, stop) = (open::store(&args.vault)?, stop_on_signal());
    Vault::read_config(&*store)?;
    let options = ScrubOptions { workers: workers(), ..ScrubOptions::default() };
    let report = scrub::scrub(&*store, &options, &|_| stop.requested().is_none())?;
    if report.cursor.is_some() {
        return Err(stopped().into());
    }
    let ok = report.problems.is_empty();
    if json {
        let problem = |p: &scrub::ScrubProblem| ProblemDocument { object: p.name.to_string(), message: p.text.clone() };
        output::json(&ScrubDocument {
            event: "done",
            ok,
            objects: report.objects,
            bytes_read: report.bytes,
            foreign: report.foreign,
            problems: report.problems.iter().map(problem).collect(),
        });
    } else {
        for problem in &report.problems {
            output::note(format_args!("{}: {}", problem.name, problem.text));
        }
        let (objects, bytes) = (text::count(report.objects), text::bytes(report.bytes));
        output::line(format_args!("{objects} objects, {bytes}: held against their names, without a key"));
        output::line(if ok {
            "no problems found"
        } else {
            "damaged objects are named above; `check` tells which files they touch"
        });
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
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
    if report.quarantined > 0 {
        output::line(format_args!("{} objects are in quarantine", text::count(report.quarantined)));
    }
    if report.entries_lost > 0 {
        let lost = text::count(report.entries_lost);
        output::note(format_args!("{lost} entries of catalogues are lost, their names with them"));
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
        quarantined: report.quarantined,
        entries_lost: report.entries_lost,
        problems: report.problems.iter().map(problem).collect(),
        affected_count: report.affected_count,
        affected: report.affected.iter().map(affected).collect(),
    }
}
