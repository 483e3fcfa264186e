//! An interrupted run goes on: what it confirmed is neither read nor sent again.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::backup::{self, BackupError, BackupOptions, Executor};
use nightkeep_engine::progress::{Silent, Stop, StopKind};
use nightkeep_vault::store::{Layer, MemoryStore, ObjectName, Put, Store, StoreError};
use nightkeep_vault::vault::Vault;
use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use support::{Bench, LateClock, StopAt, noise, write};

/// What is on the way when a run is cut off: the batch that is being read, and the packs that are filled.
const ON_THE_WAY: u64 = 5_000_000;

/// Small files and larger ones; 29 MB.
fn make_tree(bench: &Bench) {
    for n in 0..100u64 {
        write(&bench.source().join(format!("many/{:02}/file-{n}", n / 10)), &noise(20_000, n));
    }
    for n in 0..60u64 {
        write(&bench.source().join(format!("other/{n:02}")), &noise(400_000, 1000 + n));
    }
    write(&bench.source().join("text"), "the same line again and again\n".repeat(100_000).as_bytes());
}

fn interrupt(bench: &Bench, options: &BackupOptions, at: u64) {
    let watch = StopAt::new(at, StopKind::Interrupt);
    let stopped = bench.run_with(options, &watch, &watch.stop.clone());
    assert!(matches!(stopped, Err(BackupError::Stopped(StopKind::Interrupt))), "{stopped:?}");
}

#[test]
fn what_an_interrupted_run_confirmed_is_neither_read_nor_sent_again() {
    let bench = Bench::new();
    make_tree(&bench);
    let threads = Executor::Threads { workers: 2, uploads: 2 };
    for (executor, at) in [(Executor::Inline, 6_000_000), (threads, 13_000_000), (Executor::Inline, 20_000_000)] {
        let options = BackupOptions { executor, ..bench.options() };
        interrupt(&bench, &options, at);
    }
    let sent = bench.stored_bytes();
    let report = bench.run(&bench.options()).unwrap();
    assert!(report.resumed_from.is_some());
    assert_eq!(report.parent, None);
    let left = report.totals.bytes - 20_000_000;
    assert!(report.totals.bytes_read < left + ON_THE_WAY, "{:?}", report.totals);
    assert!(bench.stored_bytes() - sent < left + ON_THE_WAY, "{} bytes sent again", bench.stored_bytes() - sent);
    bench.assert_restores_the_source();
}

#[test]
fn a_later_interruption_never_confirms_less_than_the_one_before() {
    let bench = Bench::new();
    make_tree(&bench);
    interrupt(&bench, &bench.options(), 20_000_000);
    // The second run comes to little more than the first hunks before it is cut off, but sends something new.
    write(&bench.source().join("a-new-one"), &noise(9_000_000, 7));
    interrupt(&bench, &bench.options(), 9_500_000);
    let report = bench.run(&bench.options()).unwrap();
    let left = report.totals.bytes - 9_000_000 - 20_000_000;
    assert!(report.totals.bytes_read < left + ON_THE_WAY, "{:?}", report.totals);
    bench.assert_restores_the_source();
}

#[test]
fn what_changed_since_the_interruption_is_read_again() {
    let bench = Bench::new();
    make_tree(&bench);
    interrupt(&bench, &bench.options(), 9_000_000);
    write(&bench.source().join("many/00/file-3"), &noise(20_000, 5555));
    fs::remove_file(bench.source().join("many/01/file-11")).unwrap();
    bench.run(&bench.options()).unwrap();
    bench.assert_restores_the_source();
}

#[test]
fn a_finished_run_supersedes_the_partial_points_before_it() {
    let bench = Bench::new();
    make_tree(&bench);
    interrupt(&bench, &bench.options(), 9_000_000);
    assert_eq!(bench.live_partials().len(), 1);
    assert_eq!(bench.points().len(), 0, "a partial is no recovery point");
    bench.run(&bench.options()).unwrap();
    assert_eq!(bench.live_partials().len(), 0);
    let again = bench.run(&bench.options()).unwrap();
    assert_eq!((again.resumed_from, again.totals.bytes_read), (None, 0));
}

