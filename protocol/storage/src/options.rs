//! How patient and how greedy a store over the network is.

use std::time::Duration;

use crate::environment::Environment;

/// Settings of a store over the network. Two of them come from the environment where it names them, for the command
/// line and for tests: `NIGHTKEEP_STORAGE_RETRY_SECONDS` and `NIGHTKEEP_STORAGE_HUNG_SECONDS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOptions {
    /// How long one call goes on trying before it fails, counted from its first try.
    pub retry_for: Duration,
    /// A request that moves next to nothing for this long is ended and tried again.
    pub hung_after: Duration,
    /// The first pause between two tries is at most this long; each further one may be twice as long.
    pub pause_first: Duration,
    /// No pause between two tries is longer.
    pub pause_max: Duration,
    /// Bytes of bodies in flight, both ways together.
    pub bytes_in_flight_max: u64,
    /// Where endpoints and credentials come from.
    pub environment: Environment,
}

/// [`StorageOptions::retry_for`]: an outage of ten minutes passes with room.
const RETRY_FOR: Duration = Duration::from_secs(15 * 60);
/// [`StorageOptions::hung_after`].
const HUNG_AFTER: Duration = Duration::from_secs(2 * 60);
/// [`StorageOptions::pause_first`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// [`StorageOptions::pause_max`]: so soon after its end an outage is noticed to be over.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// [`StorageOptions::bytes_in_flight_max`]: four packs.
const BYTES_IN_FLIGHT_MAX: u64 = 64 << 20;

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            retry_for: RETRY_FOR,
            hung_after: HUNG_AFTER,
            pause_first: PAUSE_FIRST,
            pause_max: PAUSE_MAX,
            bytes_in_flight_max: BYTES_IN_FLIGHT_MAX,
            environment: Environment::default(),
        }
    }
}

impl StorageOptions {
    /// The defaults, with what an environment says instead.
    pub fn from_environment(environment: Environment) -> Self {
        let mut options = Self::default();
        if let Some(seconds) = seconds(&environment, "NIGHTKEEP_STORAGE_RETRY_SECONDS") {
            options.retry_for = seconds;
        }
        if let Some(seconds) = seconds(&environment, "NIGHTKEEP_STORAGE_HUNG_SECONDS") {
            options.hung_after = seconds.max(Duration::from_secs(1));
        }
        Self { environment, ..options }
    }
}

fn seconds(environment: &Environment, variable: &str) -> Option<Duration> {
    let text = environment.get(variable)?;
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            tracing::warn!(variable, value = %text, "Not a number of seconds; the default is used");
            None
        }
    }
}
