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
mod parallel;
mod plan;
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
}

impl CollectOptions {
    /// The usual options at a moment.
    pub fn new(now: Time) -> Self {
        Self { now, workers: parallel::WORKERS }
    }
}
