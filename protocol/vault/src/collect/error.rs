//! Why a collection did not take place. Nothing was deleted then.

use crate::id::MachineId;
use crate::store::{ObjectName, StoreError};
use crate::vault::VaultError;

/// Why a collector changed nothing, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A listing leaves out what is there.
    #[error(
        "the storage's listing is not complete: {what} is there but was not listed; nothing was deleted, try again later"
    )]
    Shrunken {
        /// What was left out.
        what: String,
    },
    /// A point that was seen before is gone.
    #[error(
        "recovery point {sequence} of machine {machine} was there at the last collection and is gone: the storage was \
         rolled back or points were deleted behind our back; nothing was deleted, run `check` and ask the storage's provider"
    )]
    RolledBack {
        /// The machine.
        machine: MachineId,
        /// The sequence of its point.
        sequence: u64,
    },
    /// A sequence is neither a point nor forgotten.
    #[error("recovery point {sequence} of machine {machine} is missing; nothing was deleted, run `check`")]
    Gap {
        /// The sequence.
        sequence: u64,
        /// The machine.
        machine: String,
    },
    /// A point does not follow the one before it.
    #[error(
        "{name} does not follow the recovery point before it: one of them was exchanged; nothing was deleted, run `check`"
    )]
    Exchanged {
        /// The point.
        name: ObjectName,
    },
    /// A point cannot be read, so nobody knows what it needs.
    #[error("{name} cannot be read, so what it needs is not known; nothing was deleted: {text}")]
    Unreadable {
        /// The point.
        name: ObjectName,
        /// What is wrong with it.
        text: String,
    },
    /// Less is needed than before, and nobody dropped anything.
    #[error(
        "recovery points need {now} bytes where they needed {before}, though none was forgotten; nothing was deleted, run `check`"
    )]
    LiveFell {
        /// Bytes needed at the last collection.
        before: u64,
        /// Bytes needed now.
        now: u64,
    },
    /// There are packs and nothing that could need them.
    #[error(
        "the storage lists {packs} packs but no recovery point, session or forgotten point; nothing was deleted, run `check`"
    )]
    NoPoints {
        /// How many packs there are.
        packs: usize,
    },
    /// Another collector is at work.
    #[error("another collection is at work on this vault; try again when it is done")]
    Raced,
    /// The vault or its storage failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<StoreError> for CollectError {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}
