//! What a run asks of the store, and that what a machine keeps of its vault only saves requests.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupError, BackupOptions, Clock, Executor};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::store::{CountedStore, MemoryStore, Requests};
use nightkeep_vault::vault::{Local, Vault, VaultError};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

struct Bench {
    store: MemoryStore,
    root: CustomerRoot,
    dir: tempfile::TempDir,
}

impl Bench {
    /// A source of many small files, so that its catalogue has several hunks.
    fn new() -> Self {
        let (store, root, dir) = (MemoryStore::new(), CustomerRoot::generate(), tempfile::tempdir().unwrap());
        let vault = VaultId([5; 16]);
        Vault::create(Arc::new(store.clone()), root.clone(), vault, Custody::Owner, Time::default()).unwrap();
        for n in 0..3000 {
            let path = dir.path().join(format!("source/{}/{n}", n % 30));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("file number {n} ").repeat(60)).unwrap();
        }
        Self { store, root, dir }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn try_back_up(&self) -> Result<Requests, BackupError> {
        let (store, counts) = CountedStore::new(Arc::new(self.store.clone()));
        let vault = Vault::open_owner(store, VaultId([5; 16]), self.root.clone()).unwrap();
        let vault = Arc::new(vault.with_local(Local::in_dir(self.cache())));
        let source = SourceOptions {
            machine_root: self.dir.path().join("source"),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        let options = BackupOptions { executor: Executor::Inline, ..BackupOptions::new(source, "machine") };
        backup::run(&vault, &options, &LateClock, &Silent, &Stop::new())?;
        Ok(counts.now())
    }

    fn back_up(&self) -> Requests {
        self.try_back_up().unwrap()
    }

    fn assert_sound(&self) {
        let vault = Vault::open_owner(Arc::new(self.store.clone()), VaultId([5; 16]), self.root.clone()).unwrap();
        let options = CheckOptions { read_data: true, workers: 1 };
        let report = check::run(&Arc::new(vault), options, &Silent, &Stop::new()).unwrap();
        assert_eq!((report.problems.len(), report.affected.len()), (0, 0));
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn an_unchanged_run_reads_no_object_but_the_configuration_and_its_machine() {
    let bench = Bench::new();
    bench.back_up();
    let unchanged = bench.back_up();
    assert!(unchanged.gets <= 2, "{unchanged}");
    assert!(unchanged.total() <= 30, "{unchanged}");
    let third = bench.back_up();
    assert_eq!(third.gets, unchanged.gets, "the number does not grow with the points: {third}");
}

#[test]
fn a_run_survives_damage_to_anything_it_kept() {
    let bench = Bench::new();
    // The second run takes what the first wrote into its index.
    (0..2).for_each(|_| _ = bench.back_up());
    let count = files(&bench.cache()).len();
    assert!(count > 8, "{count} files are kept");
    for n in 0..count {
        let kept = files(&bench.cache());
        let path = &kept[n % kept.len()];
        let mut bytes = fs::read(path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let middle = bytes.len() / 3;
        bytes[middle] ^= 0x10;
        fs::write(path, bytes).unwrap();
        fs::write(bench.dir.path().join(format!("source/new-{n}")), format!("new {n} ").repeat(100)).unwrap();
        match bench.try_back_up() {
            Ok(_) => {}
            // The index drops its cache, and the next run builds it anew.
            Err(BackupError::Vault(VaultError::Index(_))) => _ = bench.back_up(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    bench.assert_sound();
}
