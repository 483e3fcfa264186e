//! How far a running job is.
//!
//! Invariant: progress is a hint. It may be dropped or arrive late and no decision that lasts is taken from it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{JobId, PlanId};
use crate::report::JobKind;

/// Progress of one job: `POST /progress`, and the events of local control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// The job.
    pub job: JobId,
    /// The plan it runs for; none for a restore.
    #[serde(default)]
    pub plan: Option<PlanId>,
    /// What it does; `job_kind` on the wire, as in reports.
    #[serde(rename = "job_kind")]
    pub kind: JobKind,
    /// What it is at.
    pub phase: Phase,
    /// When the job started.
    pub started: DateTime<Utc>,
    /// When these figures were taken.
    pub at: DateTime<Utc>,
    /// Files dealt with.
    pub files_done: u64,
    /// Files in all, as far as known; grows while files are still being found.
    #[serde(default)]
    pub files_total: Option<u64>,
    /// Bytes dealt with.
    pub bytes_done: u64,
    /// Bytes in all, as far as known.
    #[serde(default)]
    pub bytes_total: Option<u64>,
    /// Share done, 0 to 100; none while there is no estimate.
    #[serde(default)]
    pub percent: Option<u8>,
}

impl JobProgress {
    /// The share that the counters give: by bytes, else by files. Never 100 before the job has ended, because the last
    /// write is the one that makes a backup exist.
    pub fn percent_of_counters(&self) -> Option<u8> {
        let share = |done: u64, total: u64| (total > 0).then(|| (u128::from(done) * 100 / u128::from(total)).min(99));
        let by_bytes = self.bytes_total.and_then(|total| share(self.bytes_done, total));
        let by_files = || self.files_total.and_then(|total| share(self.files_done, total));
        by_bytes.or_else(by_files).and_then(|percent| u8::try_from(percent).ok())
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its turn, the network or the host.
    Waiting,
    /// Makes a volume snapshot, runs the command before.
    Preparing,
    /// Finds files and compares them with the last recovery point.
    Scanning,
    /// Reads, seals and uploads.
    BackingUp,
    /// Writes catalogue, index and recovery point.
    Committing,
    /// Removes recovery points that the plan no longer keeps.
    Retention,
    /// Writes files back.
    Restoring,
    /// Compares what was read with what was stored.
    Verifying,
    /// A phase that this build does not know.
    #[serde(other)]
    Unknown,
}
