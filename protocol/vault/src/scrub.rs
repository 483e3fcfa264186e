//! Bytes against names, without any key: what a host does with vaults it cannot open, and whoever just holds the disk.
//!
//! A pack's name is the hash of its bytes; every other object carries the hash of its own.
//!
//! **Invariant**: nothing is written, and no more than [`READ_BYTES`] of an object is in memory for each worker.

use crate::object::{FrameScan, OBJECT_BYTES_MAX};
use crate::pack::PACK_BYTES_MAX;
use crate::record::quarantine::Verdict;
use crate::store::{ObjectInfo, ObjectName, Store, StoreError};
use crate::vault::pack_of;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much of an object is read at once.
const READ_BYTES: u64 = 4 << 20;
/// Objects of one listing; a scrub can be gone on with after each.
const PAGE: usize = 1000;
/// So many objects in a row that cannot be read mean that the storage is the trouble.
const FAILURES_MAX: usize = 8;
/// Where objects with a frame of their own lie.
const FRAMED: [&str; 10] = ["cfg/", "keys/", "w/", "i/", "s/", "r/", "g/", "f/", "d/", "q/"];

/// How far to scrub.
#[derive(Debug, Clone, Default)]
pub struct ScrubOptions {
    /// Threads that read.
    pub workers: usize,
    /// Go on behind this object; nothing begins anew.
    pub after: Option<ObjectName>,
    /// End behind so many bytes, at the end of a page; nothing goes on to the end.
    pub bytes_max: Option<u64>,
}

/// An object that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScrubProblem {
    /// The object.
    pub name: ObjectName,
    /// What is wrong.
    pub text: String,
}

/// What a scrub saw.
#[derive(Debug, Clone, Default)]
pub struct Scrub {
    /// Objects whose bytes were read.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Objects that no version of the format names; they are left alone.
    pub foreign: u64,
    /// What is damaged, in the order of names.
    pub problems: Vec<ScrubProblem>,
    /// Where the next scrub goes on; none when this one came to the end.
    pub cursor: Option<ObjectName>,
}

impl Scrub {
    /// What to put in quarantine: packs and segments. Whatever else is damaged says so itself.
    pub fn verdicts(&self) -> Vec<(ObjectName, Verdict)> {
        let withdrawn = |name: &ObjectName| pack_of(name).is_some() || name.as_str().starts_with("i/");
        let names = self.problems.iter().map(|problem| &problem.name).filter(|name| withdrawn(name));
        names.map(|name| (name.clone(), Verdict::Damaged)).collect()
    }
}

/// Scrubs. `go_on` hears of each object before it is read; when it says no, the scrub ends with a cursor.
pub fn scrub(
    store: &dyn Store,
    options: &ScrubOptions,
    go_on: &(dyn Fn(&ObjectInfo) -> bool + Sync),
) -> Result<Scrub, StoreError> {
    let mut report = Scrub { cursor: options.after.clone(), ..Scrub::default() };
    loop {
        let page = store.list("", report.cursor.as_ref(), PAGE)?;
        let Some(last) = page.last().map(|info| info.name.clone()) else {
            report.cursor = None;
            return Ok(report);
        };
        let seen = scrub_page(store, &page, options.workers.max(1), go_on)?;
        report.objects += seen.objects;
        report.bytes += seen.bytes;
        report.foreign += seen.foreign;
        report.problems.extend(seen.problems);
        if seen.stopped {
            return Ok(report);
        }
        report.cursor = Some(last);
        if options.bytes_max.is_some_and(|max| report.bytes >= max) {
            return Ok(report);
        }
    }
}

#[derive(Default)]
struct Seen {
    objects: u64,
    bytes: u64,
    foreign: u64,
    problems: Vec<ScrubProblem>,
    stopped: bool,
}

fn scrub_page(
    store: &dyn Store,
    page: &[ObjectInfo],
    workers: usize,
    go_on: &(dyn Fn(&ObjectInfo) -> bool + Sync),
) -> Result<Seen, StoreError> {
    let (next, bytes, failures) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    let seen: Mutex<Seen> = Mutex::default();
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<(), StoreError> {
        while let Some(info) = page.get(next.fetch_add(1, Ordering::Relaxed)) {
            if lock().stopped {
                return Ok(());
            }
            let Some(kind) = Scan::of(&info.name) else {
                lock().foreign += 1;
                continue;
            };
            if !go_on(info) {
                lock().stopped = true;
                return Ok(());
            }
            let text = match kind.read(store, &info.name, &bytes) {
                Ok(fault) => fault.map(str::to_owned),
                // Collected since it was listed.
                Err(StoreError::NotFound { .. }) => None,
                Err(error) if failures.fetch_add(1, Ordering::Relaxed) >= FAILURES_MAX => return Err(error),
                Err(error) => Some(with_cause(&error)),
            };
            if text.is_none() {
                failures.store(0, Ordering::Relaxed);
            }
            let mut seen = lock();
            seen.objects += 1;
            seen.problems.extend(text.map(|text| ScrubProblem { name: info.name.clone(), text }));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.min(page.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    seen.bytes = bytes.into_inner();
    seen.problems.sort();
    Ok(seen)
}

fn with_cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// How an object's bytes are held against its name.
enum Scan {
    Pack([u8; 32]),
    Framed,
}

impl Scan {
    fn of(name: &ObjectName) -> Option<Self> {
        if let Some((_, id)) = pack_of(name) {
            return Some(Self::Pack(id.0));
        }
        FRAMED.iter().any(|prefix| name.as_str().starts_with(prefix)).then_some(Self::Framed)
    }

    /// Reads an object; answers what is wrong with it.
    fn read(
        &self,
        store: &dyn Store,
        name: &ObjectName,
        total: &AtomicU64,
    ) -> Result<Option<&'static str>, StoreError> {
        let (mut hasher, mut frame, mut offset) = (blake3::Hasher::new(), FrameScan::default(), 0);
        let bytes_max = match self {
            Self::Pack(..) => PACK_BYTES_MAX,
            Self::Framed => OBJECT_BYTES_MAX,
        };
        loop {
            let part = store.get_range(name, offset..offset + READ_BYTES)?;
            offset += part.len() as u64;
            total.fetch_add(part.len() as u64, Ordering::Relaxed);
            if offset > bytes_max {
                return Ok(Some("it is longer than anything that was written"));
            }
            match self {
                Self::Pack(..) => {
                    hasher.update(&part);
                }
                Self::Framed => frame.update(&part),
            }
            if (part.len() as u64) < READ_BYTES {
                break;
            }
        }
        Ok(match self {
            Self::Pack(id) if hasher.finalize().as_bytes() == id => None,
            Self::Pack(..) => Some("its bytes do not match its name"),
            Self::Framed => frame.fault(),
        })
    }
}
