//! Vault to files: contents by pack, metadata last, everything beneath the target.
//!
//! [`walk`] reads the catalogue in path order, makes folders and nodes at once and gathers files in windows; [`transfer`]
//! fetches a window's blocks in as few ranges as possible, opens each once, and writes.
//!
//! **Invariant**: a file that could not be restored whole is not left behind, and no path leads out of the target.

mod file;
mod folders;
mod places;
mod plan;
mod resume;
mod siblings;
mod target;
mod transfer;
mod walk;
mod window;

use crate::progress::{Finding, FindingKind, Phase, Progress, Stop, StopKind};
use nightkeep_platform::restore::RestoreError;
use nightkeep_vault::catalogue::{Entry, EntryKind};
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::record::point::Point;
use nightkeep_vault::vault::{Vault, VaultError};
use places::Places;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use target::Target;
use walk::Walk;

/// Findings kept in the report; the count goes on.
const FINDINGS_MAX: usize = 100;

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The folder that becomes the machine's root.
    pub target: PathBuf,
    /// Paths to restore, each with what is below; empty for everything.
    pub include: Vec<Vec<u8>>,
    /// Write into a folder that holds something, and replace files there.
    pub overwrite: bool,
    /// Threads that fetch, open and write.
    pub workers: usize,
}

/// What was restored.
#[derive(Debug, Clone, Default)]
pub struct RestoreReport {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links, pipes, sockets, devices.
    pub others: u64,
    /// Bytes of contents, holes included.
    pub bytes: u64,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// All findings.
    pub finding_count: u64,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The vault failed as a whole.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The target holds something.
    #[error("the target {} is not empty; choose an empty folder, or add --overwrite to replace files in it", .0.display())]
    NotEmpty(PathBuf),
    /// The target holds an interrupted restore of another point.
    #[error("the target {} holds an interrupted restore of {other}; empty it, or restore that point", path.display())]
    OtherRestore {
        /// The target.
        path: PathBuf,
        /// The point it holds.
        other: String,
    },
    /// The target cannot be used.
    #[error("cannot write to the target {}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// Why.
        #[source]
        source: RestoreError,
    },
    /// A path to restore is not in the point.
    #[error("'{0}' is not in this recovery point; `ls` shows what is")]
    NotThere(String),
    /// Somebody asked to stop; what was restored stays, and the same command goes on.
    #[error("stopped; the same command goes on where it ended")]
    Stopped(StopKind),
    /// A worker ended without a word.
    #[error("a worker of the restore failed; its last words are in the log")]
    Worker,
}

/// What all parts of a restore share.
pub(crate) struct Shared<'a> {
    pub(crate) blocks: Arc<BlockReader>,
    pub(crate) places: Places,
    pub(crate) target: Target,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a Stop,
    pub(crate) workers: usize,
    /// Open files that wait for further pieces.
    pub(crate) waiting_handles: AtomicU64,
    /// Groups of names whose file could not be restored.
    pub(crate) lost_groups: Mutex<HashSet<u64>>,
    report: Mutex<RestoreReport>,
    failure: Mutex<Option<RunError>>,
    failed: AtomicBool,
    turn: (Mutex<()>, Condvar),
}

impl Shared<'_> {
    /// Keeps the first failure, which ends the run on every thread.
    pub(crate) fn keep(&self, result: Result<(), RunError>) {
        if let Err(error) = result {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.failed.store(true, Ordering::Release);
            self.wake();
        }
    }

    /// Runs a thread's work; a panic counts as a failure, so that nobody waits for the thread.
    pub(crate) fn guard(&self, work: impl FnOnce() -> Result<(), RunError>) {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        self.keep(done.unwrap_or(Err(RunError::Worker)));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn take_failure(&self) -> Option<RunError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Fails when somebody asked to stop, or another thread failed.
    pub(crate) fn check(&self) -> Result<(), RunError> {
        self.check_stop()?;
        if self.has_failed() { Err(RunError::Worker) } else { Ok(()) }
    }

    /// Waits until `condition` holds, or the run has failed.
    pub(crate) fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        let guard = self.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |_: &mut ()| !self.has_failed() && !condition();
        drop(self.turn.1.wait_while(guard, waits));
    }

    /// Lets those who wait look again.
    pub(crate) fn wake(&self) {
        drop(self.turn.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.turn.1.notify_all();
    }

    pub(crate) fn is_lost(&self, group: u64) -> bool {
        self.lost_groups.lock().unwrap_or_else(PoisonError::into_inner).contains(&group)
    }

    pub(crate) fn finding(&self, kind: FindingKind, path: &[u8], text: String) {
        let finding = Finding { kind, path: path.to_vec(), text };
        self.progress.finding(&finding);
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.finding_count += 1;
        if report.findings.len() < FINDINGS_MAX {
            report.findings.push(finding);
        }
    }

    pub(crate) fn count(&self, entry: &Entry) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match entry.kind {
            EntryKind::File => {
                report.files += 1;
                report.bytes += entry.bytes;
            }
            EntryKind::Directory => report.directories += 1,
            EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharDevice
            | EntryKind::BlockDevice => {
                report.others += 1;
            }
        }
        if entry.kind == EntryKind::File {
            self.progress.advance(1, entry.bytes);
        }
    }

    pub(crate) fn check_stop(&self) -> Result<(), RunError> {
        self.stop.requested().map_or(Ok(()), |kind| Err(RunError::Stopped(kind)))
    }
}

/// Restores a recovery point, or a part of it.
pub fn run(
    vault: &Arc<Vault>,
    point: &Point,
    options: &RestoreOptions,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<RestoreReport, RunError> {
    progress.phase(Phase::Preparing);
    let blocks = Arc::new(BlockReader::new(vault.clone()));
    let catalogue = CatalogueReader::open(blocks.clone(), point.clone())?;
    for path in &options.include {
        if catalogue.entries(path).next().transpose()?.is_none() {
            return Err(RunError::NotThere(String::from_utf8_lossy(path).into_owned()));
        }
    }
    let places = Places::load(vault, point.header.machine)?;
    let target = Target::prepare(&options.target, &point.id.to_string(), options.overwrite)?;
    let shared = Shared {
        blocks,
        places,
        target,
        progress,
        stop,
        workers: options.workers.max(1),
        waiting_handles: AtomicU64::new(0),
        lost_groups: Mutex::default(),
        report: Mutex::default(),
        failure: Mutex::default(),
        failed: AtomicBool::new(false),
        turn: Default::default(),
    };
    if options.include.is_empty() {
        progress.estimate(point.header.totals.files, point.header.totals.bytes);
    }
    progress.phase(Phase::Transferring);
    let mut root = None;
    transfer::run(&shared, |sender| {
        root = Walk::new(&shared, &catalogue, &options.include, sender).run()?;
        Ok(())
    })?;
    progress.phase(Phase::Finishing);
    if let Some(root) = &root {
        shared.set_root(root);
    }
    shared.target.finish()?;
    Ok(shared.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
