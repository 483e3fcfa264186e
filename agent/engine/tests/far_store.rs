//! A store that is far away: how many requests a restore asks, and how many of them are under way at once.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::backup::BackupOptions;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_vault::store::{Layer, MemoryStore, ObjectInfo, ObjectName, Store, StoreError};
use nightkeep_vault::vault::Vault;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use support::{Bench, noise, write};

/// So many reads of data must meet, or the restore would wait for them one after the other.
const MEET: u64 = 6;
/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers the first reads of data only when enough of them are under way.
struct Far {
    inner: MemoryStore,
    reads: AtomicU64,
    /// Questions for the length of a pack of data.
    lengths: AtomicU64,
    under_way: Mutex<u64>,
    arrived: Condvar,
    most: AtomicU64,
}

impl Far {
    fn meet(&self) {
        let mut under_way = self.under_way.lock().unwrap();
        *under_way += 1;
        self.most.fetch_max(*under_way, Ordering::Relaxed);
        self.arrived.notify_all();
        let waits = |_: &mut u64| self.most.load(Ordering::Relaxed) < MEET;
        let (mut under_way, _) = self.arrived.wait_timeout_while(under_way, PATIENCE, waits).unwrap();
        *under_way -= 1;
    }
}

impl Layer for Far {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        // Longer than header and footer: blocks.
        if name.as_str().starts_with("p/") && range.end - range.start > 1 << 20 {
            self.meet();
        }
        self.inner.get_range(name, range)
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.lengths.fetch_add(u64::from(name.as_str().starts_with("p/")), Ordering::Relaxed);
        self.inner.head(name)
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.list(prefix, after, limit)
    }

    fn parallelism(&self) -> usize {
        16
    }
}

#[test]
fn a_far_store_is_asked_seldom_and_for_many_ranges_at_once() {
    let bench = Bench::new();
    for n in 0..3000u64 {
        write(&bench.source().join(format!("folder-{:02}/file-{n}", n % 40)), &noise(9000, n));
    }
    write(&bench.source().join("large"), &noise(20 << 20, 99));
    bench.run(&BackupOptions { pack_bytes: 16 << 20, ..bench.options() }).unwrap();
    let point = bench.points().pop().unwrap();

    let (inner, [reads, lengths, most]) = (bench.store.clone(), std::array::from_fn(|_| AtomicU64::new(0)));
    let far = Arc::new(Far { inner, reads, lengths, under_way: Mutex::new(0), arrived: Condvar::new(), most });
    let root = bench.vault.root().unwrap().clone();
    let vault = Arc::new(Vault::open_owner(far.clone(), bench.vault.id(), root).unwrap());
    let target = bench.dir.path().join("target");
    let options = RestoreOptions { target, include: Vec::new(), overwrite: false, workers: 2 };
    let report = restore::run(&vault, &point, &options, &Silent, &Stop::new()).unwrap();
    assert_eq!(report.findings, []);

    assert!(far.most.load(Ordering::Relaxed) >= MEET, "ranges are fetched one after the other");
    assert_eq!(far.lengths.load(Ordering::Relaxed), 0, "the index tells how long packs are");
    // 47 MB of packs in ranges of 2 MiB, two requests to open each pack, and what opening a vault costs.
    let reads = far.reads.load(Ordering::Relaxed);
    assert!(reads < 76, "{reads} requests");
}
