//! What is said about a machine.

use chrono::{DateTime, Utc};
use nightkeep_wire::PlanId;
use nightkeep_wire::report::{ErrorClass, Outcome};
use nightkeep_wire::status::{Bucket, Overlay};
use serde::{Deserialize, Serialize};

/// The verdict on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The one bucket it is counted in.
    pub bucket: Bucket,
    /// Why, in one sentence with figures.
    pub reason: String,
    /// Shown beside the bucket.
    pub overlays: Vec<Overlay>,
    /// End of the last backup that ended, over all plans.
    pub last_backup: Option<DateTime<Utc>>,
    /// How it ended.
    pub last_outcome: Option<Outcome>,
    /// The next start, over all plans.
    pub next_backup: Option<DateTime<Utc>>,
    /// The newest point that can be restored, over all plans.
    pub newest_point: Option<DateTime<Utc>>,
    /// Missed occurrences in a row of the plan that missed most.
    pub missed_in_a_row: u32,
    /// Whether that is enough for the monitor.
    pub missed_alarm: bool,
    /// Failed runs in a row of the plan that failed most.
    pub errors_in_a_row: u32,
    /// What the last failure is about.
    pub error_class: Option<ErrorClass>,
    /// The first backup is pending or makes progress: monitors and tickets wait.
    pub awaits_first_backup: bool,
    /// Not heard for long.
    pub silence: Option<Silence>,
    /// Plan by plan, in the order given.
    pub plans: Vec<PlanVerdict>,
}

/// Not heard for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Silence {
    /// In the weekly list.
    Listed {
        /// Whole days.
        days: u32,
    },
    /// One ticket: chase or retire?
    ChaseOrRetire {
        /// Whole days.
        days: u32,
    },
}

/// The verdict on one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVerdict {
    /// The plan.
    pub plan: PlanId,
    /// Never one of the two buckets about the inventory.
    pub bucket: Bucket,
    /// Why, in one sentence with figures.
    pub reason: String,
    /// The first backup is pending or makes progress.
    pub awaits_first_backup: bool,
    /// Occurrences missed in a row.
    pub missed_in_a_row: u32,
    /// Runs failed in a row.
    pub errors_in_a_row: u32,
    /// What the last failure is about.
    pub error_class: Option<ErrorClass>,
}
