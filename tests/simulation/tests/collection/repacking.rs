//! Blocks that a collection moves: found by every reader and writer afterwards, however often and whenever they move.

use crate::crashes::vault_with_garbage;
use crate::lab::{Lab, NOW, back_up, collect_in, later, noise, restore, state};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_simulation::{AtEffect, Fault, FaultyStore};
use nightkeep_vault::collect::{self, CollectOptions, RepackOptions};
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::repair;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::verify::verify_segments;
use std::sync::Arc;

fn assert_sound(lab: &Lab, store: &MemoryStore, story: &str) {
    let options = CheckOptions { read_data: true, workers: 1 };
    let checked = check::run(&lab.owner(store.clone()), options, &Silent, &Stop::new()).unwrap();
    assert_eq!(checked.problems, [], "{story}");
}

/// Two small files, each in a pack beside a large one. Points 3 and 4 need the small ones alone; the others are forgotten.
fn vault_with_two_sparse_packs() -> Lab {
    let mut lab = Lab::new();
    let (one, two) = (("s1", noise(40_000, 1)), ("s2", noise(60_000, 2)));
    let (large_one, large_two) = (("l1", noise(132_000, 3)), ("l2", noise(132_000, 4)));
    for files in [
        [one.clone(), large_one.clone()].as_slice(),
        &[one.clone(), large_one, two.clone(), large_two],
        &[one.clone(), two],
        &[one],
    ] {
        lab.write("a", &state(files));
        lab.back_up("a");
    }
    lab.forget("a", 1);
    lab.forget("a", 2);
    lab
}

#[test]
fn a_repacked_vault_is_sound_and_the_next_backup_builds_on_it() {
    let lab = vault_with_two_sparse_packs();
    let report = lab.collect();
    assert_eq!((report.packs_repacked, report.bytes_copied / 1000), (2, 100), "{report:?}");
    assert_sound(&lab, &lab.store, "repacked");
    assert_eq!(lab.assert_whole(&lab.store, "repacked"), 2);
    let next = lab.back_up("a");
    assert_eq!((next.totals.bytes_new, next.totals.files_unchanged), (0, 1), "nothing is read or sent again");
    lab.collect();
    assert_sound(&lab, &lab.store, "a day later");
    assert_eq!(lab.assert_whole(&lab.store, "a day later"), 3);
}

#[test]
fn blocks_that_moved_twice_are_found_from_where_they_were_first() {
    let lab = vault_with_two_sparse_packs();
    lab.collect();
    lab.forget("a", 3);
    let again = lab.collect();
    assert_eq!(again.packs_repacked, 1, "of the new pack less than half is needed now: {again:?}");
    let forwards = lab.vault().newest_generation().unwrap().forwards;
    assert_eq!(forwards.len(), 2, "from the first pack to the third by the second: {forwards:?}");
    assert_sound(&lab, &lab.store, "moved twice");
    assert_eq!(lab.assert_whole(&lab.store, "moved twice"), 1);
    // A point that names the newest place needs no forwards, and those that no point needs are dropped.
    lab.back_up("a");
    lab.forget("a", 4);
    lab.collect();
    assert_eq!(lab.vault().newest_generation().unwrap().forwards, []);
    assert_sound(&lab, &lab.store, "without forwards");
    assert_eq!(lab.assert_whole(&lab.store, "without forwards"), 1);
}

#[test]
fn a_restore_that_began_before_a_collection_finds_what_it_moved() {
    let lab = vault_with_garbage();
    let keeper = lab.keeper(lab.store.clone());
    let happens = move || assert_eq!(collect_in(&keeper, NOW).unwrap().packs_repacked, 1);
    let vault = lab.owner(AtEffect::at_first_read(lab.store.clone(), "p/", happens));
    let points = vault.points(lab.machine("a")).unwrap();
    let listed = points.sound().next_back().unwrap();
    let files = restore(&vault, listed, &lab.dir.path().join("meanwhile"), "during a collection");
    assert_eq!(files.len(), 3);
    assert_eq!(files["small"], noise(40_000, 6));
}

