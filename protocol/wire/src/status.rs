//! The words for a machine's status that console, reports, monitors and the backup monitor share.
//!
//! Invariant: every counted machine is in exactly one bucket, so the buckets sum up to the machine count.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Where a machine is counted. The order is the order of decision: the first that fits wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Known from the inventory, no agent on it.
    WithoutAgent,
    /// An agent, but no plan.
    WithoutPlan,
    /// A plan, but nothing that could be restored, or nothing recent enough to count.
    NotProtected,
    /// The last result was an error, or several occurrences are overdue.
    Error,
    /// The last result had warnings, or the newest point is older than the limit.
    Warning,
    /// Protected: a good last result and a fresh point.
    Ok,
}

impl Bucket {
    /// Every bucket, in the order of decision.
    pub const ALL: [Self; 6] =
        [Self::WithoutAgent, Self::WithoutPlan, Self::NotProtected, Self::Error, Self::Warning, Self::Ok];

    /// The words shown to people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::WithoutAgent => "Without agent",
            Self::WithoutPlan => "Without plan",
            Self::NotProtected => "Not protected",
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Ok => "OK",
        }
    }

    /// The snake_case word, as in JSON and in database columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WithoutAgent => "without_agent",
            Self::WithoutPlan => "without_plan",
            Self::NotProtected => "not_protected",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Ok => "ok",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What is shown beside the bucket without changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Overlay {
    /// A backup runs.
    BackingUp {
        /// Share done, 0 to 100; none while the amount is still being counted.
        percent: Option<u8>,
    },
    /// The first backup has not finished yet.
    FirstBackup {
        /// When it will be ready at the present pace.
        ready_about: Option<DateTime<Utc>>,
    },
    /// Backups are paused.
    Paused {
        /// End of the pause; none means until someone resumes.
        until: Option<DateTime<Utc>>,
    },
    /// Nothing was heard for longer than the polling interval allows.
    Offline {
        /// When the machine was heard last.
        last_heard: Option<DateTime<Utc>>,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}
