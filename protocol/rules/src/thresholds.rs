//! The figures by which a machine is judged, per class, as data that a customer or a plan can override.
//!
//! Invariant: machines that are meant to be always on are judged by the clock; the others by the time they were online,
//! because a laptop in a drawer has lost nothing.

use chrono::Duration;
use nightkeep_wire::machine::MachineClass;
use serde::{Deserialize, Serialize};

/// All figures for one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// When a machine's newest point is too old.
    pub freshness: Freshness,
    /// When occurrences count as missed.
    pub missed: MissedRule,
    /// A first backup without progress for so long, online, is no longer waited for.
    pub first_backup_stalled_seconds: u32,
    /// A pause longer than this is a warning.
    pub pause_seconds_max: u32,
    /// Silent for so many days: in the weekly list.
    pub silent_listed_days: u32,
    /// Silent for so many days: one ticket "chase or retire?".
    pub silent_ticket_days: u32,
}

/// When the newest restorable point is too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Freshness {
    /// By the clock.
    Clock {
        /// An occurrence without a point is late after this.
        late_after_seconds: u32,
        /// So many late occurrences are an error, fewer a warning.
        error_after_occurrences: u32,
        /// No restorable point for so many days, and one late: not protected.
        not_protected_after_days: u32,
    },
    /// By local days on which the machine was online.
    OnlineDays {
        /// More than so many without a point: warning.
        warning_after_days: u32,
        /// So many without a point: not protected.
        not_protected_after_days: u32,
    },
}

/// When occurrences count as missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedRule {
    /// So many in a row raise the monitor.
    pub in_a_row: u32,
    /// The last occurrence counts after this, though a run may still come before the next.
    pub grace_seconds: u32,
    /// An occurrence counts only when the machine was online so long until the next.
    pub online_seconds_min: u32,
    /// The last occurrence counts only when the next has come.
    pub needs_next: bool,
}

impl MissedRule {
    /// [`Self::grace_seconds`].
    pub fn grace(&self) -> Duration {
        Duration::seconds(self.grace_seconds.into())
    }

    /// [`Self::online_seconds_min`].
    pub fn online_min(&self) -> Duration {
        Duration::seconds(self.online_seconds_min.into())
    }
}

impl Thresholds {
    /// The defaults for a class.
    pub const fn for_class(class: MachineClass) -> Self {
        match class {
            MachineClass::Server | MachineClass::Vm => Self::always_on(),
            MachineClass::Workstation | MachineClass::Mobile => Self::sometimes_on(),
        }
    }

    const fn always_on() -> Self {
        Self {
            freshness: Freshness::Clock {
                late_after_seconds: 12 * 3600,
                error_after_occurrences: 2,
                not_protected_after_days: 3,
            },
            missed: MissedRule { in_a_row: 1, grace_seconds: 4 * 3600, online_seconds_min: 0, needs_next: false },
            first_backup_stalled_seconds: 24 * 3600,
            pause_seconds_max: 24 * 3600,
            silent_listed_days: 14,
            silent_ticket_days: 30,
        }
    }

    const fn sometimes_on() -> Self {
        Self {
            freshness: Freshness::OnlineDays { warning_after_days: 3, not_protected_after_days: 14 },
            missed: MissedRule { in_a_row: 3, grace_seconds: 0, online_seconds_min: 2 * 3600, needs_next: true },
            first_backup_stalled_seconds: 24 * 3600,
            pause_seconds_max: 24 * 3600,
            silent_listed_days: 14,
            silent_ticket_days: 30,
        }
    }
}
