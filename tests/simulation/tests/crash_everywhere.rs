//! A crash at every effect of a backup leaves a vault whose listed points restore, and the next run completes.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupError, BackupOptions, BackupReport, Clock, Executor};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_simulation::{Fault, FaultyStore, copy_of};
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::Vault;
use std::fs;
use std::path::Path;
use std::sync::Arc;

const VAULT: VaultId = VaultId([6; 16]);

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn open(store: impl Store + 'static, root: &CustomerRoot) -> Arc<Vault> {
    Arc::new(Vault::open_owner(Arc::new(store), VAULT, root.clone()).unwrap())
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
    // Small packs, so that a run has many effects.
    let options =
        BackupOptions { executor: Executor::Inline, pack_bytes: 200_000, ..BackupOptions::new(source, "machine") };
    backup::run(vault, &options, &LateClock, &Silent, &Stop::new())
}

/// Every visible point restores, to the bytes of one of the two states of the source; answers how many there are.
fn assert_whole(vault: &Arc<Vault>, scratch: &Path, states: &[&[(&str, Vec<u8>)]], story: &str) -> usize {
    let checked = check::run(vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert_eq!(checked.problems, [], "{story}");
    assert_eq!(checked.affected, [], "{story}");
    let machine = vault.writer("machine").unwrap().id;
    let points = vault.points(machine).unwrap();
    for listed in points.visible() {
        let target = scratch.join("target");
        let _ = fs::remove_dir_all(&target);
        let options = RestoreOptions { target: target.clone(), include: Vec::new(), overwrite: false, workers: 1 };
        let restored = restore::run(vault, &listed.point, &options, &Silent, &Stop::new()).unwrap();
        assert_eq!(restored.findings, [], "{story}");
        let is_state = |state: &&[(&str, Vec<u8>)]| {
            state.iter().all(|(name, bytes)| fs::read(target.join(name)).is_ok_and(|read| read == *bytes))
        };
        assert!(states.iter().any(is_state), "{story}: a point holds neither state");
    }
    points.visible().count()
}

fn write_state(source: &Path, state: &[(&str, Vec<u8>)]) {
    for (name, bytes) in state {
        fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
        fs::write(source.join(name), bytes).unwrap();
    }
}

#[test]
fn a_crash_at_every_effect_leaves_a_whole_vault_and_the_next_run_completes() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    let first: Vec<(&str, Vec<u8>)> =
        vec![("a/one", noise(70_000, 1)), ("a/two", noise(600_000, 2)), ("b/three", b"short".to_vec())];
    let mut second = first.clone();
    second[1].1 = noise(2_500_000, 3);
    write_state(&source, &first);

    let root = CustomerRoot::from_bytes([7; 32]);
    let base = MemoryStore::new();
    Vault::create(Arc::new(base.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
    back_up(&open(base.clone(), &root), &source).unwrap();
    write_state(&source, &second);

    let counting = FaultyStore::counting(copy_of(&base));
    back_up(&open(counting.clone(), &root), &source).unwrap();
    let effects = counting.writes();
    assert!(effects >= 8, "the scenario has {effects} effects");

    for at in 1..=effects {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::Full, Fault::LostAnswer] {
            let story = format!("{fault:?} at effect {at} of {effects}");
            let store = copy_of(&base);
            let outcome = back_up(&open(FaultyStore::failing(store.clone(), at, fault), &root), &source);
            let vault = open(store, &root);
            let states = [first.as_slice(), second.as_slice()];
            let points = assert_whole(&vault, dir.path(), &states, &story);
            assert!(points >= 1 && (outcome.is_err() || points == 2), "{story}: {points} points");
            back_up(&vault, &source).unwrap();
            assert!(assert_whole(&vault, dir.path(), &states, &story) > points, "{story}: the next run made no point");
        }
    }
}
