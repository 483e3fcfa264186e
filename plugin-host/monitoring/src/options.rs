//! What an administrator can set. The defaults are those of product.md A-DEC "Tickets and mail".

use chrono::Duration;
use serde::{Deserialize, Serialize};

/// Options of monitors and tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The master switch "Ticket and alert integration": off stops tickets, alerts and table writes together. Switching
    /// it on again starts from what holds then; nothing is replayed.
    pub enabled: bool,
    /// Life of a ticket.
    pub tickets: TicketOptions,
    /// How long something must hold before it is a ticket.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        Self { enabled: true, tickets: TicketOptions::default(), timing: Timing::default() }
    }
}

/// Life of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TicketOptions {
    /// Open tickets.
    pub create: bool,
    /// Resolve them when the cause is gone; off leaves a note only.
    pub resolve: bool,
    /// Open the last one again when the cause comes back soon; none opens a new one.
    pub reopen: Option<Reopen>,
}

impl Default for TicketOptions {
    fn default() -> Self {
        Self { create: true, resolve: true, reopen: Some(Reopen { days: 7, occurrences: 3 }) }
    }
}

impl TicketOptions {
    /// Tickets are opened and nothing else: people close and reopen them.
    pub const fn create_only() -> Self {
        Self { create: true, resolve: false, reopen: None }
    }
}

/// How long after it was resolved a ticket is opened again: the longer of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopen {
    /// Days.
    pub days: u32,
    /// Scheduled occurrences of the machine's plan.
    pub occurrences: u32,
}

/// How long something must hold before it is a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// No ticket for a machine so soon after its enrolment.
    pub quiet_after_enrolment_hours: u32,
    /// Storage, credentials and whatever else many machines share.
    pub shared_cause_minutes: u32,
    /// Not protected, for machines that are always on.
    pub not_protected_server_hours: u32,
    /// Not protected, for the others.
    pub not_protected_workstation_hours: u32,
    /// Failed runs in a row before a workstation's error is a ticket; a server's is one at once.
    pub workstation_errors_in_a_row: u32,
    /// From so many customers on, the same shared cause is one for the whole host.
    pub customers_for_everywhere: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            quiet_after_enrolment_hours: 72,
            shared_cause_minutes: 30,
            not_protected_server_hours: 24,
            not_protected_workstation_hours: 72,
            workstation_errors_in_a_row: 2,
            customers_for_everywhere: 3,
        }
    }
}

impl Timing {
    pub(crate) fn quiet_after_enrolment(&self) -> Duration {
        Duration::hours(self.quiet_after_enrolment_hours.into())
    }

    pub(crate) fn shared_cause(&self) -> Duration {
        Duration::minutes(self.shared_cause_minutes.into())
    }

    pub(crate) fn not_protected(&self, always_on: bool) -> Duration {
        let hours = if always_on { self.not_protected_server_hours } else { self.not_protected_workstation_hours };
        Duration::hours(hours.into())
    }
}
