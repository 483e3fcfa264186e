//! `prune`: what retention expired goes to the trash, what was there long enough is dropped, and what nobody needs any
//! more gives its space back.
//!
//! Invariant: planned first, and shown as it is planned; what `--dry-run` shows is what a run would do.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use nightkeep_rules::retention::{Rules, explain};
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{
    self, CollectError, CollectOptions, CollectReport, Plan, RepackOptions, RetireOptions, Retirement,
};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::vault::Vault;
use nightkeep_wire::plan::Retention;
use serde::Serialize;

use super::{init, open, retention, text};
use crate::cli::args::Globals;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::PruneArgs;

const DAY_SECONDS: i64 = 24 * 3600;
/// What was deleted from a disk can be moved back for so long.
const SWEPT_SECONDS: i64 = 7 * DAY_SECONDS;

#[derive(Serialize)]
struct Document {
    event: &'static str,
    dry_run: bool,
    trashed: Vec<Moved>,
    forgotten: Vec<Moved>,
    points: u64,
    live_bytes: u64,
    packs_deleted: u64,
    bytes_deleted: u64,
    packs_repacked: u64,
    bytes_copied: u64,
    segments_merged: u64,
    packs_kept_for_sessions: u64,
    sessions_fenced: u64,
    trash_bytes_freed: u64,
    generation: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Moved {
    id: String,
    machine: String,
    reason: String,
}

/// Prunes, or says what pruning would do.
pub(super) fn run(args: &PruneArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let began = std::time::Instant::now();
    if let Err(error) = nightkeep_platform::process::set_priority(nightkeep_platform::process::Priority::Background) {
        tracing::debug!(%error, "The collection keeps its priority; a backup beside it may be slower");
    }
    let vault = open::owner(&args.vault, globals)?;
    let now = init::now();
    // Whoever prunes by hand waits for all of it; more is given back than is copied.
    let repack = RepackOptions { below_percent: args.repack_below, bytes_max: u64::MAX };
    let options = CollectOptions { repack, ..CollectOptions::new(now) };
    let retirement = plan_retirement(&vault, args, now)?;
    let mut document = Document {
        event: "prune",
        dry_run: args.dry_run,
        trashed: retirement.trash.iter().map(|(listed, reason)| moved(listed, reason)).collect(),
        forgotten: retirement.forget.iter().map(|listed| moved(listed, "its time in the trash is over")).collect(),
        points: 0,
        live_bytes: 0,
        packs_deleted: 0,
        bytes_deleted: 0,
        packs_repacked: 0,
        bytes_copied: 0,
        segments_merged: 0,
        packs_kept_for_sessions: 0,
        sessions_fenced: 0,
        trash_bytes_freed: 0,
        generation: 0,
        seconds: 0.0,
    };
    if args.dry_run {
        let forgotten: HashSet<_> = retirement.forget.iter().map(|listed| listed.point.name().clone()).collect();
        let plan = collect::plan_as_if(&vault, &options, &forgotten).map_err(failure)?;
        document.planned(&plan);
    } else {
        retirement.run(&vault, now)?;
        let plan = collect::plan(&vault, &options).map_err(failure)?;
        document.packs_kept_for_sessions = plan.kept_for_sessions;
        let report = collect::run(&vault, plan, &options).map_err(failure)?;
        document.done(&report);
        document.trash_bytes_freed = vault.store().empty_trash(emptied_before(args, now))?;
    }
    document.seconds = began.elapsed().as_secs_f64();
    tell(&document, globals.json);
    Ok(Exit::Done)
}

/// Rules of plans are the host's business: where one keeps the vault, only the trash is looked at here.
fn plan_retirement(vault: &Vault, args: &PruneArgs, now: Time) -> anyhow::Result<Retirement> {
    let options = RetireOptions { trash_seconds: i64::from(args.keep_trash) * DAY_SECONDS, ..RetireOptions::new(now) };
    let expires = !args.keep_expired && vault.config().custody == Custody::Owner;
    let rules = Rules::from(Retention::default());
    let at: DateTime<Utc> = DateTime::from_timestamp(now.seconds, now.nanoseconds).unwrap_or_default();
    let retirement = collect::plan_retirement(vault, &options, &mut |candidates| {
        let (points, decisions) = retention::decide(candidates, &rules, at);
        let about = points.iter().zip(&decisions);
        about
            .map(|(point, decision)| {
                (expires && !decision.keeps()).then(|| explain(point, decision, &rules.current, at))
            })
            .collect()
    })?;
    Ok(retirement)
}

fn emptied_before(args: &PruneArgs, now: Time) -> Time {
    match args.now {
        // Today's folder, too.
        true => Time { seconds: now.seconds + DAY_SECONDS, ..now },
        false => Time { seconds: now.seconds - SWEPT_SECONDS, ..now },
    }
}

/// A collection that refused changed nothing; its text says what to look at.
fn failure(error: CollectError) -> anyhow::Error {
    match error {
        CollectError::Vault(error) => error.into(),
        CollectError::Raced => Failure::new("busy", error.to_string()).into(),
        CollectError::Shrunken { .. }
        | CollectError::RolledBack { .. }
        | CollectError::Gap { .. }
        | CollectError::Exchanged { .. }
        | CollectError::Unreadable { .. }
        | CollectError::LiveFell { .. }
        | CollectError::NoPoints { .. } => Failure::new("refused", error.to_string()).into(),
    }
}

fn moved(listed: &nightkeep_vault::vault::ListedPoint, reason: &str) -> Moved {
    Moved {
        id: listed.point.id.to_string(),
        machine: listed.point.header.machine_name.clone(),
        reason: reason.to_owned(),
    }
}

impl Document {
    fn planned(&mut self, plan: &Plan) {
        self.points = plan.points;
        self.live_bytes = plan.live_bytes;
        self.packs_deleted = (plan.garbage.len() + plan.leftover.len() + plan.sparse.len()) as u64;
        self.bytes_deleted = plan.garbage_bytes();
        self.packs_repacked = plan.sparse.len() as u64;
        self.bytes_copied = plan.copied_bytes();
        self.segments_merged = plan.segments_to_merge() as u64;
        self.packs_kept_for_sessions = plan.kept_for_sessions;
        self.generation = plan.before.number;
    }

