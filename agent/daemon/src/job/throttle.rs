//! A store that keeps to a rate: bytes put to it and bytes read from it, whatever store lies beneath.
//!
//! Invariant: over any span in which one rate holds, at most rate times span bytes move in a direction, plus the one object
//! that the span began with. Each direction is one queue for all threads of a run.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nightkeep_rules::limits::Limits;
use nightkeep_vault::store::{Layer, ObjectName, Put, Store, StoreError};

/// Waiting is cut into pieces, so that a stop and another hour's rate are noticed soon.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Time for the store. Passed in, so that tests have their own.
pub(super) trait Pulse: Send + Sync {
    /// Since some moment in the past; never goes back.
    fn passed(&self) -> Duration;
    /// What holds now.
    fn limits(&self) -> Limits;
    /// Lets time pass. False when the run was asked to end: then nothing waits any more.
    fn wait(&self, span: Duration) -> bool;
}

/// The store.
pub(super) struct ThrottledStore<P> {
    inner: Arc<dyn Store>,
    pulse: P,
    up: Mutex<Debt>,
    down: Mutex<Debt>,
}

/// Bytes that moved and that time has not paid for.
#[derive(Debug, Default)]
struct Debt {
    bytes: f64,
    at: Duration,
}

impl Debt {
    /// Takes off what time has paid, and answers how long the rest takes. No limit forgives everything.
    fn due(&mut self, rate: Option<u64>, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let Some(rate) = rate.filter(|rate| *rate > 0) else {
            self.bytes = 0.0;
            return Duration::ZERO;
        };
        self.bytes = (self.bytes - passed.as_secs_f64() * rate as f64).max(0.0);
        // A rate below one byte a day is refused long before; still nothing here may overflow.
        Duration::try_from_secs_f64(self.bytes / rate as f64).unwrap_or(WAIT_MAX)
    }
}

impl<P: Pulse> ThrottledStore<P> {
    pub(super) fn new(inner: Arc<dyn Store>, pulse: P) -> Self {
        Self { inner, pulse, up: Mutex::default(), down: Mutex::default() }
    }

    /// Waits until the direction is free, and takes it for so many bytes.
    fn take(&self, debt: &Mutex<Debt>, rate: fn(&Limits) -> Option<u64>, bytes: u64) {
        loop {
            let due = {
                let mut debt = debt.lock().unwrap_or_else(PoisonError::into_inner);
                let due = debt.due(rate(&self.pulse.limits()), self.pulse.passed());
                if due.is_zero() {
                    debt.bytes += bytes as f64;
                    return;
                }
                due
            };
            if !self.pulse.wait(due.min(WAIT_MAX)) {
                return;
            }
        }
    }
}

impl<P: Pulse> Layer for ThrottledStore<P> {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.take(&self.up, |limits| limits.upload_bytes_per_second, bytes.len() as u64);
        self.inner.put_create(name, bytes)
    }

    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        self.take(&self.up, |limits| limits.upload_bytes_per_second, bytes.len() as u64);
        self.inner.put_create_shared(name, bytes)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        // How many there are is known afterwards, so it is the next one that waits.
        self.take(&self.down, |limits| limits.download_bytes_per_second, 0);
        let bytes = self.inner.get_range(name, range)?;
        self.down.lock().unwrap_or_else(PoisonError::into_inner).bytes += bytes.len() as f64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
