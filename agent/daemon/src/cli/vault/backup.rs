//! `backup`: folders and files into a vault, one recovery point.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::Offset as _;
use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, LevelCount, MemoryProfile};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Stop, StopKind};
use nightkeep_engine::source::SourceOptions;
use nightkeep_platform::paths::Paths;
use nightkeep_platform::volume_snapshot::{self, Policy, SnapshotError, SnapshotOptions, Snapshots, TIME_MAX, WhyLive};
use nightkeep_platform::{memory, names};
use nightkeep_rules::sets::SetHistory;
use nightkeep_vault::record::point::{BackupSet, CivilTime};
use nightkeep_vault::vault::Vault;
use nightkeep_wire::plan::WeeklyAnchor;
use nightkeep_wire::report::BackupSet as PlanSet;
use serde::Serialize;

use super::progress::{FindingDocument, Watcher, stop_on_signal};
use super::{init, open, text};
use crate::cli::args::Globals;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::{BackupArgs, SnapshotChoice};

/// The machine's own clock and zone.
pub(crate) struct LocalClock;

impl Clock for LocalClock {
    fn now(&self) -> CivilTime {
        let zone = iana_time_zone::get_timezone().unwrap_or_else(|_| "UTC".into());
        let offset_minutes = chrono::Local::now().offset().fix().local_minus_utc() / 60;
        CivilTime { at: init::now(), offset_minutes, zone }
    }
}

#[derive(Serialize)]
struct Document {
    event: &'static str,
    recovery_point: String,
    machine: String,
    set: &'static str,
    files: u64,
    directories: u64,
    bytes: u64,
    files_new: u64,
    files_changed: u64,
    files_unchanged: u64,
    bytes_read: u64,
    bytes_new: u64,
    bytes_stored: u64,
    objects: u64,
    seconds: f64,
    /// Whether an interrupted run was gone on with.
    resumed: bool,
    low_memory: bool,
    /// How volumes were read: `live`, `vss`, several joined by `+`.
    snapshot_method: String,
    memory_errors: u32,
    peak_memory_bytes: Option<u64>,
    compression: Vec<LevelDocument>,
    finding_count: u64,
    findings: Vec<FindingDocument>,
}

/// Data blocks by level; no level means stored as they are.
#[derive(Serialize)]
struct LevelDocument {
    level: Option<i32>,
    blocks: u64,
    plain_bytes: u64,
    stored_bytes: u64,
}

impl From<&LevelCount> for LevelDocument {
    fn from(count: &LevelCount) -> Self {
        let LevelCount { level, blocks, plain_bytes, stored_bytes } = *count;
        Self { level, blocks, plain_bytes, stored_bytes }
    }
}

