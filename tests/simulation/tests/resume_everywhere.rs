//! Scenario 1: an initial backup that dies at any effect is gone on with, and what it confirmed is not done again.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor, PartialEvery};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_simulation::{Fault, FaultyStore};
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::Vault;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const VAULT: VaultId = VaultId([6; 16]);
/// A batch ends after 32 folders, so this is several.
const FOLDERS: u64 = 80;
/// Just too large for a bundle, so that there are many blocks.
const FILE_BYTES: usize = 132_000;
/// Every so many effects the files are restored, too; every byte is checked each time.
const RESTORE_EVERY: u64 = 7;
const TOTAL: u64 = FOLDERS * FILE_BYTES as u64;

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

fn back_up(vault: &Arc<Vault>, source: &Path) -> Result<BackupReport, BackupError> {
    let source = SourceOptions {
        machine_root: source.to_path_buf(),
        roots: vec![Vec::new()],
        excludes: Excludes::new(&[]).unwrap(),
        skip: Vec::new(),
        entire_machine: false,
        read_at: Vec::new(),
    };
    let options = BackupOptions {
        executor: Executor::Inline,
        pack_bytes: 700_000,
        partial_every: PartialEvery { bytes: 1_000_000, seconds: i64::MAX },
        ..BackupOptions::new(source, "machine")
    };
    backup::run(vault, &options, &LateClock, &Silent, &Stop::new())
}

/// Bytes of the files in the partial point that confirms most.
fn confirmed(vault: &Arc<Vault>) -> u64 {
    let Ok(machine) = vault.writer("machine") else { return 0 };
    let partials = vault.live_partials(machine.id, &vault.points(machine.id).unwrap()).unwrap();
    let blocks = Arc::new(BlockReader::new(vault.clone()));
    let bytes = partials.into_iter().map(|partial| {
        let reader = CatalogueReader::open(blocks.clone(), partial).unwrap();
        reader.entries(b"").map(|entry| entry.unwrap().bytes).sum()
    });
    bytes.max().unwrap_or(0)
}

fn has_point(vault: &Arc<Vault>) -> bool {
    let machine = vault.writer("machine").unwrap().id;
    vault.points(machine).unwrap().visible().next().is_some()
}

#[test]
fn scenario_01_a_first_backup_that_dies_at_any_effect_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    for n in 0..FOLDERS {
        let mut bytes = vec![0; FILE_BYTES];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        fs::create_dir_all(source.join(format!("{n:03}"))).unwrap();
        fs::write(source.join(format!("{n:03}/file")), bytes).unwrap();
    }
    let root = CustomerRoot::from_bytes([7; 32]);
    let open = |store: &dyn Fn() -> Arc<dyn Store>| Arc::new(Vault::open_owner(store(), VAULT, root.clone()).unwrap());
    let fresh = || {
        let store = MemoryStore::new();
        Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
        store
    };
    let counting = FaultyStore::counting(fresh());
    back_up(&open(&|| Arc::new(counting.clone())), &source).unwrap();
    let effects = counting.writes();
    assert!(effects > 20, "the scenario has {effects} effects");

    let mut most = 0;
    for at in 1..=effects {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let story = format!("{fault:?} at effect {at} of {effects}");
            let store = fresh();
            let dying = FaultyStore::failing(store.clone(), at, fault);
            let died = back_up(&open(&|| Arc::new(dying.clone())), &source);
            let vault = open(&|| Arc::new(store.clone()));
            let before = confirmed(&vault);
            most = most.max(before);
            // It dies once more on its way, when there is a way left.
            let dying = FaultyStore::failing(store.clone(), 6, fault);
            let died_again = back_up(&open(&|| Arc::new(dying.clone())), &source);
            // A run that dies behind its point has finished, and superseded what was confirmed.
            if died.is_err() && died_again.is_err() && !has_point(&vault) {
                assert!(confirmed(&vault) >= before, "{story}: the second run confirmed less than it took over");
                let before = confirmed(&vault);
                let report = back_up(&vault, &source).unwrap();
                assert!(report.totals.bytes_read <= TOTAL - before, "{story}: {:?}", report.totals);
                assert!(report.totals.bytes_new <= TOTAL - before, "{story}: {:?}", report.totals);
            }
            assert_whole(&vault, &story);
            if at % RESTORE_EVERY == 0 {
                assert_restores(&vault, &source, &dir.path().join("target"), &story);
            }
        }
    }
    assert!(most > TOTAL / 2, "a run confirms what it did: {most} of {TOTAL}");
}

fn assert_whole(vault: &Arc<Vault>, story: &str) {
    let checked = check::run(vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert_eq!((checked.problems, checked.affected), (vec![], vec![]), "{story}");
}

fn assert_restores(vault: &Arc<Vault>, source: &Path, target: &Path, story: &str) {
    let machine = vault.writer("machine").unwrap().id;
    let point = vault.points(machine).unwrap().visible().next_back().unwrap().point.clone();
    let _ = fs::remove_dir_all(target);
    let options = RestoreOptions { target: target.to_path_buf(), include: Vec::new(), overwrite: false, workers: 1 };
    assert_eq!(restore::run(vault, &point, &options, &Silent, &Stop::new()).unwrap().findings, [], "{story}");
    for n in 0..FOLDERS {
        let file = format!("{n:03}/file");
        assert!(fs::read(source.join(&file)).unwrap() == fs::read(target.join(&file)).unwrap(), "{story}: {file}");
    }
}
