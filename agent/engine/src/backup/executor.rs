//! Runs the stages: on threads with bounded queues, or inline, one after the other, for simulation.
//!
//! **Invariant**: a stage that fails lets go of its queues; its neighbours then end quietly, and its error is the run's.

use super::catalogue::{CatalogueStage, FinishedCatalogue};
use super::content::{ContentStage, Links, Processed, RawBlock, SealStage};
use super::packer::{OutgoingPack, Packer};
use super::parent::Parent;
use super::scan::{Batch, Scan};
use super::{BackupError, Shared};
use crate::source::{self, Walk};
use crossbeam_channel::{Receiver, Sender, bounded};
use nightkeep_vault::pack::{BlockType, PreparedBlock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// How far the scan may be ahead of the catalogue, in batches.
const BATCHES_AHEAD: usize = 64;
/// Prepared blocks that wait for the packer.
const BLOCKS_WAITING: usize = 4;
/// Large chunks that wait for the extra compressor.
const CHUNKS_WAITING: usize = 2;

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
        let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
        Executor::Threads { workers, uploads: 2 }
    }
}

/// Runs all stages to the end of the source.
pub(crate) fn run(shared: &Shared<'_>, walk: Walk, parent: Option<Parent>) -> Result<FinishedCatalogue, BackupError> {
    let parent = parent.map(Arc::new);
    match shared.options.executor {
        Executor::Inline => run_inline(shared, walk, parent),
        Executor::Threads { workers, uploads } => run_threads(shared, walk, parent, workers.max(1), uploads.max(1)),
    }
}

fn run_inline(shared: &Shared<'_>, walk: Walk, parent: Option<Arc<Parent>>) -> Result<FinishedCatalogue, BackupError> {
    let links = Links::default();
    let mut scan = Scan::new(shared, walk, parent.clone());
    let mut content = ContentStage::new(shared, &links);
    let mut seal = SealStage::new(shared.options.compression_level)?;
    let mut packer = Packer::new(shared);
    let mut catalogue = CatalogueStage::new(shared, parent)?;
    let mut emit = |block: RawBlock| match packer.push(seal.prepare(block)?)? {
        Some(pack) => shared.upload(pack),
        None => Ok(()),
    };
    while let Some(batch) = scan.next_batch()? {
        catalogue.push(content.process(batch, &mut emit)?)?;
    }
    content.finish(&mut emit)?;
    if let Some(pack) = packer.finish() {
        shared.upload(pack)?;
    }
    catalogue.finish()
}

fn run_threads(
    shared: &Shared<'_>,
    walk: Walk,
    parent: Option<Arc<Parent>>,
    workers: usize,
    uploads: usize,
) -> Result<FinishedCatalogue, BackupError> {
    let links = Links::default();
    let over = AtomicBool::new(false);
    let first = parent.is_none();
    let result = thread::scope(|scope| {
        let (ahead_in, ahead_out) = bounded::<()>(BATCHES_AHEAD);
        let (batch_in, batch_out) = bounded::<Batch>(workers);
        let (chunk_in, chunk_out) = bounded::<RawBlock>(CHUNKS_WAITING);
        let (block_in, block_out) = bounded::<PreparedBlock>(BLOCKS_WAITING);
        let (pack_in, pack_out) = bounded::<OutgoingPack>(0);
        let (done_in, done_out) = bounded::<Processed>(BATCHES_AHEAD);
        let mut stages: Vec<ScopedJoinHandle<'_, Result<(), BackupError>>> = Vec::new();
        let scan = Scan::new(shared, walk, parent.clone());
        stages.push(scope.spawn(move || run_scan(scan, &ahead_in, &batch_in)));
        for _ in 0..workers {
            let (batches, done) = (batch_out.clone(), done_in.clone());
            let out = BlockSender { chunks: chunk_in.clone(), blocks: block_in.clone() };
            let links = &links;
            stages.push(scope.spawn(move || run_worker(shared, links, &batches, out, &done)));
        }
        drop((batch_out, chunk_in, done_in));
        stages.push(scope.spawn(move || run_extra_compressor(shared, &chunk_out, &block_in)));
        stages.push(scope.spawn(move || run_packer(shared, &block_out, &pack_in)));
        for _ in 0..uploads {
            let packs = pack_out.clone();
            stages.push(scope.spawn(move || packs.iter().try_for_each(|pack| shared.upload(pack))));
        }
        drop(pack_out);
        if first {
            let over = &over;
            scope.spawn(move || estimate(shared, over));
        }
        let catalogue = gather(shared, parent, &done_out, &ahead_out);
        drop((done_out, ahead_out));
        let ended = join_all(stages);
        over.store(true, Ordering::Relaxed);
        ended.and(catalogue)
    });
    // Every pack is durable now, so the references can name them.
    result?.finish()
}

