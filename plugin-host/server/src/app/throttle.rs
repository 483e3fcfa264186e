//! Slows down guessing of passwords.
//!
//! Invariant: a name fails at most [`FAILURES_MAX`] times per window, whether it exists or not; bounded memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};

/// Failures of one name before it has to wait.
const FAILURES_MAX: u32 = 10;
/// How long failures count.
const WINDOW: Duration = Duration::minutes(5);
/// Names remembered; beyond it the oldest window is forgotten first.
const NAMES_MAX: usize = 10_000;

/// Failures by name.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<String, (DateTime<Utc>, u32)>>);

impl Throttle {
    /// Whether another try is allowed now.
    pub(crate) fn allows(&self, name: &str, now: DateTime<Utc>) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(name).is_none_or(|(since, count)| now - *since > WINDOW || *count < FAILURES_MAX)
    }

    /// Notes a failure.
    pub(crate) fn failed(&self, name: &str, now: DateTime<Utc>) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= NAMES_MAX {
            failures.retain(|_, (since, _)| now - *since <= WINDOW);
        }
        if failures.len() >= NAMES_MAX {
            failures.clear();
        }
        let entry = failures.entry(name.chars().take(100).collect()).or_insert((now, 0));
        *entry = if now - entry.0 > WINDOW { (now, 1) } else { (entry.0, entry.1 + 1) };
    }

    /// Forgets the failures of a name that succeeded.
    pub(crate) fn succeeded(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