#[test]
fn a_check_that_a_collection_overtakes_finds_no_damage() {
    let lab = vault_with_garbage();
    let keeper = lab.keeper(lab.store.clone());
    let happens = move || assert_eq!(collect_in(&keeper, NOW).unwrap().packs_repacked, 1);
    let vault = lab.owner(AtEffect::at_first_read(lab.store.clone(), "p/", happens));
    let checked = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert_eq!(checked.problems, []);
}

/// Two enrolled machines, the first with a small file in a pack whose large one only a forgotten point needs. `verified` tells
/// whether a host read that pack back before it was repacked.
fn moved_block_of_an_enrolled_machine(verified: bool) {
    let mut lab = Lab::new();
    let (one, other) = (lab.enrol("one", 1), lab.enrol("other", 2));
    let small = ("small", noise(40_000, 1));
    let run = |lab: &Lab, keys, name: &str| {
        back_up(&lab.enrolled(Arc::new(lab.store.clone()), keys), &lab.source(name), name, NOW)
            .unwrap()
            .totals
            .bytes_new
    };
    for files in [[small.clone(), ("large", noise(132_000, 2))].as_slice(), std::slice::from_ref(&small)] {
        lab.write("one", &state(files));
        run(&lab, &one, "one");
    }
    lab.write("other", &state(&[small]));
    if verified {
        assert!(verify_segments(&lab.vault(), &|| false).unwrap().segments > 0);
    }
    let forget = |action| {
        let vault = lab.vault();
        vault.retain(&vault.points(one.id).unwrap().points[0], action, NOW, "test").unwrap();
    };
    forget(Action::Trash);
    forget(Action::Forget);
    assert_eq!(lab.collect().packs_repacked, 1);
    assert_eq!(run(&lab, &one, "one"), 0, "the machine knows its own block where it is now");
    if !verified {
        assert_eq!(run(&lab, &other, "other"), 40_000, "what nobody verified is offered to nobody else");
        // The segment that lists what was deleted, too, holds nobody up.
        let verification = verify_segments(&lab.vault(), &|| false).unwrap();
        assert_eq!(verification.rejected.len(), 0, "{verification:?}");
        assert!(verification.segments > 0);
    }
    lab.write("other", &state(&[("small", noise(40_000, 1)), ("again", noise(40_000, 1))]));
    assert_eq!(run(&lab, &other, "other"), 0, "what was verified is offered, also where it is now");
    assert_sound(&lab, &lab.store, "enrolled");
    lab.assert_whole(&lab.store, "enrolled");
}

#[test]
fn a_moved_block_counts_for_whom_it_counted_before() {
    moved_block_of_an_enrolled_machine(false);
    moved_block_of_an_enrolled_machine(true);
}

/// What moved is listed by one segment of the collector; without it, a repair finds the new packs by the forwards.
#[test]
fn a_repair_lists_again_what_a_collection_moved() {
    let lab = vault_with_garbage();
    let all = |prefix: &str| {
        let store: &dyn Store = &lab.store;
        store.list_all(prefix).unwrap().into_iter().map(|info| info.name).collect::<Vec<_>>()
    };
    let before = all("i/");
    lab.collect();
    let added: Vec<_> = all("i/").into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(added.len(), 1);
    lab.store.delete(&added[0]).unwrap();
    let vault = lab.vault();
    let plan = repair::plan(&vault, None).unwrap();
    assert_eq!(plan.packs(), 1);
    repair::execute(&vault, &plan, NOW).unwrap();
    assert_sound(&lab, &lab.store, "repaired");
    assert_eq!(lab.assert_whole(&lab.store, "repaired"), 2);
}

