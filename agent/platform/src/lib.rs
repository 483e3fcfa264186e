//! The only home of operating-system code and of `unsafe`.
//!
//! Callers see one facade per subject (`files`, `mounts`, `ipc`, ...); a file per operating system stands behind it.
//!
//! **Invariant**: what a system cannot do is answered as [`Unsupported`] or as an empty result the facade documents,
//! never by a silent imitation.

pub mod accounts;
pub mod awake;
#[cfg(target_os = "linux")]
mod bus;
pub mod child;
pub mod event_log;
pub mod files;
pub mod host;
pub mod ipc;
pub mod journal;
pub mod memory;
pub mod mounts;
pub mod names;
pub mod network;
#[cfg(windows)]
mod nt;
pub mod paths;
pub mod power;
pub mod privacy;
pub mod process;
pub mod restore;
pub mod secret_file;
pub mod service;
pub mod trusted;
pub mod volume_snapshot;
pub mod xattrs;

/// This operating system has no such facility, or this build does not use it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not supported on {}", std::env::consts::OS)]
pub struct Unsupported {
    /// The facility, as a noun.
    pub what: &'static str,
}

impl From<Unsupported> for std::io::Error {
    fn from(unsupported: Unsupported) -> Self {
        Self::new(std::io::ErrorKind::Unsupported, unsupported)
    }
}
