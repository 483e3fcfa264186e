//! Time and anonymous memory of a piece of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SAMPLE_EVERY: Duration = Duration::from_millis(2);

/// Anonymous resident memory in KiB; zero where the system does not tell.
pub(crate) fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// When the work was done.
    pub(crate) after_mib: f64,
    /// At most, while it was done.
    pub(crate) peak_mib: f64,
}

/// Does some work and tells what it took.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let (peak, over) = (Arc::new(AtomicU64::new(anonymous_kib())), Arc::new(AtomicBool::new(false)));
    let sampler = thread::spawn({
        let (peak, over) = (peak.clone(), over.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kib(), Ordering::Relaxed);
                thread::sleep(SAMPLE_EVERY);
            }
        }
    });
    let began = Instant::now();
    let done = work();
    let seconds = began.elapsed().as_secs_f64();
    let after = anonymous_kib();
    over.store(true, Ordering::Relaxed);
    let _ = sampler.join();
    let peak = peak.load(Ordering::Relaxed).max(after);
    (done, Measured { seconds, after_mib: after as f64 / 1024.0, peak_mib: peak as f64 / 1024.0 })
}
