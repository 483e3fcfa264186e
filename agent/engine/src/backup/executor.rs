//! Runs the stages: on threads with bounded queues, or inline, one after the other, for simulation.
//!
//! **Invariant**: a stage that fails lets go of its queues; its neighbours then end quietly, and its error is the run's.

use super::budget::{Budget, Permit};
use super::catalogue::{CatalogueStage, FinishedCatalogue};
use super::content::{ContentStage, Outlet, Processed};
use super::links::Links;
use super::pace::Pacer;
use super::packer::{OutgoingPack, Packer};
use super::parent::Parents;
use super::pieces::FinishedList;
use super::scan::{Batch, Scan};
use super::seal::{RawBlock, SealStage};
use super::{BackupError, Shared};
use crate::progress::StopKind;
use crate::source::{self, Walk};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use nightkeep_vault::pack::{BlockType, PreparedBlock};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Prepared blocks that wait for the packer; the budget of [`Shared`] bounds their bytes.
const BLOCKS_WAITING: usize = 16;
/// Each takes 8 MiB, and four read and compress faster than most disks and networks.
const WORKERS_MAX: usize = 4;
/// Large chunks that wait for the extra compressor.
const CHUNKS_WAITING: usize = 2;
/// A run shorter than this is over before a count of its source would have helped anybody.
const ESTIMATE_AFTER: Duration = Duration::from_secs(2);

/// How the stages are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// In one thread, in a fixed order.
    Inline,
    /// On threads of their own.
    Threads {
        /// Workers that read and compress.
        workers: usize,
        /// Packs in flight to the store.
        uploads: usize,
    },
}

impl Default for Executor {
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(2, usize::from).min(WORKERS_MAX);
        Executor::Threads { workers, uploads: 2 }
    }
}

impl Executor {
    /// Packs in memory at once: one being filled beside those in flight.
    pub(crate) fn packs_in_memory(self) -> u64 {
        match self {
            Executor::Inline => 2,
            Executor::Threads { uploads, .. } => uploads.max(1) as u64 + 1,
        }
    }
}

/// Runs all stages to the end of the source. What an interrupted run has confirmed is kept in a partial point.
pub(crate) fn run(shared: &Shared<'_>, walk: Walk, parents: &Parents) -> Result<FinishedCatalogue, BackupError> {
    let (catalogue, ended) = match shared.options.executor {
        Executor::Inline => run_inline(shared, walk, parents)?,
        Executor::Threads { workers, uploads } => run_threads(shared, walk, parents, workers.max(1), uploads.max(1))?,
    };
    match ended {
        // Every pack is durable now, so the references can name them.
        Ok(()) => catalogue.finish(),
        Err(error) => {
            keep_confirmed(catalogue, &error);
            Err(error)
        }
    }
}

/// The error is what the run tells of; that a partial point could not be written is only noted.
fn keep_confirmed(mut catalogue: CatalogueStage<'_>, error: &BackupError) {
    if matches!(error, BackupError::Stopped(StopKind::Discard)) || catalogue.meta.has_lost() {
        return;
    }
    if let Err(error) = catalogue.settle_now().and_then(|()| catalogue.write_partial()) {
        tracing::debug!(%error, "What is confirmed could not be written down");
    }
}

type Ended<'a> = (CatalogueStage<'a>, Result<(), BackupError>);

fn run_inline<'a>(shared: &'a Shared<'a>, walk: Walk, parents: &'a Parents) -> Result<Ended<'a>, BackupError> {
    let links = Links::default();
    let mut out = Inline {
        shared,
        seal: SealStage::new(shared)?,
        packer: Packer::new(shared),
        catalogue: CatalogueStage::new(shared, parents)?,
        pacer: shared.begin_thread(),
    };
    let ended = out.run(Scan::new(shared, walk, parents), ContentStage::new(shared, &links));
    // As on threads, the last pack is put although the stages before it failed.
    let put = out.packer.finish().map_or(Ok(()), |pack| shared.upload(pack));
    Ok((out.catalogue, ended.and(put)))
}

/// The stages behind the content stage, one after the other.
struct Inline<'a> {
    shared: &'a Shared<'a>,
    seal: SealStage,
    packer: Packer<'a>,
    catalogue: CatalogueStage<'a>,
    pacer: Pacer,
}

impl Inline<'_> {
    fn run(&mut self, mut scan: Scan<'_>, mut content: ContentStage<'_>) -> Result<(), BackupError> {
        while let Some(batch) = scan.next_batch()? {
            self.pacer.rest();
            match content.process(batch, self) {
                Ok(processed) => self.catalogue.push(processed)?,
                Err(error @ BackupError::Stopped(StopKind::Interrupt)) => return content.finish(self).and(Err(error)),
                Err(error) => return Err(error),
            };
        }
        content.finish(self)
    }
}

