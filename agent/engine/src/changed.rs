//! What a change journal vouches for, so that a run reads the rest alone.
//!
//! **Invariant**: it only ever shrinks work, and only beside the one recovery point it begins with; a run with another parent
//! reads everything.

use nightkeep_platform::journal::Changes;
use nightkeep_vault::id::PointId;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The changes since a recovery point's run began.
///
/// Whoever makes one answers for this: the position the changes begin at was taken before that run looked at anything, with the
/// same source (its roots, its patterns, what is left out) as the run it is given to.
#[derive(Debug)]
pub struct ChangedDirs {
    /// The point.
    pub(crate) since: PointId,
    pub(crate) changes: Changes,
    used: AtomicBool,
    read: AtomicU64,
    taken_over: AtomicU64,
}

/// What came of a journal's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanTally {
    /// Whether the run went by the journal at all.
    pub used: bool,
    /// Directories that were read.
    pub read: u64,
    /// Directories taken over from the parent unread.
    pub taken_over: u64,
}

impl ChangedDirs {
    /// The changes since the run of `since` began.
    pub fn new(since: PointId, changes: Changes) -> Self {
        let (used, read, taken_over) = Default::default();
        Self { since, changes, used, read, taken_over }
    }

    /// What came of it so far.
    pub fn tally(&self) -> ScanTally {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScanTally { used: self.used.load(Ordering::Relaxed), read: get(&self.read), taken_over: get(&self.taken_over) }
    }

    /// A run begins with it.
    pub(crate) fn begin(&self) {
        self.used.store(true, Ordering::Relaxed);
        // A run that begins anew counts anew.
        self.read.store(0, Ordering::Relaxed);
        self.taken_over.store(0, Ordering::Relaxed);
    }

    pub(crate) fn count_read(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_taken_over(&self) {
        self.taken_over.fetch_add(1, Ordering::Relaxed);
    }
}
