//! Local control: how the command line and the backup monitor speak with the daemon, one JSON document per line.
//!
//! Invariant: what a caller may do is decided by the daemon from the peer's credentials, never from these messages.

mod snapshot;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use snapshot::{LastRun, Link, PlanStatus, StatusSnapshot};

use crate::id::{JobId, PlanId, RecoveryPointId};
use crate::progress::JobProgress;
use crate::report::Outcome;

/// Longest line in bytes, either way; a longer one ends the connection.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A question or order to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the caller and repeated in the answer.
    pub id: u64,
    /// What is wanted.
    #[serde(flatten)]
    pub op: Op,
}

/// What is wanted of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// The status once.
    Status,
    /// Start a backup.
    Start {
        /// Id or name of the plan; may be left out when there is one.
        #[serde(default)]
        plan: Option<String>,
    },
    /// Stop what runs.
    Stop {
        /// Id or name of the plan; everything when left out.
        #[serde(default)]
        plan: Option<String>,
    },
    /// Start no backups for a while.
    Pause {
        /// How long.
        for_seconds: u64,
    },
    /// End a pause.
    Resume,
    /// The status now and events from now on, until the connection ends.
    Subscribe,
    /// An order that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A line from the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Answer to a request.
    Response(Response),
    /// Something happened; only after [`Op::Subscribe`].
    Event(Event),
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The request's id.
    pub id: u64,
    /// `"ok": {...}` or `"error": {...}`.
    #[serde(flatten)]
    pub result: Answer,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Ok(Reply),
    /// Not done.
    Error(ControlError),
}

/// What comes with a good answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The order was carried out.
    Done,
    /// A job was started, or already ran for that plan.
    Started {
        /// The job.
        job: JobId,
        /// Its plan.
        plan: PlanId,
        /// Name of the plan.
        plan_name: String,
    },
    /// The jobs that are being stopped; empty when nothing ran.
    Stopping {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// Backups are paused.
    Paused {
        /// End of the pause.
        until: DateTime<Utc>,
    },
    /// The status.
    Status(Box<StatusSnapshot>),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// What programs decide by.
    pub code: ControlErrorCode,
    /// Names the input and the remedy.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlErrorCode {
    /// The caller's account may not do this.
    NotAllowed,
    /// No such plan, or there are several and none was named.
    PlanUnknown,
    /// The machine has no plan.
    NoPlan,
    /// The machine belongs to no host.
    NotEnrolled,
    /// The line cannot be understood.
    BadRequest,
    /// Longer or more often than the policy allows.
    PauseNotAllowed,
    /// The daemon is starting or stopping.
    Unavailable,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The status changed.
    Status(Box<StatusSnapshot>),
    /// A job is further.
    Progress(JobProgress),
    /// A job ended.
    Finished {
        /// The job.
        job: JobId,
        /// Its plan.
        #[serde(default)]
        plan: Option<PlanId>,
        /// How it ended.
        outcome: Outcome,
        /// The recovery point it made.
        #[serde(default)]
        recovery_point: Option<RecoveryPointId>,
        /// One line for people.
        message: String,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}
