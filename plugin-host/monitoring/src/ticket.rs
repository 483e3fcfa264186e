//! A ticket in our own ledger, and what is done with it in the ticketing system.
//!
//! ```text
//! (none) --Open--> Open --Resolve--> Resolved --Reopen--> Open
//!                   |  ^
//!                   '--' Update, Note
//! ```
//!
//! Invariant: each step raises the record's revision by one, and (ticket, revision) is the key under which its action is
//! delivered, so that a repeated delivery changes nothing.

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::{CustomerId, MachineId, TicketId};
use serde::{Deserialize, Serialize};

use crate::cause::CauseKey;
use crate::monitor::Severity;

/// Longest summary, in characters: what common ticketing systems take.
pub const SUMMARY_CHARS_MAX: usize = 100;

/// A ticket as our ledger holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRecord {
    /// Our id.
    pub id: TicketId,
    /// What it is about.
    pub cause: CauseKey,
    /// Where it stands.
    pub state: TicketState,
    /// Grows by one with every step.
    pub revision: u32,
    /// What was said last, without figures that change all the time; another one is worth a note.
    pub fingerprint: String,
    /// A person took it or logged time: it is never closed by us.
    pub human: bool,
    /// That the cause is gone was noted; the ticket stays open for its person.
    pub cleared_noted: bool,
    /// Time between two occurrences when it was opened; decides how long it can be reopened.
    pub plan_interval_seconds: Option<i64>,
}

impl TicketRecord {
    pub(crate) fn plan_interval(&self) -> Duration {
        Duration::try_seconds(self.plan_interval_seconds.unwrap_or(0)).unwrap_or_default()
    }
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TicketState {
    /// Open since then.
    Open {
        /// When it was opened, or opened again.
        at: DateTime<Utc>,
    },
    /// Resolved by us or closed by a person.
    Resolved {
        /// When.
        at: DateTime<Utc>,
    },
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketContent {
    /// One line, at most [`SUMMARY_CHARS_MAX`] characters.
    pub summary: String,
    /// Plain text.
    pub body: String,
    /// How bad.
    pub severity: Severity,
    /// How soon.
    pub priority: Priority,
    /// The customer; none when it concerns the whole host.
    pub customer: Option<CustomerId>,
    /// Machines concerned, at most [`MACHINES_LISTED_MAX`].
    pub machines: Vec<MachineId>,
    /// How many in all.
    pub machine_count: usize,
}

/// Most machines listed in a ticket.
pub const MACHINES_LISTED_MAX: usize = 50;

/// How soon a ticket wants a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When there is time: chase or retire.
    Low,
    /// Workstations.
    Medium,
    /// Servers, and whatever many machines share.
    High,
}

/// What is done with a ticket in the ticketing system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Create it.
    Open {
        /// What it says.
        content: TicketContent,
    },
    /// Rewrite it and add a note.
    Update {
        /// What it says now.
        content: TicketContent,
        /// Why.
        note: String,
    },
    /// Add a note and nothing else.
    Note {
        /// The note.
        note: String,
    },
    /// Close it.
    Resolve {
        /// Why.
        note: String,
    },
    /// Open it again.
    Reopen {
        /// What it says now.
        content: TicketContent,
        /// Why.
        note: String,
    },
}

/// One step of one ticket: the record to store and the action to deliver, both or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The record after the step.
    pub record: TicketRecord,
    /// What to do outside.
    pub action: Action,
}

impl Step {
    /// The key under which the action is delivered.
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}", self.record.id, self.record.revision)
    }
}