impl Outlet for Inline<'_> {
    fn block(&mut self, block: RawBlock) -> Result<(), BackupError> {
        let block = self.seal.prepare(block)?;
        self.pacer.rest();
        if let Some(pack) = self.packer.finish_if_full(&block) {
            self.shared.upload(pack)?;
        }
        self.packer.push(block)
    }

    fn list(&mut self, list: FinishedList) -> Result<(), BackupError> {
        self.catalogue.push_list(list)
    }

    fn spare(&mut self) -> Vec<u8> {
        self.seal.spare()
    }
}

/// What the workers tell the catalogue.
enum Done {
    Batch(Processed),
    List(FinishedList),
}

/// A block with the memory it takes; before compression, and behind it.
type Raw = (RawBlock, Permit);
type Prepared = (PreparedBlock, Permit);

fn run_threads<'a>(
    shared: &'a Shared<'a>,
    mut walk: Walk,
    parents: &'a Parents,
    workers: usize,
    uploads: usize,
) -> Result<Ended<'a>, BackupError> {
    walk.read_ahead();
    let links = Links::default();
    let batches_ahead = shared.options.memory.batches_ahead();
    let mut catalogue = CatalogueStage::new(shared, parents)?;
    let ended = thread::scope(|scope| {
        let (ahead_in, ahead_out) = bounded::<()>(batches_ahead);
        let (batch_in, batch_out) = bounded::<Batch>(workers);
        let (chunk_in, chunk_out) = bounded::<Raw>(CHUNKS_WAITING);
        let (block_in, block_out) = bounded::<Prepared>(BLOCKS_WAITING);
        let (pack_in, pack_out) = bounded::<OutgoingPack>(0);
        let (done_in, done_out) = bounded::<Done>(batches_ahead);
        let (over_in, over_out) = bounded::<()>(0);
        let mut stages: Vec<ScopedJoinHandle<'_, Result<(), BackupError>>> = Vec::new();
        let scan = Scan::new(shared, walk, parents);
        stages.push(scope.spawn(move || run_scan(scan, &shared.begin_thread(), &ahead_in, &batch_in)));
        for _ in 0..workers {
            let batches = batch_out.clone();
            let (chunks, blocks, done) = (chunk_in.clone(), block_in.clone(), done_in.clone());
            let links = &links;
            stages.push(scope.spawn(move || {
                let pacer = shared.begin_thread();
                let seal = SealStage::new(shared)?;
                let budget = shared.block_budget.clone();
                run_worker(
                    ContentStage::new(shared, links),
                    &batches,
                    WorkerOutlet { chunks, blocks, done, seal, budget, pacer },
                )
            }));
        }
        drop((batch_out, chunk_in, done_in));
        stages.push(scope.spawn(move || run_extra_compressor(shared, &chunk_out, &block_in)));
        stages.push(scope.spawn(move || run_packer(shared, &block_out, &pack_in)));
        for _ in 0..uploads {
            let packs = pack_out.clone();
            stages.push(scope.spawn(move || {
                shared.begin_thread();
                packs.iter().try_for_each(|pack| shared.upload(pack))
            }));
        }
        drop(pack_out);
        if parents.complete.is_none() {
            scope.spawn(move || {
                shared.begin_thread();
                estimate(shared, &over_out);
            });
        }
        let gathered = gather(&mut catalogue, &shared.begin_thread(), &done_out, &ahead_out);
        drop((done_out, ahead_out));
        let ended = join_all(stages);
        drop(over_in);
        ended.and(gathered)
    });
    Ok((catalogue, ended))
}

