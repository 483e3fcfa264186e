//! Garbage collection without locks and without trusting clocks (FORMAT.md, "Collection").
//!
//! ```text
//! plan (reads only) -> publish g+1 -> fence -> list again -> decide -> delete
//!        ^                  |           `-------- finish --------'
//!        `-- another was first
//! ```
//! **Invariant**: a pack is deleted only when a decision names it, and a decision names only what no recovery point needs
//! that anybody can see after the sessions that might add one were fenced.

mod error;
mod live;
mod merge;
mod parallel;
mod plan;
mod repack;
mod replaced;
mod retire;
mod roots;
mod run;
mod sessions;
mod sweep;

pub use error::CollectError;
pub use live::{Needs, needs_of};
pub use plan::{Plan, StoredPack, plan, plan_as_if};
pub use retire::{Candidate, RetireOptions, Retirement, TRASH_SECONDS, plan_retirement, retain_all};
pub use run::{CollectReport, finish, run};

use crate::codec::Time;

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectOptions {
    /// The collector's clock: it decides only how long garbage lives.
    pub now: Time,
    /// Requests in flight; 1 makes the order of effects certain.
    pub workers: usize,
    /// Which packs are repacked, of those that are needed in part.
    pub repack: RepackOptions,
}

/// When what is still needed of a pack is copied into another, so that the pack can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepackOptions {
    /// Less than so many percent of a pack's sealed bytes are needed. 0 repacks nothing; at 50 no more is copied than is
    /// given back.
    pub below_percent: u8,
    /// So many bytes are copied by one collection at most, out of the emptiest packs first.
    pub bytes_max: u64,
}

impl Default for RepackOptions {
    fn default() -> Self {
        Self { below_percent: 50, bytes_max: 2 << 30 }
    }
}

impl CollectOptions {
    /// The usual options at a moment.
    pub fn new(now: Time) -> Self {
        Self { now, workers: parallel::WORKERS, repack: RepackOptions::default() }
    }
}
