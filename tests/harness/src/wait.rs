//! Waiting for a condition.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at: far below what a person or a test notices.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks at `condition` until it yields a value. An error of the condition itself ends the wait.
pub fn wait_for<T>(what: &str, at_most: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + at_most;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", at_most.as_secs());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The same for a condition that needs the network.
pub async fn wait_for_async<T, F>(what: &str, at_most: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + at_most;
    loop {
        if let Some(value) = condition().await? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", at_most.as_secs());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
