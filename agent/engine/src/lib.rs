//! Files to vault and back: scan, compare, chunk, back up, restore, check.
//!
//! **Invariant**: one file's trouble is a finding and the run goes on; the vault's trouble ends the run. The engine knows
//! no hosts and no plans; threads, bounded queues, and nothing asynchronous.

pub mod backup;
pub mod changed;
pub mod check;
pub mod chunker;
pub mod exclude;
pub mod progress;
pub mod restore;
pub mod source;
