//! Windows at work: ranges of packs fetched by a few threads, opened and written by others.
//!
//! ```text
//! walk -> windows -> fetch (R threads, bounded by bytes in flight) -> open, verify, write (N threads) -> close (in order)
//! ```
//! **Invariant**: no more than [`IN_FLIGHT_BYTES`] of fetched bytes and [`WINDOWS_WAITING`] planned windows wait.

use super::plan::{self, Want};
use super::window::{Window, write_plain};
use super::{RunError, Shared, chain};
use crate::progress::FindingKind;
use nightkeep_vault::pack::Area;
use nightkeep_vault::reader::OpenPack;
use nightkeep_vault::vault::VaultError;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Fetched and not yet written.
const IN_FLIGHT_BYTES: u64 = 24 << 20;
/// Planned and not yet begun.
const WINDOWS_WAITING: usize = 1;
/// Plain files are handed to a worker by so many.
const PLAIN_BATCH: usize = 64;
/// Threads that fetch, as many as the store says are worth it: a far one answers late.
const FETCHERS_MAX: usize = 8;
const FETCHERS_MIN: usize = 2;

/// Bytes that are in flight.
#[derive(Default)]
struct Budget(AtomicU64);

impl Budget {
    /// Waits for room. One request beyond the bound passes when nothing else is in flight.
    fn take(&self, shared: &Shared<'_>, bytes: u64) {
        let fits = |used: u64| (used == 0 || used + bytes <= IN_FLIGHT_BYTES).then_some(used + bytes);
        shared.wait_until(|| self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok());
    }

    fn give_back(&self, shared: &Shared<'_>, bytes: u64) {
        // After a failure more may come back than was granted.
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        shared.wake();
    }
}

/// A window whose reads are planned.
struct Planned {
    window: Mutex<Window>,
    files: Vec<Arc<super::file::FileJob>>,
    plain: Vec<super::file::FileJob>,
    wants: Vec<Want>,
    reads: Vec<Read>,
    next: AtomicUsize,
    /// Steps that must end before the window can be closed.
    left: AtomicU64,
}

/// What one step fetches or does.
enum Read {
    /// Neighbouring blocks of a pack, for these wants.
    Blocks(Arc<OpenPack>, Range<usize>),
    /// Files that need no pack.
    Plain(Range<usize>),
}

/// A block, or a batch of plain files, on its way to a worker.
struct Job {
    planned: Arc<Planned>,
    what: Work,
    /// Bytes to give back to the budget.
    bytes: u64,
}

enum Work {
    Block(Arc<OpenPack>, Range<usize>, Sealed),
    Plain(Range<usize>),
}

/// The sealed bytes of a block, within the read that brought it.
struct Sealed {
    read: Arc<Vec<u8>>,
    at: Range<usize>,
}

/// The queue of windows, as fetchers see it.
struct Windows {
    incoming: crossbeam_channel::Receiver<Arc<Planned>>,
    current: Mutex<Option<Arc<Planned>>>,
}

impl Windows {
    /// The next read, of this window or the one after it.
    fn next(&self) -> Option<(Arc<Planned>, usize)> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(planned) = &*current {
                let next = planned.next.fetch_add(1, Ordering::Relaxed);
                if next < planned.reads.len() {
                    return Some((planned.clone(), next));
                }
            }
            *current = Some(self.incoming.recv().ok()?);
        }
    }
}

/// Hands windows to the threads that write them.
pub(crate) struct Sender<'a> {
    shared: &'a Shared<'a>,
    windows: crossbeam_channel::Sender<Arc<Planned>>,
    closing: crossbeam_channel::Sender<Arc<Planned>>,
}

impl Sender<'_> {
    /// Plans a window's reads and sends it on its way.
    pub(crate) fn send(&self, mut window: Window) -> Result<(), RunError> {
        let shared = self.shared;
        let (files, plain) = (std::mem::take(&mut window.files), std::mem::take(&mut window.plain));
        let mut wants = std::mem::take(&mut window.wants);
        wants.sort_unstable();
        let mut reads: Vec<Read> = Vec::new();
        let by_pack = plan::by_pack(&wants);
        let bytes = |range: &Range<usize>| wants.get(range.start).map(|want| want.place.pack_bytes);
        let packs: Vec<_> = by_pack.iter().map(|(id, range)| (*id, bytes(range))).collect();
        for (opened, range) in shared.blocks.open_all(Area::Data, &packs).into_iter().zip(by_pack) {
            match opened {
                Ok(pack) => {
                    let ranges = plan::reads(&pack, &wants[range.1.clone()]);
                    let at = |r: Range<usize>| range.1.start + r.start..range.1.start + r.end;
                    reads.extend(ranges.into_iter().map(|read| Read::Blocks(pack.clone(), at(read))));
                }
                Err(error) => give_up(shared, &files, &wants[range.1], &error)?,
            }
        }
        let batches = (0..plain.len()).step_by(PLAIN_BATCH);
        reads.extend(batches.map(|start| Read::Plain(start..(start + PLAIN_BATCH).min(plain.len()))));
        let left = AtomicU64::new(reads.len() as u64);
        let (window, next) = (Mutex::new(window), AtomicUsize::new(0));
        let planned = Arc::new(Planned { window, files, plain, wants, reads, next, left });
        // A closed queue means that a thread has ended; its error is told when all are joined.
        let sent = self.closing.send(planned.clone()).is_ok() && self.windows.send(planned).is_ok();
        if sent { shared.check() } else { Err(RunError::Worker) }
    }
}

