//! Scenario 02: power fails, and what the machine keeps of its vault is torn: found out, dropped, and built anew.

use crate::support::{Place, files};
use nightkeep_simulation::copy_of;
use nightkeep_vault::store::MemoryStore;
use std::fs;
use std::path::Path;

/// What a file may be after power failed before its data was written: shorter, empty, gone, or zero at its end.
const TEARS: [&str; 5] = ["cut", "empty", "gone", "zero tail", "flipped"];

fn tear(file: &Path, how: &str) {
    let mut bytes = fs::read(file).unwrap();
    let half = bytes.len() / 2;
    match how {
        "cut" => bytes.truncate(half),
        "empty" => bytes.clear(),
        "zero tail" => bytes[half..].fill(0),
        "flipped" if !bytes.is_empty() => bytes[half] ^= 0x40,
        _ => {}
    }
    if how == "gone" { fs::remove_file(file).unwrap() } else { fs::write(file, bytes).unwrap() }
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn scenario_02_every_local_file_torn_in_every_way_costs_time_and_no_data() {
    let base = MemoryStore::new();
    let place = Place::new(base.clone());
    let good = place.dir.path().join("caches");
    place.back_up(&place.open_with(base.clone(), &good)).unwrap();
    place.write("folder-0/new", b"changed before power failed");
    place.back_up(&place.open_with(base.clone(), &good)).unwrap();
    let kept = files(&good);
    assert!(!kept.is_empty(), "the machine keeps nothing, so the test shows nothing");
    place.write("folder-0/newer", b"changed after power failed");
    for file in &kept {
        for how in TEARS {
            let story = format!("{how}: {}", file.strip_prefix(&good).unwrap().display());
            let (store, caches) = (copy_of(&base), tempfile::tempdir().unwrap());
            copy(&good, caches.path());
            tear(&caches.path().join(file.strip_prefix(&good).unwrap()), how);
            let vault = place.open_with(store.clone(), caches.path());
            // A page that is torn is met when it is read, maybe in the middle of a run: that run ends, and drops the cache.
            if let Err(error) = place.back_up(&vault) {
                assert!(error.to_string().contains("cache"), "{story}: {error}");
                place.back_up(&place.open_with(store.clone(), caches.path())).expect(&story);
            }
            let vault = place.open_with(store.clone(), caches.path());
            place.assert_newest_is_current(&vault, &story);
            // And by a reader without any cache: nothing wrong went into the vault.
            place.assert_newest_is_current(&place.open(store), &story);
        }
    }
}

#[test]
fn scenario_02_local_state_of_an_older_time_costs_time_and_no_data() {
    let store = MemoryStore::new();
    let place = Place::new(store.clone());
    let (now, old) = (place.dir.path().join("caches"), tempfile::tempdir().unwrap());
    place.back_up(&place.open_with(store.clone(), &now)).unwrap();
    copy(&now, old.path());
    place.write("folder-1/new", b"backed up after the copy");
    place.back_up(&place.open_with(store.clone(), &now)).unwrap();
    place.write("folder-1/newer", b"not yet backed up");
    let vault = place.open_with(store, old.path());
    place.back_up(&vault).unwrap();
    place.assert_newest_is_current(&vault, "a file system rolled back to an older state");
}
