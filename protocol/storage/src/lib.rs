//! Vaults in object storage: S3, Azure and Google behind the vault's [`Store`] trait, over the network.
//!
//! **Invariant**: what a put answers is true. A try whose answer was lost is never taken for a success or a failure: the
//! next try finds out, by the bytes, whether it was stored.

mod attempt;
mod cloud;
mod environment;
mod failure;
mod listing;
mod location;
mod options;
mod probe;
mod profile;
mod provider;
mod retry;
mod runtime;
mod transport;

pub use environment::Environment;
pub use location::{LocationError, is_remote, open_location, open_location_with};
pub use options::StorageOptions;
pub use probe::{ProbeError, Races, probe_create_only};

#[cfg(doc)]
use nightkeep_vault::store::Store;
