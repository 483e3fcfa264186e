//! Listings that lie, storage that went back in time: the collector changes nothing and says why.

use crate::crashes::vault_with_garbage;
use crate::lab::{Lab, NOW, back_up, collect_in, noise, state};
use nightkeep_simulation::{Fault, FaultyStore};
use nightkeep_vault::collect::CollectError;
use nightkeep_vault::record::point;
use nightkeep_vault::store::{Layer, MemoryStore, ObjectInfo, ObjectName, Store, StoreError};

/// Leaves names out of its listings.
struct Forgetful {
    inner: MemoryStore,
    /// Whether this listing of this prefix shows this name.
    shows: fn(&str, &str) -> bool,
}

impl Layer for Forgetful {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let listed = self.inner.list(prefix, after, limit)?;
        Ok(listed.into_iter().filter(|info| (self.shows)(prefix, info.name.as_str())).collect())
    }
}

/// A vault that was collected once, with points made since.
fn lab() -> Lab {
    let mut lab = vault_with_garbage();
    lab.collect();
    for seed in 20..23 {
        lab.write("b", &state(&[("own", noise(150_000, seed))]));
        lab.back_up("b");
    }
    lab.forget("a", 2);
    lab
}

fn objects(store: &MemoryStore) -> Vec<ObjectInfo> {
    let store: &dyn Store = store;
    store.list_all("").unwrap()
}

fn assert_refused(lab: &Lab, shows: fn(&str, &str) -> bool, story: &str) -> CollectError {
    let store = lab.fork();
    let before = objects(&store);
    let outcome = collect_in(&lab.keeper(Forgetful { inner: store.clone(), shows }), NOW);
    let error = outcome.err().unwrap_or_else(|| panic!("{story}: a lie was believed"));
    assert_eq!(objects(&store), before, "{story}: something was changed");
    back_up(&lab.owner(store), &lab.source("b"), "b", NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
    error
}

#[test]
fn scenario_13_an_empty_or_truncated_listing_of_points_ends_the_collection() {
    let lab = lab();
    assert_refused(&lab, |_, name| !name.starts_with("s/"), "no points at all");
    assert_refused(&lab, |_, _| false, "nothing at all");
    let last_is_hidden = assert_refused(&lab, |_, name| !name.ends_with("0000000000000004"), "the last point");
    assert!(matches!(last_is_hidden, CollectError::Shrunken { .. }), "{last_is_hidden}");
    let gap = assert_refused(&lab, |_, name| !name.ends_with("0000000000000003"), "a point in the middle");
    assert!(matches!(gap, CollectError::Gap { sequence: 3, .. }), "{gap}");
}

/// A session that a listing hides would lose its packs: it is at work while the collector looks.
#[test]
fn scenario_13_a_listing_that_hides_a_session_ends_the_collection() {
    let mut lab = lab();
    lab.write("b", &state(&[("own", noise(150_000, 30))]));
    let counting = FaultyStore::counting(lab.fork());
    back_up(&lab.owner(counting.clone()), &lab.source("b"), "b", NOW).unwrap();
    // Dead before its recovery point: packs and their segment are there, the session is open.
    let dying = FaultyStore::failing(lab.store.clone(), counting.writes() - 1, Fault::CrashBefore);
    back_up(&lab.owner(dying), &lab.source("b"), "b", NOW).unwrap_err();
    let of_one = assert_refused(&lab, |prefix, name| !name.starts_with("w/") || prefix == "w/", "from one listing");
    assert!(matches!(of_one, CollectError::Shrunken { .. }), "{of_one}");
    let of_all = assert_refused(&lab, |_, name| !name.starts_with("w/"), "from every listing");
    assert!(matches!(of_all, CollectError::Shrunken { .. }), "{of_all}");
}

#[test]
fn scenario_13_a_listing_that_hides_generations_ends_the_collection() {
    let mut lab = lab();
    for seed in 60..63 {
        lab.write("b", &state(&[("own", noise(90_000, seed))]));
        lab.back_up("b");
        lab.collect();
    }
    let refused = assert_refused(&lab, |_, name| !name.starts_with("g/"), "every generation");
    assert!(matches!(refused, CollectError::Shrunken { .. }), "{refused}");
    assert_refused(&lab, |_, name| !name.ends_with("0000000000000004") || !name.starts_with("g/"), "the last one");
}

#[test]
fn scenario_18_a_storage_that_went_back_in_time_is_not_collected() {
    let mut lab = lab();
    let last_week = lab.fork();
    lab.write("b", &state(&[("own", noise(150_000, 40))]));
    lab.back_up("b");
    lab.collect();
    // The provider restores its own backup of the points; generations are newer.
    let rolled = lab.fork();
    rolled.delete(&point::name_of(lab.machine("b"), 5)).unwrap();
    let error = collect_in(&lab.keeper(rolled.clone()), NOW).unwrap_err();
    assert!(matches!(error, CollectError::RolledBack { sequence: 5, .. }), "{error}");
    // A point that was exchanged for one of another time.
    let exchanged = lab.fork();
    let name = point::name_of(lab.machine("b"), 4);
    let older: &dyn Store = &last_week;
    let bytes = older.get(&point::name_of(lab.machine("b"), 3), 1 << 20).unwrap();
    exchanged.damage(&name, |there| *there = bytes);
    assert!(collect_in(&lab.keeper(exchanged), NOW).is_err());
    lab.assert_whole(&rolled, "nothing more was lost");
}

#[test]
fn a_point_that_cannot_be_read_ends_the_collection_until_it_is_forgotten() {
    let lab = lab();
    let store = lab.fork();
    store.damage(&point::name_of(lab.machine("b"), 2), |bytes| bytes[100] ^= 1);
    let before = objects(&store);
    let error = collect_in(&lab.keeper(store.clone()), NOW).unwrap_err();
    assert!(matches!(error, CollectError::Unreadable { .. }), "{error}");
    assert_eq!(objects(&store), before);
}
