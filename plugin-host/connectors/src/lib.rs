//! The world outside: ticketing systems now; RMM inventory, mail and more as they come. One trait per role.
//!
//! Invariant: a connector changes nothing on our side. It delivers what it is given under the key it is given, and says
//! what the caller can do when that fails.

mod backoff;
mod error;
mod signature;
mod ticketing;
mod webhook;

pub use backoff::retry_delay;
pub use error::DeliveryError;
pub use signature::{Secret, SecretError, SignatureError, sign, verify};
pub use ticketing::{Delivering, TicketOrder, TicketReceipt, Ticketing};
pub use webhook::{Webhook, WebhookConfig, WebhookConfigError};
