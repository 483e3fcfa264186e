//! The role of a ticketing system.

use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};
use nightkeep_monitoring::{Action, CauseKey, Step};
use nightkeep_wire::TicketId;
use serde::{Deserialize, Serialize};

use crate::error::DeliveryError;

/// A delivery under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Result<TicketReceipt, DeliveryError>> + Send + 'a>>;

/// A ticketing system. Every implementation passes the conformance suite in `tests/suite`.
pub trait Ticketing: Send + Sync {
    /// Carries out one order.
    ///
    /// Orders of one ticket come in the order of their revisions, the next one only after this one succeeded or was
    /// rejected. The same key may come again, after a failure or a crash of ours, and must then have no second effect.
    /// A ticket that is gone on the other side is a success for every action but opening and reopening.
    fn deliver<'a>(&'a self, order: &'a TicketOrder, now: DateTime<Utc>) -> Delivering<'a>;
}

/// What shall be done with one ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketOrder {
    /// The same whenever this very order is delivered.
    pub key: String,
    /// Our id of the ticket.
    pub ticket: TicketId,
    /// What it is about; a stable reference for the other side.
    pub cause: CauseKey,
    /// Number of the step, from 1.
    pub revision: u32,
    /// The other side's reference, from an earlier receipt.
    pub reference: Option<String>,
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
}

impl TicketOrder {
    /// The order that carries out a step of the ledger.
    pub fn of(step: &Step, reference: Option<String>) -> Self {
        Self {
            key: step.idempotency_key(),
            ticket: step.record.id,
            cause: step.record.cause,
            revision: step.record.revision,
            reference,
            action: step.action.clone(),
        }
    }
}

/// What the other side answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketReceipt {
    /// Its reference for the ticket, to be kept and sent with later orders.
    #[serde(default)]
    pub reference: Option<String>,
}