fn run_scan(mut scan: Scan<'_>, pacer: &Pacer, ahead: &Sender<()>, batches: &Sender<Batch>) -> Result<(), BackupError> {
    while let Some(batch) = scan.next_batch()? {
        pacer.rest();
        if ahead.send(()).is_err() || batches.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where a worker's blocks go: large chunks to the extra compressor while it has room, so that one huge file keeps two
/// processors busy.
struct WorkerOutlet {
    chunks: Sender<Raw>,
    blocks: Sender<Prepared>,
    done: Sender<Done>,
    seal: SealStage,
    budget: Budget,
    pacer: Pacer,
}

impl Outlet for WorkerOutlet {
    fn block(&mut self, block: RawBlock) -> Result<(), BackupError> {
        let permit = self.budget.take(block.plain.len() as u64);
        let (block, permit) = match block.block_type {
            BlockType::Chunk => match self.chunks.try_send((block, permit)) {
                Ok(()) => return Ok(()),
                Err(full) => full.into_inner(),
            },
            BlockType::Bundle
            | BlockType::Hunk
            | BlockType::HunkList
            | BlockType::ContentList
            | BlockType::ReferencesLeaf
            | BlockType::ReferencesRoot => (block, permit),
        };
        let prepared = (self.seal.prepare(block)?, permit);
        self.pacer.rest();
        self.blocks.send(prepared).map_err(|_| BackupError::Worker)
    }

    fn list(&mut self, list: FinishedList) -> Result<(), BackupError> {
        self.done.send(Done::List(list)).map_err(|_| BackupError::Worker)
    }

    fn spare(&mut self) -> Vec<u8> {
        self.seal.spare()
    }
}

fn run_worker(
    mut content: ContentStage<'_>,
    batches: &Receiver<Batch>,
    mut out: WorkerOutlet,
) -> Result<(), BackupError> {
    let mut work = || {
        for batch in batches {
            let processed = content.process(batch, &mut out)?;
            out.pacer.rest();
            out.done.send(Done::Batch(processed)).map_err(|_| BackupError::Worker)?;
        }
        Ok(())
    };
    let worked = work();
    let handed_on = match &worked {
        // What was read is confirmed by the partial point of an interrupted run, too.
        Ok(()) | Err(BackupError::Stopped(StopKind::Interrupt)) => content.finish(&mut out),
        Err(_) => Ok(()),
    };
    match worked.and(handed_on) {
        // The stages behind have ended and tell why themselves.
        Err(BackupError::Worker) => Ok(()),
        other => other,
    }
}

fn run_extra_compressor(
    shared: &Shared<'_>,
    chunks: &Receiver<Raw>,
    blocks: &Sender<Prepared>,
) -> Result<(), BackupError> {
    let pacer = shared.begin_thread();
    let mut seal = SealStage::new(shared)?;
    for (chunk, permit) in chunks {
        let prepared = seal.prepare(chunk)?;
        pacer.rest();
        if blocks.send((prepared, permit)).is_err() {
            break;
        }
    }
    Ok(())
}

fn run_packer(
    shared: &Shared<'_>,
    blocks: &Receiver<Prepared>,
    packs: &Sender<OutgoingPack>,
) -> Result<(), BackupError> {
    let pacer = shared.begin_thread();
    let mut packer = Packer::new(shared);
    let mut before = Instant::now();
    for (block, permit) in blocks {
        pacer.rest();
        if let Some(pack) = packer.finish_if_full(&block) {
            let full = Instant::now();
            if packs.send(pack).is_err() {
                return Ok(());
            }
            // The next pack waits for its memory as this one did for an upload.
            packer.push(block)?;
            shared.effort.pack_waited(full.elapsed(), before.elapsed());
            before = Instant::now();
        } else {
            packer.push(block)?;
        }
        drop(permit);
    }
    if let Some(pack) = packer.finish() {
        // Nobody left to put it means that an upload failed, and its error is the run's.
        let _ = packs.send(pack);
    }
    Ok(())
}

/// Gathers batches into the catalogue and lets the scan go on.
fn gather(
    catalogue: &mut CatalogueStage<'_>,
    pacer: &Pacer,
    done: &Receiver<Done>,
    ahead: &Receiver<()>,
) -> Result<(), BackupError> {
    for done in done {
        pacer.rest();
        let worked_off = match done {
            Done::List(list) => {
                catalogue.push_list(list)?;
                0
            }
            Done::Batch(processed) => catalogue.push(processed)?,
        };
        for _ in 0..worked_off {
            if ahead.recv().is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn join_all(stages: Vec<ScopedJoinHandle<'_, Result<(), BackupError>>>) -> Result<(), BackupError> {
    let mut outcome = Ok(());
    for stage in stages {
        let ended = stage.join().unwrap_or(Err(BackupError::Worker));
        outcome = outcome.and(ended);
    }
    outcome
}

/// Counts the source beside the first backup, so that its progress has a whole to be a part of.
fn estimate(shared: &Shared<'_>, over: &Receiver<()>) {
    if over.recv_timeout(ESTIMATE_AFTER) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let stop = || !matches!(over.try_recv(), Err(TryRecvError::Empty)) || shared.stop.requested().is_some();
    if let Some((files, bytes)) = source::measure(&shared.options.source, stop) {
        shared.progress.estimate(files, bytes);
    }
}