/// Damage must not be copied under a new name, where no scrub would find it.
#[test]
fn a_damaged_pack_is_left_as_it_is() {
    let lab = vault_with_garbage();
    let plan = collect::plan(&lab.keeper(lab.store.clone()), &CollectOptions::new(NOW)).unwrap();
    let name = plan.sparse[0].pack.area.name(plan.sparse[0].pack.id);
    let mut bytes = Store::get_range(&lab.store, &name, 0..1 << 20).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    lab.store.delete(&name).unwrap();
    lab.store.put_create(&name, &bytes).unwrap();
    let report = lab.collect();
    assert_eq!(report.packs_repacked, 0);
    assert!(lab.store.head(&name).unwrap().is_some());
}

#[test]
fn storage_that_is_full_still_gets_rid_of_what_nobody_needs_and_keeps_no_copies() {
    let lab = vault_with_garbage();
    let data = |store: &MemoryStore| (store as &dyn Store).list_all("p/").unwrap();
    // The first put is the copy, the second the segment that lists it.
    for at in 1..=2 {
        let store = lab.fork();
        let full = FaultyStore::failing(store.clone(), at, Fault::Full);
        let report = collect_in(&lab.keeper(full), NOW).unwrap();
        assert_eq!(report.packs_repacked, 0);
        assert!(report.packs_deleted >= 1, "{report:?}");
        assert!(data(&store).iter().all(|info| data(&lab.store).contains(info)), "a copy was left");
        assert_eq!(lab.assert_whole(&store, "full"), 2);
        assert_eq!(collect_in(&lab.keeper(store.clone()), later(1)).unwrap().packs_repacked, 1);
        assert_eq!(lab.assert_whole(&store, "with room"), 2);
    }
}

/// What one machine's copies found room for stays moved; what another's did not is as it was.
#[test]
fn storage_that_fills_up_between_two_machines_keeps_what_was_listed() {
    let mut lab = vault_with_garbage();
    let small = ("small-b", noise(40_000, 20));
    for files in [[small.clone(), ("z-b", noise(132_000, 21))].as_slice(), std::slice::from_ref(&small)] {
        lab.write("c", &state(files));
        lab.back_up("c");
    }
    lab.forget("c", 1);
    for at in 3..=4 {
        let store = lab.fork();
        let report = collect_in(&lab.keeper(FaultyStore::failing(store.clone(), at, Fault::Full)), NOW).unwrap();
        assert_eq!(report.packs_repacked, 1, "write {at}: {report:?}");
        assert_sound(&lab, &store, "full between two machines");
        assert_eq!(lab.assert_whole(&store, "full between two machines"), 3);
        assert_eq!(collect_in(&lab.keeper(store.clone()), later(1)).unwrap().packs_repacked, 1);
        assert_eq!(lab.assert_whole(&store, "with room"), 3);
    }
}

#[test]
fn nothing_is_moved_where_that_is_not_wished_or_more_than_may_be() {
    let lab = vault_with_two_sparse_packs();
    for (repack, moved) in [
        (RepackOptions { below_percent: 0, ..RepackOptions::default() }, 0),
        (RepackOptions { bytes_max: 50_000, ..RepackOptions::default() }, 1),
        (RepackOptions::default(), 2),
    ] {
        let store = lab.fork();
        let keeper = lab.keeper(store.clone());
        let options = CollectOptions { workers: 1, repack, ..CollectOptions::new(NOW) };
        let plan = collect::plan(&keeper, &options).unwrap();
        assert_eq!(plan.sparse.len(), moved);
        assert_eq!(collect::run(&keeper, plan, &options).unwrap().packs_repacked, moved as u64);
        assert_eq!(lab.assert_whole(&store, "after it"), 2);
        back_up(&lab.owner(store.clone()), &lab.source("a"), "a", NOW).unwrap();
        assert_eq!(lab.assert_whole(&store, "and a backup"), 3);
    }
}