#[test]
fn an_interrupted_run_after_a_finished_one_has_both_as_parents() {
    let bench = Bench::new();
    make_tree(&bench);
    let first = bench.run(&bench.options()).unwrap();
    for n in 0..60u64 {
        write(&bench.source().join(format!("other/{n:02}")), &noise(400_000, 2000 + n));
    }
    interrupt(&bench, &bench.options(), 20_000_000);
    let report = bench.run(&bench.options()).unwrap();
    assert_eq!(report.parent, Some(first.point));
    assert!(report.resumed_from.is_some());
    let left = report.totals.bytes - 20_000_000;
    assert!(report.totals.bytes_read < left + ON_THE_WAY, "{:?}", report.totals);
    bench.assert_restores_the_source();
}

#[test]
fn another_source_does_not_go_on_from_it() {
    let bench = Bench::new();
    make_tree(&bench);
    interrupt(&bench, &bench.options(), 9_000_000);
    let mut options = bench.options();
    options.source.roots = vec![b"many".to_vec()];
    assert_eq!(bench.run(&options).unwrap().resumed_from, None);
    assert_eq!(bench.live_partials().len(), 1, "nor does it supersede it");
}

#[test]
fn a_discarded_run_leaves_no_partial_point() {
    let bench = Bench::new();
    make_tree(&bench);
    let watch = StopAt::new(9_000_000, StopKind::Discard);
    let stopped = bench.run_with(&bench.options(), &watch, &watch.stop.clone());
    assert!(matches!(stopped, Err(BackupError::Stopped(StopKind::Discard))));
    assert_eq!(bench.live_partials().len(), 0);
    assert_eq!(bench.run(&bench.options()).unwrap().resumed_from, None);
    bench.assert_restores_the_source();
}

/// A store in which the catalogue gets nothing done while data goes on being put, and that then fails.
struct Stuck {
    inner: MemoryStore,
    data_packs: Mutex<usize>,
    put: Condvar,
}

/// The tree makes some seventy packs.
const PACKS_BEFORE_IT_FAILS: usize = 50;
/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

impl Layer for Stuck {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        let mut packs = self.data_packs.lock().unwrap();
        if name.as_str().starts_with("m/") {
            let few = |packs: &mut usize| *packs < PACKS_BEFORE_IT_FAILS;
            packs = self.put.wait_timeout_while(packs, PATIENCE, few).unwrap().0;
        }
        if *packs >= PACKS_BEFORE_IT_FAILS {
            return Err(StoreError::Failed { operation: "put", name: name.to_string(), source: "away".into() });
        }
        if name.as_str().starts_with("p/") {
            *packs += 1;
            self.put.notify_all();
        }
        drop(packs);
        self.inner.put_create(name, bytes)
    }
}

#[test]
fn what_was_sent_is_not_sent_again_although_the_catalogue_was_far_behind() {
    let bench = Bench::new();
    make_tree(&bench);
    let stuck = Arc::new(Stuck { inner: bench.store.clone(), data_packs: Mutex::default(), put: Condvar::new() });
    let root = bench.vault.root().unwrap().clone();
    let vault = Arc::new(Vault::open_owner(stuck.clone(), bench.vault.id(), root).unwrap());
    let options = BackupOptions { executor: Executor::Threads { workers: 2, uploads: 2 }, ..bench.options() };
    let failed = backup::run(&vault, &options, &LateClock, &Silent, &Stop::new());
    assert!(failed.is_err() && *stuck.data_packs.lock().unwrap() >= PACKS_BEFORE_IT_FAILS, "{failed:?}");
    let sent = bench.stored_bytes();
    let report = bench.run(&bench.options()).unwrap();
    // Noise is stored as it is; the text comes to nothing.
    let (noise, again) = (26_000_000, bench.stored_bytes() - sent);
    assert!(sent + again < noise + ON_THE_WAY, "{sent} bytes were sent, and {again} after that: {:?}", report.totals);
    bench.assert_restores_the_source();
}
