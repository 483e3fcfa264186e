//! `restore`: a recovery point, or a part of one, into a folder.

use std::sync::Arc;

use nightkeep_engine::restore::{self, RestoreOptions, RestoreReport, RunError};
use nightkeep_platform::event_log::Event;
use nightkeep_vault::vault::{Health, Judge};
use serde::Serialize;

use super::progress::{FindingDocument, Watcher, stop_on_signal};
use super::{list, open, text};
use crate::cli::args::Globals;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::RestoreArgs;
use crate::events;

#[derive(Serialize)]
struct Document {
    event: &'static str,
    recovery_point: String,
    target: String,
    files: u64,
    directories: u64,
    bytes: u64,
    seconds: f64,
    finding_count: u64,
    findings: Vec<FindingDocument>,
}

/// Restores.
pub(super) fn run(args: &RestoreArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let (began, json) = (std::time::Instant::now(), globals.json);
    let vault = Arc::new(open::owner(&args.vault, globals)?);
    let point = open::point(&vault, &args.vault, &args.point)?;
    if !args.damaged && Judge::new(&vault)?.health(&point)? == Health::Lost {
        let message = format!("{} lost parts to a garbage collection that it came too late for", point.id);
        let remedy = "restore another recovery point, or what is left of this one with --damaged";
        return Err(Failure::new("damaged-point", message).remedy(remedy).into());
    }
    let options = RestoreOptions {
        target: args.target.clone(),
        include: args.include.iter().map(|path| list::from_root(path)).filter(|path| !path.is_empty()).collect(),
        overwrite: args.overwrite,
        workers: std::thread::available_parallelism().map_or(2, usize::from).min(8),
    };
    let (watcher, stop) = (Watcher::new(json), stop_on_signal());
    let outcome = restore::run(&vault, &point, &options, &watcher, &stop);
    watcher.finish();
    tell(&outcome, &point.id.to_string(), &args.target);
    let report = outcome.map_err(explain)?;
    let seconds = began.elapsed().as_secs_f64();
    if json {
        output::json(&Document {
            event: "done",
            recovery_point: point.id.to_string(),
            target: args.target.display().to_string(),
            files: report.files,
            directories: report.directories,
            bytes: report.bytes,
            seconds,
            finding_count: report.finding_count,
            findings: report.findings.iter().map(FindingDocument::from).collect(),
        });
    } else {
        output::line(format_args!(
            "Restored {} files, {} of recovery point {} into {} in {seconds:.1} s",
            text::count(report.files),
            text::bytes(report.bytes),
            point.id,
            args.target.display(),
        ));
        if report.finding_count > 0 {
            output::note(format_args!(
                "{} files or attributes could not be restored, listed above",
                report.finding_count
            ));
        }
    }
    Ok(if report.finding_count > 0 { Exit::Partial } else { Exit::Done })
}

/// An administrator sees in the system's log that something was restored, and where.
fn tell(outcome: &Result<RestoreReport, RunError>, point: &str, target: &std::path::Path) {
    let what = format!("recovery point {point} into {}", target.display());
    match outcome {
        Ok(report) if report.finding_count == 0 => {
            let text = format!("{what}: {} files, {}", text::count(report.files), text::bytes(report.bytes));
            events::tell_system(Event::RestoreDone, &text);
        }
        Ok(report) => {
            let text = format!("{what}: {} files or attributes could not be restored", report.finding_count);
            events::tell_system(Event::RestorePartial, &text);
        }
        Err(error) => events::tell_system(Event::RestoreFailed, &format!("{what}: {error}")),
    }
}

fn explain(error: RunError) -> anyhow::Error {
    let exit = match &error {
        RunError::Stopped(_) => Exit::Stopped,
        RunError::NotEmpty(_) | RunError::OtherRestore { .. } | RunError::NotThere(_) => Exit::Failed,
        RunError::Vault(_) | RunError::Target { .. } | RunError::Worker => return error.into(),
    };
    let code = match &error {
        RunError::Stopped(_) => "stopped",
        RunError::NotEmpty(_) => "target-not-empty",
        RunError::OtherRestore { .. } => "target-holds-other-restore",
        RunError::NotThere(_) => "not-in-point",
        RunError::Vault(_) | RunError::Target { .. } | RunError::Worker => "failed",
    };
    Failure { exit, ..Failure::new(code, error.to_string()) }.into()
}
