//! How long to wait before a delivery is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait after the given number of failed tries: half a minute, doubled up to an hour, never below what the other side
/// asked for (up to a day). Orders are kept for ever, so a ticketing system that is away for a week loses nothing.
///
/// `jitter` from 0 to 255 takes off up to a quarter, so that many orders do not come back at the same second.
pub fn retry_delay(failed_tries: u32, asked_for: Option<Duration>, jitter: u8) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failed_tries.saturating_sub(1).min(16)).min(LONGEST);
    let spread = doubled - doubled / 1024 * u32::from(jitter);
    let asked_for = asked_for.unwrap_or_default().min(Duration::from_secs(24 * 3600));
    spread.max(asked_for)
}
