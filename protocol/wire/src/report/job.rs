//! A job's beginning and its result.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::finding::{ErrorClass, Finding};
use crate::id::{JobId, PlanId, RecoveryPointId};

/// A job began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStarted {
    /// The job.
    pub job: JobId,
    /// The plan it runs for; none for a restore.
    #[serde(default)]
    pub plan: Option<PlanId>,
    /// What it does; `job_kind` on the wire, since `kind` is the tag of the report's body.
    #[serde(rename = "job_kind")]
    pub kind: JobKind,
    /// Why it runs.
    pub cause: Cause,
    /// The scheduled time it serves.
    #[serde(default)]
    pub occurrence: Option<DateTime<Utc>>,
    /// When it began.
    pub started: DateTime<Utc>,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Writes a recovery point.
    Backup,
    /// Writes files back.
    Restore,
    /// Reads a recovery point back and compares.
    Verify,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Why a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its time came.
    Schedule,
    /// A person at the machine.
    Manual,
    /// A command of the host.
    Command,
    /// An occurrence that could not be served at its time.
    CatchUp,
    /// A cause that this build does not know.
    #[serde(other)]
    Unknown,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was done.
    Ok,
    /// A recovery point exists, with findings that matter.
    Warning,
    /// No recovery point was made.
    Error,
    /// A person stopped it; the status stays what it was.
    Cancelled,
    /// Power, network or sleep; the next run goes on from there.
    Interrupted,
}

/// Backup set of a recovery point, decided once when the run starts and stored with it. The order is precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupSet {
    /// Every other run.
    Daily,
    /// The first run on a Monday.
    Weekly,
    /// The first run of a month.
    Monthly,
}

impl BackupSet {
    /// The word shown to people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

/// A job's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The plan it ran for; none for a restore.
    #[serde(default)]
    pub plan: Option<PlanId>,
    /// What it did; `job_kind` on the wire, since `kind` is the tag of the report's body.
    #[serde(rename = "job_kind")]
    pub kind: JobKind,
    /// Why it ran.
    pub cause: Cause,
    /// The scheduled time it served.
    #[serde(default)]
    pub occurrence: Option<DateTime<Utc>>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// The machine's civil time at the occurrence, else at the start.
    #[serde(default)]
    pub civil: Option<CivilStamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// The recovery point it made.
    #[serde(default)]
    pub recovery_point: Option<RecoveryPointId>,
    /// The set of that recovery point.
    #[serde(default)]
    pub set: Option<BackupSet>,
    /// Figures.
    #[serde(default)]
    pub stats: JobStats,
    /// What was noticed, at most [`super::FINDINGS_MAX`], the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// How much was noticed in all.
    #[serde(default)]
    pub finding_count: u64,
    /// Why it failed, in words for a technician.
    #[serde(default)]
    pub error: Option<String>,
    /// What the failure is about; groups one cause over many machines.
    #[serde(default)]
    pub error_class: Option<ErrorClass>,
    /// Whether the whole machine could be started from this point; false until volume images exist.
    #[serde(default)]
    pub bootable: bool,
}

/// Civil time beside the universal one: daylight saving and travel make one unrecoverable from the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CivilStamp {
    /// IANA name of the zone.
    pub zone: String,
    /// Seconds east of UTC at that moment.
    pub offset_seconds: i32,
    /// The local date: it decides the backup set.
    pub date: NaiveDate,
}

/// Figures of a job. Bytes are plain bytes of files unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStats {
    /// Files in the recovery point.
    pub files: u64,
    /// Directories in it.
    pub dirs: u64,
    /// Bytes of all files in it.
    pub bytes: u64,
    /// Files that the last recovery point did not have.
    pub files_new: u64,
    /// Files with other contents than in the last one.
    pub files_changed: u64,
    /// Files taken over unread.
    pub files_unchanged: u64,
    /// Bytes read from disk.
    pub bytes_read: u64,
    /// Bytes of chunks that the vault did not have.
    pub bytes_new: u64,
    /// Sealed bytes written to the vault, everything included.
    pub bytes_stored: u64,
    /// Objects written to the vault.
    pub objects: u64,
}