/// Backs up.
pub(super) fn run(args: &BackupArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let began = std::time::Instant::now();
    let excludes =
        Excludes::new(&args.exclude).map_err(|error| Failure::usage(format!("{:#}", anyhow::Error::from(error))))?;
    let vault = Arc::new(open::owner(&args.vault, globals)?);
    let roots = args.paths.iter().map(|path| root_of(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let entire_machine = roots.iter().any(Vec::is_empty);
    let mut skip = backup::own_folders(&vault.store().location());
    let state = globals.state_dir.clone().unwrap_or_else(|| Paths::standard().state);
    skip.push(state.clone());
    let source = SourceOptions {
        machine_root: PathBuf::from("/"),
        roots: outermost(roots),
        excludes,
        skip,
        entire_machine,
        read_at: Vec::new(),
    };
    let machine_name = open::machine_name(&args.vault);
    let options = BackupOptions {
        set: set_today(&vault, &machine_name)?,
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ..BackupOptions::new(source, machine_name)
    };
    let profile =
        if args.low_memory { MemoryProfile::Low } else { MemoryProfile::for_available(memory::available_bytes()) };
    let mut options = options.with_memory(profile);
    if let Some(bytes) = args.confirm_every {
        options.partial_every.bytes = bytes;
    }
    let (watcher, stop) = (Watcher::new(globals.json), stop_on_signal());
    let Some(mut volumes) = snapshots(args.snapshots, &options.source, &state, &stop)? else {
        return Err(stopped().into());
    };
    options.source.read_through(&volumes);
    options.snapshot_method = volumes.method();
    let outcome = backup::run(&vault, &options, &LocalClock, &watcher, &stop);
    watcher.finish();
    let lost = volumes.broken();
    for (place, reason) in &lost {
        output::note(format_args!(
            "the volume snapshot of {} was lost while it was read: {reason}; back up again",
            place.display()
        ));
    }
    if let Err(error) = volumes.release() {
        output::note(format_args!(
            "a volume snapshot could not be removed; the agent's next start tries again: {error}"
        ));
    }
    match outcome {
        Ok(report) => {
            tell(&report, &options, began.elapsed().as_secs_f64(), globals.json);
            Ok(if report.totals.findings > 0 || !lost.is_empty() { Exit::Partial } else { Exit::Done })
        }
        Err(BackupError::Stopped(StopKind::Interrupt | StopKind::Discard)) => Err(stopped().into()),
        Err(error) => Err(error.into()),
    }
}

fn stopped() -> Failure {
    Failure { exit: Exit::Stopped, ..Failure::new("stopped", "stopped; the next backup takes over what was sent") }
}

/// Makes the snapshots asked for and says which volumes have none; none when stopped meanwhile.
fn snapshots(
    choice: SnapshotChoice,
    source: &SourceOptions,
    state: &Path,
    stop: &Stop,
) -> anyhow::Result<Option<Snapshots>> {
    let policy = match choice {
        SnapshotChoice::Required => Policy::Required,
        SnapshotChoice::WhenAvailable => Policy::WhenAvailable,
        SnapshotChoice::Never => Policy::Never,
    };
    let (folder, cancelled) = (state.join("snapshots"), || stop.requested().is_some());
    let options = SnapshotOptions { state: &folder, time_max: TIME_MAX, cancelled: &cancelled };
    let made = match volume_snapshot::prepare(&source.root_paths(), policy, &options) {
        Ok(made) => made,
        Err(SnapshotError::Cancelled) => return Ok(None),
        Err(error @ SnapshotError::Required { .. }) => return Err(error.into()),
    };
    for volume in made.volumes() {
        if let Some(why) = volume.why_live.as_ref().filter(|why| **why != WhyLive::NotOurs) {
            output::note(format_args!("{} is read without a volume snapshot: {why}", volume.place.display()));
        }
        for warning in &volume.warnings {
            output::note(format_args!("{}: {warning}", volume.place.display()));
        }
    }
    Ok(Some(made))
}

/// A path from the machine's root, links above it resolved; a link itself is backed up as a link.
fn root_of(path: &Path) -> anyhow::Result<Vec<u8>> {
    let at = || format!("cannot read {}; check the path and the rights of this account", path.display());
    let is_link = path.symlink_metadata().with_context(at)?.is_symlink();
    let real = match (is_link, path.parent(), path.file_name()) {
        (true, Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().with_context(at)?.join(name)
        }
        _ => path.canonicalize().with_context(at)?,
    };
    let bytes = names::bytes_of(&real);
    Ok(bytes.strip_prefix(b"/").unwrap_or(&bytes).to_vec())
}

/// Without roots that lie within others.
fn outermost(mut roots: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    roots.sort_by(|a, b| nightkeep_vault::catalogue::compare_paths(a, b));
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for root in roots {
        if !kept.iter().any(|outer| nightkeep_vault::reader::is_within(&root, outer)) {
            kept.push(root);
        }
    }
    kept
}

/// The backup set of a run today, by the default rules.
fn set_today(vault: &Vault, machine_name: &str) -> anyhow::Result<BackupSet> {
    let machine = nightkeep_vault::keys::machine_id_of_name(vault.keys(), machine_name);
    let points = vault.points(machine)?;
    let dates = points.points.iter().filter_map(|listed| {
        let header = &listed.point.header;
        text::civil(header.occurrence.as_ref().unwrap_or(&header.started)).map(|at| at.date_naive())
    });
    let today = chrono::Local::now().date_naive();
    Ok(match SetHistory::new(dates).set_of(today, WeeklyAnchor::OnDay) {
        PlanSet::Monthly => BackupSet::Monthly,
        PlanSet::Weekly => BackupSet::Weekly,
        PlanSet::Daily => BackupSet::Daily,
    })
}

fn tell(report: &BackupReport, options: &BackupOptions, seconds: f64, json: bool) {
    let totals = &report.totals;
    if json {
        output::json(&Document {
            event: "done",
            recovery_point: report.point.to_string(),
            machine: options.machine_name.clone(),
            set: text::set(options.set),
            files: totals.files,
            directories: totals.directories,
            bytes: totals.bytes,
            files_new: totals.files_new,
            files_changed: totals.files_changed,
            files_unchanged: totals.files_unchanged,
            bytes_read: totals.bytes_read,
            bytes_new: totals.bytes_new,
            bytes_stored: totals.bytes_stored,
            objects: totals.objects,
            seconds,
            resumed: report.resumed_from.is_some(),
            snapshot_method: options.snapshot_method.clone(),
            low_memory: options.memory == MemoryProfile::Low,
            memory_errors: report.memory_errors,
            peak_memory_bytes: memory::peak_bytes(),
            compression: report.levels.iter().map(LevelDocument::from).collect(),
            finding_count: totals.findings,
            findings: report.findings.iter().map(FindingDocument::from).collect(),
        });
        return;
    }
    output::note(format_args!(
        "{} files, {} ({} new, {} changed, {} unchanged)",
        text::count(totals.files),
        text::bytes(totals.bytes),
        text::count(totals.files_new),
        text::count(totals.files_changed),
        text::count(totals.files_unchanged),
    ));
    output::note(format_args!(
        "read {}, new to the vault {}, stored {} in {} objects, {seconds:.1} s",
        text::bytes(totals.bytes_read),
        text::bytes(totals.bytes_new),
        text::bytes(totals.bytes_stored),
        text::count(totals.objects),
    ));
    if report.resumed_from.is_some() {
        output::note(format_args!("went on where an interrupted backup had stopped"));
    }
    if report.memory_errors > 0 {
        output::note(format_args!(
            "a check in memory failed {} times: test this machine's memory",
            report.memory_errors
        ));
    }
    if totals.findings > 0 {
        output::note(format_args!("done with warnings: {} findings, listed above", text::count(totals.findings)));
    }
    output::line(report.point);
}
