//! Vault to files: contents by pack, metadata last, everything beneath the target.
//!
//! The catalogue is read in path order and worked off in windows: directories, links and short files at once, the
//! contents of the window's other files block by block, each block fetched and opened once.
//!
//! **Invariant**: a file that could not be restored whole is not left behind, and no path leads out of the target.

mod plan;
mod target;
mod write;

use crate::progress::{Finding, FindingKind, Phase, Progress, Stop, StopKind};
use nightkeep_platform::restore::RestoreError;
use nightkeep_vault::catalogue::{Content, Entry, EntryKind, Piece, compare_paths};
use nightkeep_vault::index::Index;
use nightkeep_vault::reader::{BlockReader, CatalogueReader, is_within};
use nightkeep_vault::record::point::Point;
use nightkeep_vault::vault::{Vault, VaultError};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use target::Target;
use write::{FileJob, Window};

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
    pub(crate) index: Index,
    pub(crate) target: Target,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a Stop,
    pub(crate) workers: usize,
    report: Mutex<RestoreReport>,
}

impl Shared<'_> {
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
    let index = vault.load_index(&vault.newest_generation()?, None)?;
    let target = Target::prepare(&options.target, &point.id.to_string(), options.overwrite)?;
    let report = Mutex::default();
    let shared = Shared { blocks, index, target, progress, stop, workers: options.workers.max(1), report };
    if options.include.is_empty() {
        progress.estimate(point.header.totals.files, point.header.totals.bytes);
    }
    progress.phase(Phase::Transferring);
    Restore { shared: &shared, catalogue: &catalogue, include: &options.include, links: HashMap::new() }.run()?;
    progress.phase(Phase::Finishing);
    set_directories(&shared, &catalogue, &options.include)?;
    shared.target.finish()?;
    Ok(shared.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A restore that walks the catalogue.
struct Restore<'a> {
    shared: &'a Shared<'a>,
    catalogue: &'a CatalogueReader,
    include: &'a [Vec<u8>],
    /// The first restored name of each file with several.
    links: HashMap<u64, FirstName>,
}

struct FirstName {
    path: Vec<u8>,
    kind: EntryKind,
    bytes: u64,
    content: Content,
}

impl Restore<'_> {
    fn run(&mut self) -> Result<(), RunError> {
        let mut window = Window::default();
        for hunk in &self.catalogue.hunks {
            let entries = match self.catalogue.hunk(hunk) {
                Ok(entries) => entries,
                Err(error) => {
                    let text = format!("a part of the catalogue that begins here cannot be read: {}", chain(&error));
                    self.shared.finding(FindingKind::Damaged, &hunk.first_path, text);
                    continue;
                }
            };
            for entry in entries {
                if !is_wanted(self.include, &entry.path) {
                    continue;
                }
                self.shared.check_stop()?;
                self.add(entry, &mut window)?;
                if window.is_full() {
                    std::mem::take(&mut window).write(self.shared)?;
                }
            }
        }
        window.write(self.shared)
    }

    /// Makes an entry at once, or plans its contents.
    fn add(&mut self, entry: Entry, window: &mut Window) -> Result<(), RunError> {
        if entry.path.is_empty() {
            return Ok(());
        }
        let dir = match self.shared.target.parent_of(&entry.path) {
            Ok(dir) => dir,
            Err(error) => return self.shared.unrestored(&entry, &error),
        };
        if self.is_further_name(&entry) {
            return self.link(&entry, &dir);
        }
        if let Some(group) = entry.extras.link_group {
            let (path, content) = (entry.path.clone(), entry.content.clone());
            self.links.insert(group, FirstName { path, kind: entry.kind, bytes: entry.bytes, content });
        }
        if entry.kind != EntryKind::File {
            return match self.shared.target.make(&dir, &entry) {
                Ok(()) => {
                    self.shared.count(&entry);
                    if entry.kind != EntryKind::Directory {
                        self.shared.set_attributes(&dir, &entry);
                    }
                    Ok(())
                }
                Err(error) => self.shared.unrestored(&entry, &error),
            };
        }
        let pieces = match self.pieces(&entry) {
            Ok(pieces) => pieces,
            Err(error) => {
                self.shared.finding(FindingKind::Damaged, &entry.path, chain(&error));
                return Ok(());
            }
        };
        window.add(self.shared, FileJob::new(dir, entry), pieces)
    }

    fn pieces(&self, entry: &Entry) -> Result<Vec<Piece>, VaultError> {
        match &entry.content {
            Content::Empty | Content::Inline(_) => Ok(Vec::new()),
            Content::Pieces(pieces) => Ok(pieces.clone()),
            Content::Lists(lists) => {
                let mut pieces = Vec::new();
                for list in lists {
                    pieces.extend(self.catalogue.content_list(&list.id)?);
                }
                Ok(pieces)
            }
        }
    }

    fn is_further_name(&self, entry: &Entry) -> bool {
        let first = entry.extras.link_group.and_then(|group| self.links.get(&group));
        first.is_some_and(|first| {
            first.kind == entry.kind && first.bytes == entry.bytes && first.content == entry.content
        })
    }

    fn link(&self, entry: &Entry, dir: &Arc<nightkeep_platform::restore::TargetDir>) -> Result<(), RunError> {
        let Some(first) = entry.extras.link_group.and_then(|group| self.links.get(&group)) else { return Ok(()) };
        match self.shared.target.link(dir, entry.name(), &first.path) {
            Ok(()) => {
                self.shared.count(entry);
                Ok(())
            }
            Err(error) => self.shared.unrestored(entry, &error),
        }
    }
}

/// Whether an entry is asked for, or leads to one that is.
fn is_wanted(include: &[Vec<u8>], path: &[u8]) -> bool {
    include.is_empty() || include.iter().any(|wanted| is_within(path, wanted) || is_within(wanted, path))
}

/// Sets the metadata of directories, children before parents: a parent that loses its write bit must come last.
fn set_directories(shared: &Shared<'_>, catalogue: &CatalogueReader, include: &[Vec<u8>]) -> Result<(), RunError> {
    for hunk in catalogue.hunks.iter().rev() {
        let Ok(entries) = catalogue.hunk(hunk) else { continue };
        for entry in entries.iter().rev() {
            if entry.kind != EntryKind::Directory || !is_wanted(include, &entry.path) {
                continue;
            }
            debug_assert!(compare_paths(&hunk.first_path, &entry.path).is_le());
            shared.check_stop()?;
            shared.set_directory(entry);
        }
    }
    Ok(())
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
