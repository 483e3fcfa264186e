//! A vault in memory, a source folder, and what these tests ask of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]
#![allow(dead_code, reason = "no test file uses all of it")]

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor, PartialEvery};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Progress, Silent, Stop, StopKind};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::{CivilTime, Point};
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::Vault;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Long after every file of a test was written, so that all times count as settled.
pub(crate) struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

pub(crate) struct Bench {
    pub(crate) store: MemoryStore,
    pub(crate) vault: Arc<Vault>,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) type Files = BTreeMap<Vec<u8>, Vec<u8>>;

impl Bench {
    pub(crate) fn new() -> Self {
        let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
        let made = Arc::new(store.clone());
        let vault = Vault::create(made, root, VaultId([5; 16]), Custody::Owner, Time::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { store, vault: Arc::new(vault), dir }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// One thread, small packs and frequent partial points, so that a run has many steps in a fixed order.
    pub(crate) fn options(&self) -> BackupOptions {
        let source = SourceOptions {
            machine_root: self.source(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        BackupOptions {
            executor: Executor::Inline,
            pack_bytes: 400_000,
            partial_every: PartialEvery { bytes: 1_000_000, seconds: i64::MAX },
            ..BackupOptions::new(source, "machine")
        }
    }

    pub(crate) fn run(&self, options: &BackupOptions) -> Result<BackupReport, BackupError> {
        self.run_with(options, &Silent, &Stop::new())
    }

    pub(crate) fn run_with(
        &self,
        options: &BackupOptions,
        progress: &dyn Progress,
        stop: &Stop,
    ) -> Result<BackupReport, BackupError> {
        backup::run(&self.vault, options, &LateClock, progress, stop)
    }

    pub(crate) fn points(&self) -> Vec<Point> {
        let machine = self.vault.writer("machine").unwrap().id;
        self.vault.points(machine).unwrap().visible().map(|listed| listed.point.clone()).collect()
    }

    pub(crate) fn live_partials(&self) -> Vec<Point> {
        let machine = self.vault.writer("machine").unwrap().id;
        self.vault.live_partials(machine, &self.vault.points(machine).unwrap()).unwrap()
    }

    /// Every path of the newest point.
    pub(crate) fn listed(&self) -> Vec<Vec<u8>> {
        let blocks = Arc::new(BlockReader::new(self.vault.clone()));
        let reader = CatalogueReader::open(blocks, self.points().pop().unwrap()).unwrap();
        reader.entries(b"").map(|entry| entry.unwrap().path).collect()
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        let store: &dyn Store = &self.store;
        store.list_all("").unwrap().iter().map(|info| info.bytes).sum()
    }

    /// The newest point's files, restored; and every byte of the vault checked.
    pub(crate) fn restored(&self, include: &[&[u8]]) -> PathBuf {
        let checked = check::run(&self.vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new());
        assert_eq!(checked.unwrap().problems, []);
        let target = self.dir.path().join("target");
        let _ = fs::remove_dir_all(&target);
        let options = RestoreOptions {
            target: target.clone(),
            include: include.iter().map(|path| path.to_vec()).collect(),
            overwrite: false,
            workers: 2,
        };
        let point = self.points().pop().unwrap();
        let findings = restore::run(&self.vault, &point, &options, &Silent, &Stop::new()).unwrap().findings;
        let findings: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
        assert!(findings.is_empty(), "{:.2000}", format!("{findings:?}"));
        target
    }

    pub(crate) fn assert_restores_the_source(&self) {
        let (source, target) = (read_all(&self.source()), read_all(&self.restored(&[])));
        assert_eq!(source.keys().collect::<Vec<_>>(), target.keys().collect::<Vec<_>>());
        for (path, bytes) in &source {
            assert!(target[path] == *bytes, "{}", String::from_utf8_lossy(path));
        }
    }
}

/// Contents of every regular file below a folder, by path.
pub(crate) fn read_all(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes().to_vec();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Asks for a stop when so many bytes are done.
pub(crate) struct StopAt {
    pub(crate) bytes: u64,
    pub(crate) done: AtomicU64,
    pub(crate) stop: Stop,
    pub(crate) kind: StopKind,
}

impl StopAt {
    pub(crate) fn new(bytes: u64, kind: StopKind) -> Self {
        Self { bytes, done: AtomicU64::new(0), stop: Stop::new(), kind }
    }
}

impl Progress for StopAt {
    fn advance(&self, _files: u64, bytes: u64) {
        if self.done.fetch_add(bytes, Ordering::Relaxed) + bytes >= self.bytes {
            self.stop.request(self.kind);
        }
    }
}
