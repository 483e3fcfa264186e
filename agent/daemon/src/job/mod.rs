//! One job: a run of a plan on this machine, from its place in the queue to its result.
//!
//! Invariant: the engine is spoken to in [`engine`] alone; the rest of the daemon knows jobs and results.

mod allowed;
mod command;
mod commands;
mod engine;
mod items;
mod limits;
mod result;
mod snapshots;
mod throttle;
mod watch;

use chrono::{DateTime, Utc};
use nightkeep_wire::report::{Cause, JobKind, JobResult, JobStats, Outcome};
use nightkeep_wire::{JobId, PlanId};
use serde::{Deserialize, Serialize};

pub(crate) use self::allowed::Allowed;
pub(crate) use self::commands::after_crash;
pub(crate) use self::engine::{Run, run};
pub(crate) use self::items::unsupported;
pub(crate) use self::snapshots::remove_leftovers;
pub(crate) use self::watch::Watch;

/// A job that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its id.
    pub(crate) id: JobId,
    /// The plan it runs.
    pub(crate) plan: PlanId,
    /// Why it runs.
    pub(crate) cause: Cause,
    /// The scheduled time it serves.
    pub(crate) occurrence: Option<DateTime<Utc>>,
    /// When it began; none while it waits.
    pub(crate) started: Option<DateTime<Utc>>,
}

impl Job {
    /// The result of this job when it made no recovery point.
    pub(crate) fn without_point(&self, outcome: Outcome, error: Option<String>, now: DateTime<Utc>) -> JobResult {
        JobResult {
            job: self.id,
            plan: Some(self.plan),
            kind: JobKind::Backup,
            cause: self.cause,
            occurrence: self.occurrence,
            started: self.started.unwrap_or(now).min(now),
            finished: now,
            civil: None,
            outcome,
            recovery_point: None,
            set: None,
            stats: JobStats::default(),
            findings: Vec::new(),
            finding_count: 0,
            error,
            error_class: None,
            bootable: false,
        }
    }
}
