//! A limit on upload bytes per second over all threads of a run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Each upload pushes the moment at which the next may begin.
pub(super) struct RateLimit {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Instant>,
}

impl RateLimit {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// How long to wait before sending so many bytes.
    pub(super) fn due(&self, bytes: u64) -> Duration {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else { return Duration::ZERO };
        let now = Instant::now();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*free_at).max(now);
        *free_at = begins + Duration::from_secs_f64(bytes as f64 / rate as f64);
        begins.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_queue_behind_each_other_at_the_limit_and_not_without_one() {
        let limit = RateLimit::new(Some(1000));
        assert_eq!(limit.due(5000), Duration::ZERO);
        let wait = limit.due(1);
        assert!(wait > Duration::from_millis(4900) && wait <= Duration::from_secs(5), "{wait:?}");
        let free = RateLimit::new(None);
        assert_eq!((free.due(1 << 40), free.due(1)), (Duration::ZERO, Duration::ZERO));
    }
}
