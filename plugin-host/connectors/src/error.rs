//! Why a delivery failed, by what the caller can do about it.

use std::error::Error;
use std::time::Duration;

/// A delivery that failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The same order may succeed later: network, overload, a fault of the other side. Keep it and try again.
    #[error("{system} cannot take it now: {reason}")]
    Later {
        /// Address of the other side, without secrets.
        system: String,
        /// What happened.
        reason: String,
        /// When the other side wants to be asked again.
        retry_after: Option<Duration>,
        /// The cause, where there is one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Address, credentials or rights are wrong. Keep the order, tell an administrator, try again slowly.
    #[error("{system} refuses us: {reason}; check the connector's address and secret")]
    Settings {
        /// Address of the other side, without secrets.
        system: String,
        /// What happened.
        reason: String,
    },
    /// This very order is not accepted and never will be. Put it aside and go on with the next.
    #[error("{system} does not accept this order: {reason}")]
    Rejected {
        /// Address of the other side, without secrets.
        system: String,
        /// What happened.
        reason: String,
    },
}