    fn done(&mut self, report: &CollectReport) {
        self.points = report.points;
        self.live_bytes = report.live_bytes;
        self.packs_deleted = report.packs_deleted;
        self.bytes_deleted = report.bytes_deleted;
        self.packs_repacked = report.packs_repacked;
        self.bytes_copied = report.bytes_copied;
        self.segments_merged = report.segments_merged;
        self.sessions_fenced = report.fenced;
        self.generation = report.generation;
    }
}

fn tell(document: &Document, json: bool) {
    if json {
        output::json(document);
        return;
    }
    let (went, is, were) = if document.dry_run { ("would go", "would be", "would be") } else { ("went", "is", "were") };
    for point in &document.trashed {
        output::line(format_args!("{} {went} to the trash ({}): {}", point.id, point.machine, point.reason));
    }
    for point in &document.forgotten {
        output::line(format_args!("{} {is} dropped for good ({}): {}", point.id, point.machine, point.reason));
    }
    output::line(format_args!(
        "{} packs with {} {were} deleted; {} recovery points need {}",
        text::count(document.packs_deleted),
        text::bytes(document.bytes_deleted),
        text::count(document.points),
        text::bytes(document.live_bytes),
    ));
    if document.packs_repacked > 0 {
        output::line(format_args!(
            "of {} of them little was needed: {} {were} copied to new packs",
            text::count(document.packs_repacked),
            text::bytes(document.bytes_copied),
        ));
    }
    if document.segments_merged > 0 {
        let merged = text::count(document.segments_merged);
        output::line(format_args!("{merged} index segments {were} merged"));
    }
    if document.packs_kept_for_sessions > 0 {
        let kept = text::count(document.packs_kept_for_sessions);
        output::note(format_args!("{kept} packs are kept: the runs that wrote them may still be at work"));
    }
    if !document.dry_run && document.packs_deleted > 0 && document.trash_bytes_freed == 0 {
        output::note(
            "a vault on a disk keeps what was deleted in its folder `trash` for 7 days; `prune --now` does not",
        );
    }
}
