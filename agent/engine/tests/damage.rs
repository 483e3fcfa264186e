//! The damage matrix: every object of a vault, flipped, cut short and deleted.
//!
//! Claims: a restore gives the right bytes, or names the file it cannot give; and what a check calls sound restores whole.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_engine::backup::{self, BackupOptions, Clock};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::store::{MemoryStore, ObjectName, Store};
use nightkeep_vault::vault::Vault;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime { at: Time { seconds: 4_000_000_000, nanoseconds: 0 }, offset_minutes: 0, zone: "UTC".into() }
    }
}

const VAULT: VaultId = VaultId([8; 16]);

type Files = BTreeMap<String, Vec<u8>>;

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn read_files(root: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    files.remove(".nightkeep-restore");
    files
}

/// What a vault gives back: the files it restored, and whether it claimed that they are all and whole.
fn give_back(store: &MemoryStore, root: &CustomerRoot, target: &Path) -> (Files, bool, bool) {
    let _ = fs::remove_dir_all(target);
    let Ok(vault) = Vault::open_owner(Arc::new(store.clone()), VAULT, root.clone()) else {
        return (Files::new(), false, false);
    };
    let vault = Arc::new(vault);
    let checked = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new());
    let sound = checked.is_ok_and(|report| report.problems.is_empty() && report.affected_count == 0);
    let machine = root.machine(VAULT, "machine").id;
    let newest = vault.points(machine).ok().and_then(|points| points.visible().next_back().map(|p| p.point.clone()));
    let Some(point) = newest else { return (Files::new(), sound, false) };
    let options = RestoreOptions { target: target.to_path_buf(), include: Vec::new(), overwrite: false, workers: 1 };
    let restored = restore::run(&vault, &point, &options, &Silent, &Stop::new());
    let complete = restored.is_ok_and(|report| report.finding_count == 0);
    (read_files(target), sound, complete)
}

#[test]
fn damage_is_named_and_never_restored_as_if_it_were_right() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for (n, bytes) in [10usize, 600, 5_000, 70_000, 900_000].into_iter().enumerate() {
        fs::write(source.join(format!("file-{n}")), noise(bytes, n as u64)).unwrap();
    }
    let right = read_files(&source);
    let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
    let vault = Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
    let source = SourceOptions {
        machine_root: source,
        roots: vec![Vec::new()],
        excludes: Excludes::new(&[]).unwrap(),
        skip: Vec::new(),
        entire_machine: false,
        read_at: Vec::new(),
    };
    let options = BackupOptions { pack_bytes: 300_000, ..BackupOptions::new(source, "machine") };
    backup::run(&Arc::new(vault), &options, &LateClock, &Silent, &Stop::new()).unwrap();
    let target = dir.path().join("target");
    assert_eq!(give_back(&store, &root, &target), (right.clone(), true, true));

    let listed: &dyn Store = &store;
    let names: Vec<(ObjectName, u64)> = listed.list_all("").unwrap().into_iter().map(|i| (i.name, i.bytes)).collect();
    assert!(names.len() >= 8);
    let all = names.clone();
    for (name, bytes) in names {
        let places = [0, 10, bytes / 4, bytes / 2, bytes * 3 / 4, bytes - 20, bytes - 1];
        for place in places {
            assert_honest(&copy_damaged(&store, &name, |b| b[place as usize] ^= 4), &root, &target, &right, &name);
        }
        assert_honest(&copy_damaged(&store, &name, |b| b.truncate(bytes as usize / 2)), &root, &target, &right, &name);
        assert_honest(&copy_damaged(&store, &name, Vec::clear), &root, &target, &right, &name);
        let without = copy_damaged(&store, &name, |_| {});
        without.delete(&name).unwrap();
        assert_honest(&without, &root, &target, &right, &name);
        // Another object of the same kind under this name: whole in itself, and not what was asked for.
        let kind = |other: &ObjectName| other.as_str().split('/').next() == name.as_str().split('/').next();
        if let Some((other, bytes)) = all.iter().find(|(other, _)| *other != name && kind(other)) {
            let listed: &dyn Store = &store;
            let swapped = listed.get(other, *bytes).unwrap();
            assert_honest(&copy_damaged(&store, &name, |b| *b = swapped), &root, &target, &right, &name);
        }
    }
}

fn copy_damaged(store: &MemoryStore, name: &ObjectName, damage: impl FnOnce(&mut Vec<u8>)) -> MemoryStore {
    let copy = MemoryStore::new();
    let from: &dyn Store = store;
    for info in from.list_all("").unwrap() {
        copy.put_create(&info.name, &from.get(&info.name, info.bytes).unwrap()).unwrap();
    }
    copy.damage(name, damage);
    copy
}

fn assert_honest(store: &MemoryStore, root: &CustomerRoot, target: &Path, right: &Files, damaged: &ObjectName) {
    let (files, sound, complete) = give_back(store, root, target);
    for (name, bytes) in &files {
        assert!(right.get(name) == Some(bytes), "{damaged} damaged: {name} was restored with wrong bytes");
    }
    assert!(!complete || files == *right, "{damaged} damaged: the restore claims to be complete");
    // A vault without its last point, or without its session records, is whole in what it still lists.
    let lists_the_point = !damaged.as_str().starts_with("s/");
    assert!(!sound || !lists_the_point || files == *right, "{damaged} damaged: the check calls it sound");
}
