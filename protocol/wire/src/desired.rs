//! What a machine shall be: one document per machine, polled with its version.
//!
//! Invariant: the document is complete. What is not in it (a plan, a command) is no longer wanted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::enrol::VaultGrant;
use crate::exclusions::ExclusionList;
use crate::id::{CommandId, JobId, PlanId};
use crate::machine::{MachineClass, MachineState};
use crate::plan::Plan;

/// Most commands listed at once; the host refuses to add more until some are acknowledged.
pub const COMMANDS_MAX: usize = 100;

/// Query of `GET /desired`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredQuery {
    /// The version the agent has; 0 for none.
    #[serde(default)]
    pub version: u64,
    /// Seconds to wait for a newer one; the host caps it.
    #[serde(default)]
    pub wait: u32,
}

/// Everything the host wants of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredState {
    /// Grows with every change; starts at 1.
    pub version: u64,
    /// Where the machine stands; in the lobby there are no plans.
    pub state: MachineState,
    /// The vault, when it was granted after enrolment or its keys changed.
    #[serde(default)]
    pub vault: Option<VaultGrant>,
    /// Plans applied to the machine.
    #[serde(default)]
    pub plans: Vec<AppliedPlan>,
    /// Commands not yet acknowledged, oldest first.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Settings of the machine.
    #[serde(default)]
    pub settings: MachineSettings,
    /// What plans with default exclusions leave out; none means the agent's own list.
    #[serde(default)]
    pub exclusions: Option<ExclusionList>,
}

/// A plan as it is applied to one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppliedPlan {
    /// The plan.
    pub plan: Plan,
    /// Grows with every edit of the plan.
    pub revision: u64,
    /// When it was applied; occurrences before that are not missed.
    pub applied_at: DateTime<Utc>,
}

/// Something to do once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Carried out at most once per id.
    pub id: CommandId,
    /// When it was given.
    pub issued_at: DateTime<Utc>,
    /// After this it is refused instead of carried out; none means never.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// What to do.
    pub action: CommandAction,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CommandAction {
    /// Start a backup now.
    Start {
        /// The plan to run.
        plan: PlanId,
    },
    /// Stop what runs and discard it; the schedule is untouched. Without job and plan: everything.
    Stop {
        /// This job alone.
        #[serde(default)]
        job: Option<JobId>,
        /// What runs for this plan.
        #[serde(default)]
        plan: Option<PlanId>,
    },
    /// Leave the host: forget identity and plans.
    Unenroll,
    /// A kind that this build does not know; it is refused with that reason.
    #[serde(other)]
    Unknown,
}

/// Settings of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineSettings {
    /// Class as the host decided it.
    pub class: Option<MachineClass>,
    /// Seconds a poll waits.
    pub poll_wait_seconds: u32,
    /// Seconds between progress messages.
    pub progress_interval_seconds: u32,
    /// What a user without administrator's rights may do.
    pub end_user: EndUserRights,
    /// Upload limit over all plans; none means no limit.
    pub upload_bytes_per_second_max: Option<u64>,
}

impl Default for MachineSettings {
    fn default() -> Self {
        Self {
            class: None,
            poll_wait_seconds: crate::POLL_WAIT_SECONDS,
            progress_interval_seconds: 2,
            end_user: EndUserRights::default(),
            upload_bytes_per_second_max: None,
        }
    }
}

/// What a user without administrator's rights may do in the backup monitor. On servers the host sends all false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndUserRights {
    /// Start a backup.
    pub start: bool,
    /// Stop (interrupt) a backup.
    pub stop: bool,
    /// Pause backups.
    pub pause: bool,
    /// Longest pause.
    pub pause_seconds_max: u32,
    /// Pauses a day.
    pub pauses_per_day_max: u32,
}

impl Default for EndUserRights {
    fn default() -> Self {
        Self { start: true, stop: true, pause: true, pause_seconds_max: 4 * 3600, pauses_per_day_max: 1 }
    }
}

impl EndUserRights {
    /// Look, do not touch: servers and terminal servers.
    pub const fn read_only() -> Self {
        Self { start: false, stop: false, pause: false, pause_seconds_max: 0, pauses_per_day_max: 0 }
    }
}
