//! Bytes counted over a virtual clock.

#![expect(clippy::unwrap_used, reason = "a test that cannot store has failed")]

use super::*;
use crate::job::limits::LimitsOf;
use chrono::{DateTime, Timelike as _, Utc};
use nightkeep_vault::store::MemoryStore;
use nightkeep_wire::plan::{LimitWindow, PlanOptions};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Time that passes only by waiting, and by what each object takes on a line of ten megabytes a second.
struct Virtual {
    from: DateTime<Utc>,
    passed_ms: AtomicU64,
    limits: LimitsOf,
    stopped: AtomicBool,
}

impl Virtual {
    fn now(&self) -> DateTime<Utc> {
        self.from + self.passed()
    }
}

impl Pulse for Arc<Virtual> {
    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }

    fn limits(&self) -> Limits {
        self.limits.at(self.now())
    }

    fn wait(&self, span: Duration) -> bool {
        // What is waited for has passed, also where it is less than a millisecond.
        let ms = u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap();
        self.passed_ms.fetch_add(ms, Ordering::Relaxed);
        !self.stopped.load(Ordering::Relaxed)
    }
}

impl Virtual {
    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }
}

fn rig(options: PlanOptions, machine: Option<u64>, from: &str) -> (Arc<Virtual>, Arc<dyn Store>) {
    let clock = Arc::new(Virtual {
        from: from.parse().unwrap(),
        passed_ms: AtomicU64::new(0),
        limits: LimitsOf { options, zone: chrono_tz::Europe::Berlin, upload_bytes_per_second_max: machine },
        stopped: AtomicBool::new(false),
    });
    let store = ThrottledStore::new(Arc::new(MemoryStore::new()), clock.clone());
    (clock, Arc::new(store))
}

fn working_hours(upload: Option<u64>) -> LimitWindow {
    LimitWindow {
        weekdays: Vec::new(),
        from: "08:00".parse().unwrap(),
        until: "18:00".parse().unwrap(),
        upload_bytes_per_second_max: upload,
        download_bytes_per_second_max: Some(20_000),
        cpu_percent_max: None,
    }
}

const OBJECT: usize = 1_000_000;

/// Puts for so long, each object at the moment at which the store let it go.
fn put_for(clock: &Virtual, store: &dyn Store, span: Duration) -> Vec<(DateTime<Utc>, u64)> {
    let (bytes, mut moved) = (vec![7; OBJECT], Vec::new());
    while clock.passed() < span {
        let name = ObjectName::new(format!("i/{}", moved.len())).unwrap();
        assert_eq!(store.put_create(&name, &bytes).unwrap(), Put::Created);
        moved.push((clock.now(), OBJECT as u64));
        clock.passed_ms.fetch_add(OBJECT as u64 / 10_000, Ordering::Relaxed);
    }
    moved
}

#[test]
fn bytes_put_keep_to_the_rate_of_the_hour_and_use_it() {
    let options = PlanOptions {
        upload_bytes_per_second_max: Some(1_000_000),
        limit_windows: vec![working_hours(Some(50_000))],
        ..PlanOptions::default()
    };
    // 06:00 to 20:00 in Berlin.
    let (clock, store) = rig(options, None, "2026-11-26T05:00:00Z");
    let moved = put_for(&clock, &*store, Duration::from_secs(14 * 3600));
    let mut by_hour = [0u64; 24];
    for (at, bytes) in &moved {
        by_hour[at.with_timezone(&chrono_tz::Europe::Berlin).hour() as usize] += bytes;
    }
    for (hour, bytes) in by_hour.into_iter().enumerate().skip(6).take(14) {
        let rate = if (8..18).contains(&hour) { 50_000 } else { 1_000_000 };
        let most = rate * 3600 + OBJECT as u64;
        let least = rate * 3600 * 98 / 100 - OBJECT as u64;
        assert!((least..=most).contains(&bytes), "{bytes} bytes from {hour}:00, allowed {least} to {most}");
    }
    // Over any ten minutes too, not on average alone.
    for window in moved.windows(40) {
        let (from, until) = (window[0].0, window[39].0);
        let seconds = (until - from).num_milliseconds() as f64 / 1000.0;
        let bytes: u64 = window[1..].iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes as f64 <= seconds * 1_000_000.0 + OBJECT as f64, "{bytes} in {seconds} s from {from}");
    }
}

#[test]
fn the_machines_own_limit_holds_in_every_window() {
    let options = PlanOptions { limit_windows: vec![working_hours(None)], ..PlanOptions::default() };
    let (clock, store) = rig(options, Some(100_000), "2026-11-26T09:00:00Z");
    let moved = put_for(&clock, &*store, Duration::from_secs(1000));
    let total: u64 = moved.iter().map(|(_, bytes)| bytes).sum();
    assert!((98_000_000..=102_000_000).contains(&total), "{total}");
}

#[test]
fn bytes_read_keep_to_a_rate_of_their_own() {
    let options = PlanOptions { limit_windows: vec![working_hours(None)], ..PlanOptions::default() };
    let (clock, store) = rig(options, None, "2026-11-26T09:00:00Z");
    let name = ObjectName::new("i/0").unwrap();
    store.put_create(&name, &vec![7; OBJECT]).unwrap();
    assert_eq!(clock.passed(), Duration::ZERO, "nothing limits what is put");
    let mut read = 0;
    for n in 0..100u64 {
        read += store.get_range(&name, n * 1000..n * 1000 + 5000).unwrap().len();
    }
    let seconds = clock.passed().as_secs_f64();
    assert_eq!(read, 500_000);
    assert!((24.7..26.0).contains(&seconds), "{read} bytes in {seconds} s at 20000 a second");
}

#[test]
fn without_limits_nothing_waits_and_a_stop_ends_waiting() {
    let (clock, store) = rig(PlanOptions::default(), None, "2026-11-26T09:00:00Z");
    for n in 0..50 {
        store.put_create(&ObjectName::new(format!("i/{n}")).unwrap(), &[1; 9000]).unwrap();
    }
    assert_eq!(clock.passed(), Duration::ZERO);
    let slow = PlanOptions { upload_bytes_per_second_max: Some(1024), ..PlanOptions::default() };
    let (clock, store) = rig(slow, None, "2026-11-26T09:00:00Z");
    store.put_create(&ObjectName::new("i/0").unwrap(), &vec![1; OBJECT]).unwrap();
    clock.stopped.store(true, Ordering::Relaxed);
    store.put_create(&ObjectName::new("i/1").unwrap(), b"x").unwrap();
    assert!(clock.passed() < Duration::from_secs(2), "{:?}", clock.passed());
}
