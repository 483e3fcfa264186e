//! What an agent reports to the host: numbered, kept until acknowledged, applied exactly once.
//!
//! Invariant: the numbers of one (machine, incarnation) start at 1 and have no gaps; a number always carries the same
//! content, else a clone is speaking.

mod bounds;
mod event;
mod finding;
mod job;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use bounds::{BoundsError, bounded_text};
pub use event::{CommandDone, CommandOutcome, Missed, MissedReason, PauseState, PlanState};
pub use finding::{ErrorClass, Finding, FindingKind};
pub use job::{BackupSet, Cause, CivilStamp, JobKind, JobResult, JobStarted, JobStats, Outcome};

use crate::id::{IncarnationId, MachineId};
use crate::machine::MachineFacts;
use crate::progress::JobProgress;

/// Most reports in one request; more wait for the next.
pub const REPORTS_PER_REQUEST_MAX: usize = 200;

/// Most findings listed in one result; [`JobResult::finding_count`] tells how many there were.
pub const FINDINGS_MAX: usize = 100;

/// Bytes of a message or a path in a report; longer ones are cut at a character.
pub const REPORT_TEXT_BYTES_MAX: usize = 1024;

/// `POST /reports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportBatch {
    /// In ascending order of their numbers.
    pub reports: Vec<Report>,
}

/// Answer to [`ReportBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAck {
    /// Everything up to this number is applied and may be forgotten by the agent.
    pub applied_through: u64,
}

/// One numbered message of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub machine: MachineId,
    /// Which life of its numbering.
    pub incarnation: IncarnationId,
    /// From 1, without gaps.
    pub sequence: u64,
    /// When it happened, by the agent's clock corrected by the host's.
    pub at: DateTime<Utc>,
    /// What happened.
    pub body: ReportBody,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReportBody {
    /// A job began.
    JobStarted(JobStarted),
    /// How far a job is; not durable, may be dropped.
    JobProgress(JobProgress),
    /// A job ended, however it ended.
    JobFinished(Box<JobResult>),
    /// A scheduled occurrence was not served.
    Missed(Missed),
    /// A command was carried out or refused; it leaves the desired state.
    CommandDone(CommandDone),
    /// A plan was taken over, or could not be.
    PlanState(PlanState),
    /// Backups were paused or resumed.
    Pause(PauseState),
    /// The machine's description changed.
    Facts(Box<MachineFacts>),
    /// A kind that this build does not know; it is acknowledged and left alone.
    #[serde(other)]
    Unknown,
}
