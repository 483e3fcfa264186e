//! What an agent reports to the host: numbered, kept until acknowledged, applied exactly once.
//!
//! Invariant: the numbers of one (machine, incarnation) start at 1 and have no gaps; a number always carries the same
//! content, else a clone is speaking.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, IncarnationId, JobId, MachineId, PlanId, RecoveryPointId};
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
    /// What was noticed, at most [`FINDINGS_MAX`], the worst first.
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

/// Something noticed about one file or about the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The path as text, with replacement characters where it is none; empty when it is about the run.
    pub path_lossy: String,
    /// What it is.
    pub kind: FindingKind,
    /// The words of the operating system or ours.
    pub message: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Contents could not be read.
    Unreadable,
    /// The file went away between listing and reading.
    Vanished,
    /// The file changed while it was read; what was read is stored.
    Changing,
    /// Another program holds it exclusively.
    Locked,
    /// Attributes, rights or streams could not be read; contents are stored.
    MetadataLost,
    /// Contents live in a cloud service; the placeholder is stored, its bytes are counted and never downloaded.
    CloudPlaceholder,
    /// A directory entry that cannot be backed up by its kind.
    Unsupported,
    /// A volume or folder was left out.
    Skipped,
    /// Far fewer files or bytes than in the last runs.
    Shrunken,
    /// Volume snapshot failed; files were read live.
    SnapshotFailed,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

impl FindingKind {
    /// Whether it is known to be harmless: counted, never coloured.
    pub const fn is_benign(self) -> bool {
        match self {
            Self::Vanished | Self::CloudPlaceholder | Self::Skipped => true,
            Self::Unreadable
            | Self::Changing
            | Self::Locked
            | Self::MetadataLost
            | Self::Unsupported
            | Self::Shrunken
            | Self::SnapshotFailed
            | Self::Unknown => false,
        }
    }
}

/// What a failure is about, so that one cause over many machines is one ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The storage did not answer or failed.
    Storage,
    /// The storage or the host refused the credentials.
    Credentials,
    /// The quota is used up.
    Quota,
    /// The host was away longer than the agent could wait.
    HostUnreachable,
    /// The machine's own disk, memory or rights.
    Machine,
    /// Volume snapshots.
    VolumeSnapshot,
    /// The vault holds something damaged.
    VaultDamaged,
    /// The plan cannot be run on this machine.
    Plan,
    /// A fault of ours.
    Internal,
    /// A class that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A scheduled occurrence that was not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The plan.
    pub plan: PlanId,
    /// The scheduled time.
    pub occurrence: DateTime<Utc>,
    /// Why, as far as the agent knows.
    pub reason: MissedReason,
    /// How long the machine was on and could have run it, until the next occurrence.
    pub online_seconds: u64,
}

/// Why an occurrence was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedReason {
    /// Off or asleep.
    MachineOff,
    /// The agent did not run.
    AgentStopped,
    /// Battery or network rules of the plan held it back.
    Conditions,
    /// Paused within what the policy allows.
    Paused,
    /// The storage or the host could not be reached.
    Unreachable,
    /// Runs had started but were interrupted each time.
    Interrupted,
    /// A reason that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A command was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandDone {
    /// The command.
    pub command: CommandId,
    /// How it ended.
    pub outcome: CommandOutcome,
    /// The job it started.
    #[serde(default)]
    pub job: Option<JobId>,
    /// Words for the technician.
    #[serde(default)]
    pub message: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandOutcome {
    /// Carried out; for a start: the job was started.
    Done,
    /// Not allowed, unknown, or too late.
    Refused,
    /// Tried and failed.
    Failed,
}

/// A plan was taken over, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanState {
    /// The plan.
    pub plan: PlanId,
    /// Its revision.
    pub revision: u64,
    /// Whether this agent can run it.
    pub accepted: bool,
    /// Why not.
    #[serde(default)]
    pub message: Option<String>,
    /// The next scheduled time.
    #[serde(default)]
    pub next_occurrence: Option<DateTime<Utc>>,
    /// The real minute of the next start: the scheduled time and the machine's own delay.
    #[serde(default)]
    pub next_start: Option<DateTime<Utc>>,
}

/// Backups were paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseState {
    /// End of the pause; none when backups were resumed.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// The user who did it.
    pub by: String,
}