/// Runs `walk` with threads that write what it sends.
pub(crate) fn run(shared: &Shared<'_>, walk: impl FnOnce(&Sender<'_>) -> Result<(), RunError>) -> Result<(), RunError> {
    let (windows, incoming) = crossbeam_channel::bounded(WINDOWS_WAITING);
    let (closing, closed) = crossbeam_channel::bounded(WINDOWS_WAITING + 1);
    let (jobs, work) = crossbeam_channel::bounded(FETCHERS_MAX * 8);
    let (queue, budget) = (Windows { incoming, current: Mutex::default() }, Budget::default());
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let fetchers = shared.blocks.vault().store().parallelism().clamp(FETCHERS_MIN, FETCHERS_MAX);
        for _ in 0..fetchers {
            let jobs = jobs.clone();
            let (queue, budget) = (&queue, &budget);
            threads.push(scope.spawn(move || shared.guard(|| fetch(shared, queue, budget, &jobs))));
        }
        drop(jobs);
        for _ in 0..shared.workers {
            let work = work.clone();
            let budget = &budget;
            threads.push(scope.spawn(move || shared.guard(|| write(shared, budget, &work))));
        }
        drop(work);
        threads.push(scope.spawn(move || shared.guard(|| close(shared, &closed))));
        let sender = Sender { shared, windows, closing };
        shared.guard(|| walk(&sender));
        drop(sender);
        for thread in threads {
            // A panic was noted by its guard.
            let _ = thread.join();
        }
    });
    shared.take_failure().map_or(Ok(()), Err)
}

/// Fetches ranges and hands on their blocks, until there are no more windows.
fn fetch(
    shared: &Shared<'_>,
    queue: &Windows,
    budget: &Budget,
    jobs: &crossbeam_channel::Sender<Job>,
) -> Result<(), RunError> {
    while let Some((planned, n)) = queue.next() {
        let send = |what, bytes| {
            planned.left.fetch_add(1, Ordering::Relaxed);
            let job = Job { planned: planned.clone(), what, bytes };
            jobs.send(job).map_err(|_| RunError::Worker)
        };
        // A stop is a failure as well: what is skipped here was not restored.
        shared.check()?;
        match &planned.reads[n] {
            Read::Plain(range) => send(Work::Plain(range.clone()), 0)?,
            Read::Blocks(pack, range) => fetch_blocks(shared, budget, &planned, pack, range, send)?,
        }
        step_done(shared, &planned);
    }
    Ok(())
}

fn fetch_blocks(
    shared: &Shared<'_>,
    budget: &Budget,
    planned: &Planned,
    pack: &Arc<OpenPack>,
    range: &Range<usize>,
    send: impl Fn(Work, u64) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let wants = &planned.wants[range.clone()];
    let block = |want: &Want| pack.footer.blocks.get(want.place.block as usize);
    let missing = || VaultError::Missing { what: "block of pack", id: pack.id.to_string() };
    let (Some(first), Some(last)) = (wants.first().and_then(block), wants.last().and_then(block)) else {
        return give_up(shared, &planned.files, wants, &missing());
    };
    let (from, to) = (first.offset, last.offset + last.sealed_bytes);
    budget.take(shared, u64::from(to - from));
    let mut unused = u64::from(to - from);
    let fetched = shared.blocks.read_sealed(pack, from, to).map(Arc::new);
    let mut start = range.start;
    for same in wants.chunk_by(|a, b| a.place.block == b.place.block) {
        let these = start..start + same.len();
        start = these.end;
        let sealed = fetched.as_ref().map(|read| {
            let info = block(&same[0])?;
            let at = (info.offset - from) as usize;
            let at = at..at + info.sealed_bytes as usize;
            (at.end <= read.len()).then(|| Sealed { read: read.clone(), at })
        });
        match sealed {
            Ok(Some(sealed)) => {
                let bytes = (sealed.at.len() as u64).min(unused);
                unused -= bytes;
                send(Work::Block(pack.clone(), these, sealed), bytes)?;
            }
            Ok(None) => give_up(shared, &planned.files, same, &missing())?,
            Err(error) => give_up(shared, &planned.files, same, error)?,
        }
    }
    budget.give_back(shared, unused);
    Ok(())
}

