//! One daemon per state directory, by a lock that goes with the process.

use std::fs::{File, TryLockError};

use super::DaemonError;
use crate::places::Places;

/// Holds the directory until it is dropped.
#[derive(Debug)]
pub(super) struct StateLock(#[expect(dead_code, reason = "held, not read: the lock lives as long as the file")] File);

/// Takes the state directory, or tells that somebody has it.
pub(super) fn take(places: &Places) -> Result<StateLock, DaemonError> {
    let path = places.lock();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| DaemonError::Prepare { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(StateLock(file)),
        Err(TryLockError::WouldBlock) => Err(DaemonError::AlreadyRunning { state: places.state.clone() }),
        Err(TryLockError::Error(source)) => Err(DaemonError::Prepare { path, source }),
    }
}
