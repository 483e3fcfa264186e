//! Files to vault: scan, compare with the parent, read, chunk, seal, pack, upload, and the recovery point last.
//!
//! The stages are plain structs with a step each; [`executor`] runs them on threads, or one after the other.
//!
//! ```text
//! scan (walk + compare) -> content (read, chunk, name, compress; N workers) -> packer -> upload
//!          \                     |
//!           `-- order kept by --- catalogue (hunks, references) --> recovery point
//! ```
//! **Invariant**: the point is written after every pack and segment it needs, and only when all stages ended well.

mod budget;
mod catalogue;
mod content;
mod effort;
mod executor;
mod known;
mod large;
mod leaves;
mod links;
mod meta;
mod options;
mod pace;
mod packer;
mod parent;
mod partial;
mod pieces;
mod scan;
mod seal;
mod settled;

use crate::chunker::Chunker;
use crate::progress::{Finding, Phase, Progress, Stop, StopKind};
use crate::source::{SourceError, Walk};
use budget::Budget;
use catalogue::FinishedCatalogue;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::{BlobId, MachineId, PointId};
use nightkeep_vault::record::point::{CivilTime, PointBody, PointHeader, StoredFinding, Totals};
use nightkeep_vault::record::session::Outcome;
use nightkeep_vault::session::Session;
use nightkeep_vault::vault::{Vault, VaultError};
use parent::Parents;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

pub use effort::LevelCount;
pub use executor::Executor;
pub use options::{BackupOptions, Faults, LOW_MEMORY_BYTES, Levels, MemoryProfile, PartialEvery, PlanRef};
pub use pace::CpuLimit;

/// Findings kept in the point and in the report; the count goes on.
pub const FINDINGS_MAX: usize = 100;
/// So many failed checks in memory are survived by one run.
pub const MEMORY_ERRORS_MAX: u32 = 2;
/// How often one run begins again because a garbage collection took from under it what it had counted on.
const FENCED_MAX: usize = 4;

/// Gives the time. Passed in, so that a simulation has its own.
pub trait Clock: Send + Sync {
    /// The moment, with the machine's civil time.
    fn now(&self) -> CivilTime;
}

/// What a run made.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// The machine in its vault.
    pub machine: MachineId,
    /// The recovery point.
    pub point: PointId,
    /// What was counted.
    pub totals: Totals,
    /// The first findings.
    pub findings: Vec<Finding>,
    /// When it began.
    pub started: CivilTime,
    /// When it ended.
    pub finished: CivilTime,
    /// The parent it was compared with.
    pub parent: Option<PointId>,
    /// The partial point of an interrupted run that it went on from.
    pub resumed_from: Option<PointId>,
    /// Data blocks and bytes by level of compression.
    pub levels: Vec<LevelCount>,
    /// How often the run began anew because memory had changed what it held; above zero, test the machine's memory.
    pub memory_errors: u32,
}

/// Why a run made no recovery point.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The vault or its storage failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The source cannot be read at all.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Somebody asked to stop.
    #[error("stopped before the recovery point was written")]
    Stopped(StopKind),
    /// What was about to be sealed is not what was read, again and again: memory or processor are at fault.
    #[error(
        "hardware suspect: {0} did not survive a check in memory; test this machine's memory before the next backup"
    )]
    Hardware(&'static str),
    /// A part of the catalogue is larger than the format holds; a point with it could not be read back.
    #[error("{what} takes {bytes} bytes, more than one block of the vault holds; back up fewer files in one plan")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A worker ended without a word.
    #[error("a worker of the backup failed; its last words are in the log")]
    Worker,
}

