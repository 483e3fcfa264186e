//! Scenario 03: a vault on a disk of its own, whose last writes are torn or whose last names are lost.

use crate::support::{Place, files};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_vault::store::{DiskStore, ObjectName, Put, Store};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    files(folder).into_iter().filter(|file| !file.starts_with(folder.join("tmp"))).collect()
}

#[test]
fn scenario_03_a_torn_write_before_its_name_is_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskStore::new(dir.path());
    let name = ObjectName::new("p/00/0000").unwrap();
    store.put_create(&ObjectName::new("cfg/1").unwrap(), b"config").unwrap();
    // What a crash leaves: part of the bytes, under the temporary name.
    fs::write(dir.path().join("tmp/0123456789abcdef-0"), b"half of the by").unwrap();
    assert_eq!(store.head(&name).unwrap(), None);
    let all: &dyn Store = &store;
    assert_eq!(all.list_all("").unwrap().len(), 1, "temporary files are listed nowhere");
    assert_eq!(store.put_create(&name, b"half of the bytes and the rest").unwrap(), Put::Created);
}

/// Names become durable in the order of the puts, so a lost rename loses a suffix of them: for every such suffix every
/// point that is still there is whole.
#[test]
fn scenario_03_whatever_last_names_are_lost_the_points_that_remain_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("vault");
    let place = Place::new(DiskStore::new(&folder));
    place.back_up(&place.open(DiskStore::new(&folder))).unwrap();
    let before = objects(&folder);
    place.write("folder-0/new", &crate::support::noise(500_000, 77));
    place.back_up(&place.open(DiskStore::new(&folder))).unwrap();
    let mut added: Vec<_> = objects(&folder).into_iter().filter(|file| !before.contains(file)).collect();
    let written = |file: &std::path::PathBuf| fs::metadata(file).and_then(|meta| meta.modified());
    added.sort_by_key(|file| written(file).unwrap_or(SystemTime::UNIX_EPOCH));
    assert!(added.len() >= 5, "{added:?}");
    while let Some(last) = added.pop() {
        fs::remove_file(&last).unwrap();
        let vault = place.open(DiskStore::new(&folder));
        let report = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
        assert!(report.affected.is_empty(), "without {}: {:?}", last.display(), report.affected);
        assert!(!place.points(&vault).is_empty());
    }
    let vault = place.open(DiskStore::new(&folder));
    place.back_up(&vault).unwrap();
    place.assert_newest_is_current(&vault, "after the loss of a whole backup");
}

/// A disk that said "synced" and lied: the object has its name and not its bytes. It is found, the files it touches are
/// named, and the next backup is whole again.
#[test]
fn scenario_03_an_object_that_was_torn_under_its_name_is_found_and_healed_by_the_next_backup() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("vault");
    let place = Place::new(DiskStore::new(&folder));
    place.back_up(&place.open(DiskStore::new(&folder))).unwrap();
    let packs: Vec<_> = objects(&folder).into_iter().filter(|file| file.starts_with(folder.join("p"))).collect();
    let torn = packs.first().unwrap();
    let bytes = fs::read(torn).unwrap();
    fs::write(torn, &bytes[..bytes.len() / 2]).unwrap();
    let vault = place.open(DiskStore::new(&folder));
    let report = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert!(!report.affected.is_empty() && !report.problems.is_empty(), "a torn pack was not found");
    let newest = place.points(&vault).pop().unwrap();
    assert!(place.difference(&vault, &newest).is_some(), "the restore does not tell");
}
