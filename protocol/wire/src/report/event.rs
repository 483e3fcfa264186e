//! What is reported beside jobs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{CommandId, JobId, PlanId};

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
