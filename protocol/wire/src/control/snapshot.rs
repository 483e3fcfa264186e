//! The machine as its own daemon sees it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MachineId, PlanId, RecoveryPointId};
use crate::machine::MachineState;
use crate::progress::JobProgress;
use crate::report::Outcome;
use crate::status::{Bucket, Overlay};

/// The machine as its daemon sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusSnapshot {
    /// When it was taken.
    pub at: DateTime<Utc>,
    /// Name of the computer.
    pub hostname: String,
    /// Version of nightkeep-agent.
    pub agent_version: String,
    /// The machine's id; none when it is not enrolled.
    #[serde(default)]
    pub machine: Option<MachineId>,
    /// Where it stands on the host.
    #[serde(default)]
    pub state: Option<MachineState>,
    /// Name of the customer.
    #[serde(default)]
    pub customer: Option<String>,
    /// Link to the host.
    pub link: Link,
    /// Where the machine is counted, by the same rules as on the host.
    pub bucket: Bucket,
    /// Why, with figures.
    pub reason: String,
    /// What is shown beside the bucket.
    #[serde(default)]
    pub overlays: Vec<Overlay>,
    /// Plans applied to the machine.
    #[serde(default)]
    pub plans: Vec<PlanStatus>,
    /// Jobs that run.
    #[serde(default)]
    pub running: Vec<JobProgress>,
    /// End of a pause.
    #[serde(default)]
    pub paused_until: Option<DateTime<Utc>>,
    /// Reports that the host has not acknowledged.
    #[serde(default)]
    pub reports_waiting: u64,
    /// How the last run looked at its source, for people: by the change journal, or in full and why. None before the first run
    /// since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<String>,
    /// What keeps backups from being whole, and what to do about it; a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Link to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Link {
    /// Belongs to no host.
    NotEnrolled,
    /// The last contact succeeded.
    Online {
        /// The host.
        host: String,
        /// The last contact.
        last_contact: DateTime<Utc>,
    },
    /// The last contact failed.
    Offline {
        /// The host.
        host: String,
        /// The last good contact.
        #[serde(default)]
        last_contact: Option<DateTime<Utc>>,
        /// Why the last one failed.
        message: String,
    },
}

/// A plan on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStatus {
    /// The plan.
    pub id: PlanId,
    /// Its name.
    pub name: String,
    /// The last run that ended.
    #[serde(default)]
    pub last: Option<LastRun>,
    /// Start of the run that made its newest recovery point, which need not be the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point: Option<DateTime<Utc>>,
    /// The real minute of the next start.
    #[serde(default)]
    pub next_start: Option<DateTime<Utc>>,
    /// What its due run waits for, such as mains power.
    #[serde(default)]
    pub held: Option<String>,
    /// Why this agent cannot run it.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The last run of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// How.
    pub outcome: Outcome,
    /// The recovery point it made.
    #[serde(default)]
    pub recovery_point: Option<RecoveryPointId>,
    /// One line for people.
    #[serde(default)]
    pub message: String,
}
