//! What the daemon's tasks share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::identity::Identity;
use crate::outbox::Outbox;

const SLEEP_MIN: Duration = Duration::from_millis(250);

/// The identity: changed by the poller (vault) and the reporter (incarnation). Never held across an await.
pub(super) type SharedIdentity = Arc<Mutex<Identity>>;
/// The outbox: written by the driver, emptied by the reporter. Never held across an await.
pub(super) type SharedOutbox = Arc<Mutex<Outbox>>;

/// A lock whose holder panicked still guards data that is whole: every change to it is one assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between half and the whole of a pause, so that a fleet does not come back at the same moment.
pub(super) fn jittered(pause: Duration) -> Duration {
    let [random] = nightkeep_vault::crypto::random::<1>();
    pause / 2 + pause / 2 * u32::from(random) / 255
}

/// Sleeps, but not past a notification; never less than a quarter of a second, so that no fault makes a busy loop.
pub(super) async fn sleep_or(pause: Duration, notified: &Notify) {
    tokio::time::sleep(pause.min(SLEEP_MIN)).await;
    let _ = tokio::time::timeout(pause.saturating_sub(SLEEP_MIN), notified.notified()).await;
}

/// A failure that must not end the daemon is told where somebody can act on it.
pub(super) fn log_failure<E: std::error::Error + 'static>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(error = &error as &dyn std::error::Error, "{what}");
    }
}