/// Backs up and writes one recovery point.
///
/// A check in memory that fails makes the run begin anew, reading from the source what is not confirmed yet, up to
/// [`MEMORY_ERRORS_MAX`] times: one flipped bit is bad luck, several are bad hardware.
pub fn run(
    vault: &Arc<Vault>,
    options: &BackupOptions,
    clock: &dyn Clock,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<BackupReport, BackupError> {
    let mut memory_errors = 0;
    loop {
        match attempt(vault, options, clock, progress, stop) {
            Err(BackupError::Hardware(what)) if memory_errors < MEMORY_ERRORS_MAX => {
                memory_errors += 1;
                tracing::warn!(what, memory_errors, "Memory changed what it held; the run begins anew");
            }
            Ok(report) => return Ok(BackupReport { memory_errors, ..report }),
            Err(error) => return Err(error),
        }
    }
}

fn attempt(
    vault: &Arc<Vault>,
    options: &BackupOptions,
    clock: &dyn Clock,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<BackupReport, BackupError> {
    progress.phase(Phase::Preparing);
    let started = clock.now();
    let mut walk = Walk::new(options.source.clone())?;
    let machine = vault.writer(&options.machine_name)?;
    let mut session = Session::open(vault.clone(), machine, started.at)?;
    let mut fenced = Vec::new();
    loop {
        let outcome = run_session(&session, walk, options, started.clone(), clock, progress, stop);
        let now = clock.now().at;
        match &outcome {
            Err(BackupError::Vault(VaultError::Fenced { .. })) if fenced.len() < FENCED_MAX => {
                // What was lost is outside the successor's index, so it alone is sent again; the rest is known.
                let next = session.succeed(now)?;
                fenced.push(std::mem::replace(&mut session, next));
                walk = Walk::new(options.source.clone())?;
                continue;
            }
            Err(error) => end_without_point(&session, error, now)?,
            Ok(_) => close_fenced(&fenced, now),
        }
        return outcome;
    }
}

/// Closes the sessions whose work the last one made good.
fn close_fenced(fenced: &[Session], now: Time) {
    for session in fenced {
        if let Err(error) = session.close(Outcome::Committed, now) {
            tracing::debug!(%error, "A fenced session stays open; a collector takes it for over in time");
        }
    }
}

/// A stop that discards takes back what was sent; an interrupted or failed run leaves it listed for the next one.
fn end_without_point(session: &Session, error: &BackupError, now: Time) -> Result<(), BackupError> {
    match error {
        BackupError::Stopped(StopKind::Discard) => session.discard(now)?,
        BackupError::Stopped(StopKind::Interrupt) => {
            session.write_segment()?;
            session.close(Outcome::Failed, now)?;
        }
        // Its point is there and may be whole yet: the reader's rule judges it.
        BackupError::Vault(VaultError::Fenced { .. }) => {}
        // The store may be the trouble; what cannot be closed is fenced later.
        BackupError::Vault(_)
        | BackupError::Source(_)
        | BackupError::Hardware(_)
        | BackupError::TooLarge { .. }
        | BackupError::Worker => {
            let closed = session.write_segment().and_then(|()| session.close(Outcome::Failed, now));
            if let Err(error) = closed {
                tracing::debug!(%error, "The failed session stays open and will be fenced");
            }
        }
    }
    Ok(())
}

/// What all stages share.
pub(crate) struct Shared<'a> {
    pub(crate) session: &'a Session,
    pub(crate) options: &'a BackupOptions,
    pub(crate) chunker: Chunker,
    pub(crate) known: known::Known,
    pub(crate) effort: Arc<effort::Effort>,
    /// Bounds contents between reading and packing.
    pub(crate) block_budget: Budget,
    /// Bounds packs in memory.
    pub(crate) pack_budget: Budget,
    /// Memory of packs that were put, for those to come: so large, it would not be given back in one piece.
    pub(crate) pack_buffers: Mutex<Vec<Vec<u8>>>,
    /// How many data packs of this run are durable.
    pub(crate) durable_packs: AtomicU64,
    pub(crate) started: CivilTime,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a Stop,
    findings: Mutex<(Vec<Finding>, u64)>,
}

impl Shared<'_> {
    /// To be called first on every thread of the run: the priority that is asked for, where threads do not hand it down.
    pub(crate) fn begin_thread(&self) -> pace::Pacer {
        if let Some(Err(error)) = self.options.priority.map(nightkeep_platform::process::set_priority) {
            tracing::trace!(%error, "A thread keeps its priority");
        }
        pace::Pacer::new(self.options.cpu.as_ref(), self.stop)
    }

    /// Notes a finding, for the report, the point and whoever watches.
    pub(crate) fn finding(&self, finding: Finding) {
        tracing::debug!(path = %finding.path_lossy(), kind = ?finding.kind, text = %finding.text, "A finding");
        self.progress.finding(&finding);
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.1 += 1;
        if findings.0.len() < FINDINGS_MAX {
            findings.0.push(finding);
        }
    }

    /// The header of this run's point, or of a partial one; what only the catalogue knows is still missing.
    pub(crate) fn header(&self, totals: Totals, started: CivilTime) -> PointHeader {
        let (session, options) = (self.session, self.options);
        PointHeader {
            machine: session.machine().id,
            sequence: 0,
            previous: [0; 32],
            session: session.id(),
            base: session.generation().number,
            plan: options.plan.as_ref().map(|plan| plan.id),
            plan_name: options.plan.as_ref().map(|plan| plan.name.clone()).unwrap_or_default(),
            set: options.set,
            occurrence: options.occurrence.clone(),
            started,
            finished: self.clock.now(),
            totals,
            references: BlobId([0; 32]),
            meta_packs: Vec::new(),
            machine_name: options.machine_name.clone(),
            agent_version: options.agent_version.clone(),
            bootable: false,
            snapshot_method: options.snapshot_method.clone(),
            meta_epoch: 1,
            complete: totals.findings == 0,
            source: source_id(options),
        }
    }

    /// Fails when somebody asked to stop.
    pub(crate) fn check_stop(&self) -> Result<(), BackupError> {
        self.stop.requested().map_or(Ok(()), |kind| Err(BackupError::Stopped(kind)))
    }
}