/// Opens, verifies and writes, until the fetchers have ended. After a failure it only drains.
fn write(shared: &Shared<'_>, budget: &Budget, work: &crossbeam_channel::Receiver<Job>) -> Result<(), RunError> {
    let mut buffers = Buffers::default();
    for job in work {
        if !shared.has_failed() {
            shared.keep(do_work(shared, &job.planned, job.what, &mut buffers));
        }
        budget.give_back(shared, job.bytes);
        step_done(shared, &job.planned);
    }
    Ok(())
}

/// What a worker uses again and again.
#[derive(Default)]
struct Buffers {
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

fn do_work(shared: &Shared<'_>, planned: &Planned, work: Work, buffers: &mut Buffers) -> Result<(), RunError> {
    match work {
        Work::Plain(range) => planned.plain[range].iter().try_for_each(|file| write_plain(shared, file)),
        Work::Block(pack, range, block) => {
            let Buffers { sealed, plain } = buffers;
            sealed.clear();
            sealed.extend_from_slice(&block.read[block.at]);
            drop(block.read);
            let wants = &planned.wants[range];
            let Some(info) = wants.first().and_then(|want| pack.footer.blocks.get(want.place.block as usize)) else {
                return Ok(());
            };
            if let Err(error) = shared.blocks.open_block_into(&pack, info, sealed, plain) {
                return give_up(shared, &planned.files, wants, &error);
            }
            let (mut member, mut start) = (0, 0);
            for want in wants {
                while member < (want.place.member as usize).min(info.members.len()) {
                    start += info.members[member].bytes as usize;
                    member += 1;
                }
                let file = &planned.files[want.file as usize];
                match info.members.get(member) {
                    // The index may have been told lies; the pack's own footer was just held against the content.
                    Some(found) if found.id == want.id && u64::from(found.bytes) == want.bytes => {
                        file.write(shared, &plain[start..start + found.bytes as usize], want.offset)?;
                        file.piece_done(shared)?;
                    }
                    Some(_) | None => {
                        let missing = VaultError::Missing { what: "chunk", id: want.id.to_string() };
                        give_up(shared, &planned.files, std::slice::from_ref(want), &missing)?;
                    }
                }
            }
            Ok(())
        }
    }
}

fn step_done(shared: &Shared<'_>, planned: &Planned) {
    if planned.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        shared.wake();
    }
}

/// Closes windows in their order.
fn close(shared: &Shared<'_>, windows: &crossbeam_channel::Receiver<Arc<Planned>>) -> Result<(), RunError> {
    for planned in windows {
        shared.wait_until(|| planned.left.load(Ordering::Acquire) == 0);
        if !shared.has_failed() {
            planned.window.lock().unwrap_or_else(PoisonError::into_inner).close(shared)?;
        }
    }
    Ok(())
}

/// Takes what cannot be read here from another place; else marks the files that needed it.
fn give_up(
    shared: &Shared<'_>,
    files: &[Arc<super::file::FileJob>],
    wants: &[Want],
    error: &VaultError,
) -> Result<(), RunError> {
    for want in wants {
        let file = &files[want.file as usize];
        match elsewhere(shared, want) {
            Some(bytes) => file.write(shared, &bytes, want.offset)?,
            None => file.fail(FindingKind::Damaged, chain(error)),
        }
        file.piece_done(shared)?;
    }
    Ok(())
}

/// A chunk from any of its other places, also from where a collection moved it meanwhile.
fn elsewhere(shared: &Shared<'_>, want: &Want) -> Option<Vec<u8>> {
    let generation = shared.places.generation();
    let other = from_other_place(shared, want);
    if other.is_some() {
        return other;
    }
    let renewed = shared.places.renewed_since(generation);
    match renewed {
        Ok(true) => from_other_place(shared, want),
        Ok(false) => None,
        Err(error) => {
            tracing::warn!(%error, "Whether a collection moved what is missing cannot be told");
            None
        }
    }
}

fn from_other_place(shared: &Shared<'_>, want: &Want) -> Option<Vec<u8>> {
    let places = shared.places.all(&want.id).ok()?;
    places.into_iter().filter(|place| (place.pack, place.block) != (want.place.pack, want.place.block)).find_map(
        |place| {
            let pack = shared.blocks.open(Area::Data, place.pack).ok()?;
            let plain = shared.blocks.read_block(&pack, place.block).ok()?;
            let members = &pack.footer.blocks.get(place.block as usize)?.members;
            let member = members.get(place.member as usize)?;
            let start: usize = members.iter().take(place.member as usize).map(|member| member.bytes as usize).sum();
            let bytes = plain.get(start..start + member.bytes as usize)?;
            (member.id == want.id && u64::from(member.bytes) == want.bytes).then(|| bytes.to_vec())
        },
    )
}
