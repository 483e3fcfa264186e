//! A folder, a vault, backups of one into the other, and proof by restoring.

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::{CivilTime, Point};
use nightkeep_vault::store::Store;
use nightkeep_vault::vault::{Local, Vault};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The vault of all scenarios.
pub(crate) const VAULT: VaultId = VaultId([6; 16]);

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

/// A machine's folder and the key of its vault.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) root: CustomerRoot,
}

impl Place {
    /// A folder with some files, and a new vault in `store`.
    pub(crate) fn new(store: impl Store + 'static) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), root: CustomerRoot::from_bytes([7; 32]) };
        Vault::create(Arc::new(store), place.root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
        for (n, bytes) in [70_000, 300_000, 5, 900_000].into_iter().enumerate() {
            place.write(&format!("folder-{}/file-{n}", n % 2), &noise(bytes, n as u64));
        }
        place
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Writes a file of the machine.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Opens the vault as its owner.
    pub(crate) fn open(&self, store: impl Store + 'static) -> Arc<Vault> {
        Arc::new(Vault::open_owner(Arc::new(store), VAULT, self.root.clone()).unwrap())
    }

    /// The same with caches in `caches`.
    pub(crate) fn open_with(&self, store: impl Store + 'static, caches: &Path) -> Arc<Vault> {
        let vault = Vault::open_owner(Arc::new(store), VAULT, self.root.clone()).unwrap();
        Arc::new(vault.with_local(Local::in_dir(caches)))
    }

    /// Backs the folder up, with small packs so that there are many effects.
    pub(crate) fn back_up(&self, vault: &Arc<Vault>) -> Result<BackupReport, BackupError> {
        let source = SourceOptions {
            machine_root: self.source(),
            roots: vec![Vec::new()],
            excludes: Excludes::new(&[]).unwrap(),
            skip: Vec::new(),
            entire_machine: false,
            read_at: Vec::new(),
        };
        let options =
            BackupOptions { executor: Executor::Inline, pack_bytes: 200_000, ..BackupOptions::new(source, "machine") };
        backup::run(vault, &options, &LateClock, &Silent, &Stop::new())
    }

    /// Its points, oldest first.
    pub(crate) fn points(&self, vault: &Vault) -> Vec<Point> {
        let points = vault.points(vault.writer("machine").unwrap().id).unwrap();
        points.visible().map(|listed| listed.point.clone()).collect()
    }

    /// The newest point restores to exactly what the folder holds now.
    pub(crate) fn assert_newest_is_current(&self, vault: &Arc<Vault>, story: &str) {
        let newest = self.points(vault).pop().unwrap();
        assert_eq!(self.difference(vault, &newest), None, "{story}");
    }

    /// Restores a point and compares it with the folder; tells the first difference.
    pub(crate) fn difference(&self, vault: &Arc<Vault>, point: &Point) -> Option<String> {
        let target = tempfile::tempdir().unwrap();
        let path = target.path().join("target");
        let options = RestoreOptions { target: path.clone(), include: Vec::new(), overwrite: false, workers: 1 };
        match restore::run(vault, point, &options, &Silent, &Stop::new()) {
            Ok(report) if report.findings.is_empty() => {}
            Ok(report) => return Some(format!("{:?}", report.findings)),
            Err(error) => return Some(error.to_string()),
        }
        let diff = std::process::Command::new("diff").arg("-r").arg(self.source()).arg(&path).output().unwrap();
        (!diff.status.success()).then(|| String::from_utf8_lossy(&diff.stdout).into_owned())
    }
}

/// Bytes that do not compress, from a seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Every file below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