fn run_session(
    session: &Session,
    mut walk: Walk,
    options: &BackupOptions,
    started: CivilTime,
    clock: &dyn Clock,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<BackupReport, BackupError> {
    let vault = session.vault();
    let index = Arc::new(vault.load_index(session.generation(), Some(session.machine().id))?);
    let parents = Parents::find(vault, session.machine().id, source_id(options), &index)?;
    let shared = Shared {
        session,
        options,
        chunker: Chunker::new(&vault.keys().chunk, vault.config().chunker),
        known: known::Known::new(index),
        effort: Arc::new(effort::Effort::new(options.levels)),
        block_budget: Budget::new(options.memory.blocks_bytes()),
        pack_budget: Budget::new(options.executor.packs_in_memory() * options.pack_bytes as u64),
        pack_buffers: Mutex::default(),
        durable_packs: AtomicU64::new(0),
        started,
        clock,
        progress,
        stop,
        findings: Mutex::default(),
    };
    walk.trust(settled::trust(options.changed.as_ref(), &parents));
    if let Some(parent) = &parents.complete {
        let totals = parent.totals();
        progress.estimate(totals.files, totals.bytes);
    }
    progress.phase(Phase::Transferring);
    let catalogue = executor::run(&shared, walk, &parents)?;
    shared.check_stop()?;
    progress.phase(Phase::Finishing);
    commit(shared, catalogue, &parents)
}

fn commit(shared: Shared<'_>, catalogue: FinishedCatalogue, parents: &Parents) -> Result<BackupReport, BackupError> {
    let (session, levels) = (shared.session, shared.effort.histogram());
    let (findings, finding_count) = {
        let mut noted = shared.findings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *noted)
    };
    let mut totals = catalogue.totals;
    totals.findings = finding_count;
    (totals.bytes_stored, totals.objects) = session.stored();
    let mut header = shared.header(totals, shared.started.clone());
    (header.references, header.meta_packs) = (catalogue.references, catalogue.meta_packs);
    let finished = header.finished.clone();
    let body = PointBody {
        hunk_list: Some(catalogue.hunk_list),
        roots: shared.options.source.roots.clone(),
        users: catalogue.users,
        groups: catalogue.groups,
        findings: findings.iter().map(stored).collect(),
    };
    let point = session.commit(header, &body, finished.at)?;
    (totals.bytes_stored, totals.objects) = session.stored();
    let id_of = |parent: &Option<Arc<parent::Parent>>| parent.as_ref().map(|parent| parent.id());
    Ok(BackupReport {
        machine: session.machine().id,
        point,
        totals,
        findings,
        started: shared.started,
        finished,
        parent: id_of(&parents.complete),
        resumed_from: id_of(&parents.partial),
        levels,
        memory_errors: 0,
    })
}

fn stored(finding: &Finding) -> StoredFinding {
    StoredFinding { kind: finding.kind as u64, path: finding.path.clone(), text: finding.text.clone() }
}

/// Points with the same source are each other's parents.
fn source_id(options: &BackupOptions) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    if let Some(plan) = &options.plan {
        hasher.update(&plan.id);
    }
    hasher.update(options.source.machine_root.as_os_str().as_encoded_bytes());
    for root in &options.source.roots {
        hasher.update(&[0]).update(root);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    id
}

/// Names of the accounts in a catalogue, gathered as entries pass.
#[derive(Default)]
pub(crate) struct Names {
    names: HashMap<u32, Option<String>>,
}

impl Names {
    pub(crate) fn note(&mut self, id: u32, lookup: impl FnOnce(u32) -> Option<String>) {
        self.names.entry(id).or_insert_with(|| lookup(id));
    }

    pub(crate) fn into_list(self) -> Vec<(u32, Vec<u8>)> {
        let named = self.names.into_iter().filter_map(|(id, name)| Some((id, name?.into_bytes())));
        let mut list: Vec<_> = named.collect();
        list.sort();
        list
    }
}

/// Folders that a run must never back up: the vault it writes to, when that is a local folder.
pub fn own_folders(vault_location: &str) -> Vec<PathBuf> {
    let path = vault_location.strip_prefix("file://").unwrap_or(vault_location);
    if path.contains("://") { Vec::new() } else { vec![PathBuf::from(path)] }
}
