//! The time: the machine's clock, corrected by what the host says when the two are far apart.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Duration, Utc};

/// Gives the time. Passed in, so that tests have their own.
pub(crate) trait Clock: Send + Sync {
    /// The moment.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock plus the offset learned from the host.
#[derive(Debug, Default)]
pub(crate) struct HostClock {
    offset_ms: AtomicI64,
}

impl HostClock {
    /// Takes over the host's time; everything dated from now on follows it.
    pub(crate) fn learn(&self, host_unix_ms: i64) {
        let offset = host_unix_ms.saturating_sub(Utc::now().timestamp_millis());
        tracing::warn!(offset_ms = offset, "This machine's clock is wrong; the host's time is used instead");
        self.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Milliseconds since 1970, as requests are dated.
    pub(crate) fn unix_ms(&self) -> u64 {
        u64::try_from(self.now().timestamp_millis()).unwrap_or(0)
    }
}

impl Clock for HostClock {
    fn now(&self) -> DateTime<Utc> {
        let offset = Duration::milliseconds(self.offset_ms.load(Ordering::Relaxed));
        Utc::now().checked_add_signed(offset).unwrap_or_else(Utc::now)
    }
}