fn run_scan(mut scan: Scan<'_>, ahead: &Sender<()>, batches: &Sender<Batch>) -> Result<(), BackupError> {
    while let Some(batch) = scan.next_batch()? {
        if ahead.send(()).is_err() || batches.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where a worker's blocks go: large chunks to the extra compressor while it has room, so that one huge file keeps two
/// processors busy.
struct BlockSender {
    chunks: Sender<RawBlock>,
    blocks: Sender<PreparedBlock>,
}

impl BlockSender {
    /// Sends a block on; false when the stages behind have ended.
    fn send(&self, block: RawBlock, seal: &mut SealStage) -> Result<bool, BackupError> {
        let block = match block.block_type {
            BlockType::Chunk => match self.chunks.try_send(block) {
                Ok(()) => return Ok(true),
                Err(full) => full.into_inner(),
            },
            BlockType::Bundle
            | BlockType::Hunk
            | BlockType::HunkList
            | BlockType::ContentList
            | BlockType::ReferencesLeaf
            | BlockType::ReferencesRoot => block,
        };
        Ok(self.blocks.send(seal.prepare(block)?).is_ok())
    }
}

fn run_worker(
    shared: &Shared<'_>,
    links: &Links,
    batches: &Receiver<Batch>,
    out: BlockSender,
    done: &Sender<Processed>,
) -> Result<(), BackupError> {
    let mut content = ContentStage::new(shared, links);
    let mut seal = SealStage::new(shared.options.compression_level)?;
    let mut open = true;
    let mut emit = |block: RawBlock| {
        open = open && out.send(block, &mut seal)?;
        if open { Ok(()) } else { Err(BackupError::Worker) }
    };
    for batch in batches {
        let processed = match content.process(batch, &mut emit) {
            // The stages behind have ended and tell why themselves.
            Err(BackupError::Worker) => return Ok(()),
            other => other?,
        };
        if done.send(processed).is_err() {
            return Ok(());
        }
    }
    match content.finish(&mut emit) {
        Err(BackupError::Worker) => Ok(()),
        other => other,
    }
}

fn run_extra_compressor(
    shared: &Shared<'_>,
    chunks: &Receiver<RawBlock>,
    blocks: &Sender<PreparedBlock>,
) -> Result<(), BackupError> {
    let mut seal = SealStage::new(shared.options.compression_level)?;
    for chunk in chunks {
        if blocks.send(seal.prepare(chunk)?).is_err() {
            break;
        }
    }
    Ok(())
}

fn run_packer(
    shared: &Shared<'_>,
    blocks: &Receiver<PreparedBlock>,
    packs: &Sender<OutgoingPack>,
) -> Result<(), BackupError> {
    let mut packer = Packer::new(shared);
    for block in blocks {
        if let Some(pack) = packer.push(block)?
            && packs.send(pack).is_err()
        {
            return Ok(());
        }
    }
    if let Some(pack) = packer.finish() {
        // Nobody left to put it means that an upload failed, and its error is the run's.
        let _ = packs.send(pack);
    }
    Ok(())
}

/// Gathers batches into the catalogue and lets the scan go on.
fn gather<'a>(
    shared: &'a Shared<'a>,
    parent: Option<Arc<Parent>>,
    done: &Receiver<Processed>,
    ahead: &Receiver<()>,
) -> Result<CatalogueStage<'a>, BackupError> {
    let mut catalogue = CatalogueStage::new(shared, parent)?;
    for processed in done {
        for _ in 0..catalogue.push(processed)? {
            if ahead.recv().is_err() {
                break;
            }
        }
    }
    Ok(catalogue)
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
fn estimate(shared: &Shared<'_>, over: &AtomicBool) {
    let stop = || over.load(Ordering::Relaxed) || shared.stop.requested().is_some();
    if let Some((files, bytes)) = source::measure(&shared.options.source, stop) {
        shared.progress.estimate(files, bytes);
    }
}
