//! Verdicts in; monitors, alerts and ticket actions out.
//!
//! Invariant: pure. A scan calls [`rows`] and [`reconcile`] with everything it knows and stores what comes back; calling
//! them again with that stored gives nothing more to do.

mod cause;
mod digest;
mod group;
mod input;
mod monitor;
mod options;
mod reconcile;
mod rows;
mod ticket;

pub use cause::{CauseKey, Topic};
pub use digest::{Digest, DigestLine, digests};
pub use group::{Cause, causes};
pub use input::{Condition, MachineInput};
pub use monitor::{Monitor, Severity};
pub use options::{Options, Reopen, TicketOptions, Timing};
pub use reconcile::reconcile;
pub use rows::{Row, Subject, rows};
pub use ticket::{
    Action, MACHINES_LISTED_MAX, Priority, SUMMARY_CHARS_MAX, Step, TicketContent, TicketRecord, TicketState,
};
