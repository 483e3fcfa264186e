//! The fault scenarios of collection, each by its number.

use crate::crashes::vault_with_garbage;
use crate::interleavings::{collector, steps, writer, writer_of};
use crate::lab::{Lab, NOW, back_up, collect_in, later, noise, packs, restore, state};
use nightkeep_engine::backup::BackupError;
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_vault::id::MachineId;
use nightkeep_vault::store::Store;
use nightkeep_vault::vault::{Health, VaultError};
use std::sync::Arc;
use std::thread;

/// A machine whose folder has again what only the forgotten point needed.
fn lab_with_a_returning_file() -> Lab {
    let mut lab = vault_with_garbage();
    lab.write("a", &state(&[("shared", noise(300_000, 1)), ("old", noise(400_000, 2))]));
    lab
}

/// The put of a recovery point hangs in the network; its session is fenced, what it borrowed is deleted; days later the
/// point lands.
#[test]
fn scenario_05_a_point_that_lands_after_its_fence_is_flagged_and_never_chosen() {
    let lab = lab_with_a_returning_file();
    let late = thread::scope(|scope| {
        let (gate, backup) = writer(scope, &lab, &lab.store, "a");
        gate.lose("s/");
        gate.finish();
        assert!(backup.join().unwrap().is_err(), "nobody answered, so nothing is known");
        gate
    });
    let report = lab.collect();
    assert_eq!(report.fenced, 1, "the session in doubt was left open: {report:?}");
    assert!(report.packs_deleted > 0);
    assert_eq!(late.deliver(&lab.store), 1);

    let vault = lab.vault();
    let points = vault.points(lab.machine("a")).unwrap();
    let landed = points.points.last().unwrap();
    assert_eq!((landed.point.header.sequence, landed.health), (3, Health::Lost));
    assert_eq!(points.sound().next_back().unwrap().point.header.sequence, 2, "the latest is the one before");
    let checked = check::run(&vault, CheckOptions { read_data: false, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert!(checked.problems.iter().any(|problem| problem.object == landed.point.name().as_str()), "{checked:?}");

    let next = lab.back_up("a");
    assert_eq!(next.parent, Some(points.sound().next_back().unwrap().point.id));
    assert!(next.totals.bytes_new >= 400_000, "what was lost is sent again");
    // It stays flagged when generations pass and its fence is collected.
    for days in 1..30 {
        lab.back_up("b");
        lab.collect_at(later(days)).unwrap();
    }
    let points = lab.vault().points(lab.machine("a")).unwrap();
    assert_eq!(points.points.iter().filter(|listed| listed.health == Health::Lost).count(), 1);
    lab.assert_whole(&lab.store, "at the end");
}

#[test]
fn scenario_06_two_machines_send_the_same_chunk_at_once_and_one_copy_becomes_garbage() {
    let mut lab = Lab::new();
    for machine in ["a", "b"] {
        lab.write(machine, &state(&[("same", noise(350_000, 1))]));
    }
    thread::scope(|scope| {
        let (one, backup_one) = writer(scope, &lab, &lab.store, "a");
        let (two, backup_two) = writer(scope, &lab, &lab.store, "b");
        for _ in 0..200 {
            one.step();
            two.step();
        }
        assert!(backup_one.join().unwrap().unwrap().totals.bytes_new >= 350_000);
        assert!(backup_two.join().unwrap().unwrap().totals.bytes_new >= 350_000);
    });
    assert_eq!(lab.assert_whole(&lab.store, "both"), 2);
    let vault = lab.vault();
    let checked = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new()).unwrap();
    assert_eq!(checked.problems, [], "two copies are no damage");
    let before = packs(&lab.store);
    lab.back_up("a");
    lab.forget("a", 1);
    lab.forget("a", 2);
    lab.collect();
    assert!(packs(&lab.store) < before);
    assert_eq!(lab.assert_whole(&lab.store, "the other copy"), 1);
    assert_eq!(lab.back_up("a").totals.bytes_new, 0, "the copy that stayed serves both");
}

/// Keys of one machine on two: a virtual machine was cloned with its identity.
#[test]
fn scenario_07_of_two_machines_with_one_identity_the_second_is_refused() {
    let mut lab = Lab::new();
    lab.write("pc", &state(&[("file", noise(100_000, 1))]));
    let (owner, keys) = (lab.vault(), lab.enrol("pc", 7));
    let lab = &lab;
    let enrolled = move |store: Arc<dyn Store>| lab.enrolled(store, &keys);
    thread::scope(|scope| {
        let (one, first) = writer_of(scope, lab, &lab.store, "pc", enrolled.clone());
        let (two, second) = writer_of(scope, lab, &lab.store, "pc", enrolled);
        for _ in 0..200 {
            one.step();
            two.step();
        }
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        let refused = [first, second].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(matches!(refused[0], BackupError::Vault(VaultError::Conflict { .. })), "{refused:?}");
        assert!(refused[0].to_string().contains("another machine using this identity"), "{}", refused[0]);
    });
    assert_eq!(owner.points(MachineId([7; 16])).unwrap().points.len(), 1);
}

/// Duplicacy's first counter-example: of two backups under one identity the later one commits first, so that a rule that
/// waits for "a newer snapshot of every machine" is satisfied while the earlier one still counts on the old chunks.
#[test]
fn scenario_08_a_collection_beside_two_backups_of_one_machine_loses_nothing() {
    let mut lab = lab_with_a_returning_file();
    let store = lab.store.clone();
    let source = lab.source("a");
    // The first backup has compared everything with the vault and is about to write its point.
    let slow = lab.dir.path().join("slow");
    std::fs::rename(&source, &slow).unwrap();
    lab.write("a", &state(&[("shared", noise(300_000, 1)), ("other", noise(90_000, 8))]));
    let lab = &lab;
    thread::scope(|scope| {
        let (gate, backup) = crate::interleavings::writer_from(scope, lab, &store, "a", slow.clone());
        gate.stop_before("s/");
        gate.finish();
        // The second one commits, and collections run before and after it.
        lab.collect();
        lab.back_up("a");
        let report = lab.collect();
        assert!(report.fenced >= 1, "{report:?}");
        lab.assert_whole(&store, "while the first waits");
        gate.go_on();
        gate.finish();
        let first = backup.join().unwrap().unwrap();
        assert!(first.totals.bytes_new >= 400_000, "it sent again what was tombstoned: {:?}", first.totals);
    });
    // The point that lost its packs is no longer there; the run wrote it again.
    assert_eq!(lab.assert_whole(&store, "both done"), 4);
    lab.collect();
    lab.collect();
    assert_eq!(lab.assert_whole(&store, "collected again"), 4);
    let points = lab.vault().points(lab.machine("a")).unwrap();
    assert!(points.points.iter().all(|listed| listed.health == Health::Sound), "the point that lost packs is gone");
}

/// Duplicacy's second counter-example: a collection that pauses after it chose its victims, a second one that overlaps
/// it, and a backup between the two that takes the victims up again.
#[test]
fn scenario_09_two_overlapping_collections_follow_one_decision() {
    let lab = lab_with_a_returning_file();
    let length = thread::scope(|scope| {
        let store = lab.fork();
        let (gate, done) = collector(scope, &lab, &store);
        gate.finish();
        done.join().unwrap().unwrap();
        gate.taken()
    });
    for at in 0..=length {
        for first_backs_up in [true, false] {
            let store = lab.fork();
            let story = format!("the first collection pauses at {at} of {length}, backup first: {first_backs_up}");
            thread::scope(|scope| {
                let (gate, paused) = collector(scope, &lab, &store);
                steps(&gate, at);
                let back_up = || back_up(&lab.owner(store.clone()), &lab.source("a"), "a", NOW);
                let collect = || collect_in(&lab.keeper(store.clone()), NOW);
                if first_backs_up {
                    back_up().unwrap();
                    collect().unwrap();
                } else {
                    collect().unwrap();
                    back_up().unwrap();
                }
                lab.assert_whole(&store, &story);
                gate.finish();
                let _ = paused.join().unwrap();
            });
            assert_eq!(lab.assert_whole(&store, &story), 3, "{story}");
            collect_in(&lab.keeper(store.clone()), NOW).unwrap();
            assert_eq!(lab.assert_whole(&store, &story), 3, "{story}");
        }
    }
}

/// A laptop sleeps in the middle of a backup while collections run day after day; on the fifth it wakes.
#[test]
fn scenario_11_a_backup_that_sleeps_for_days_sends_again_what_is_gone() {
    let lab = lab_with_a_returning_file();
    let length = thread::scope(|scope| {
        let store = lab.fork();
        let (gate, done) = writer(scope, &lab, &store, "a");
        gate.finish();
        done.join().unwrap().unwrap();
        gate.taken()
    });
    for at in 0..=length {
        let (store, story) = (lab.fork(), format!("asleep at {at} of {length}"));
        thread::scope(|scope| {
            let (gate, sleeping) = writer(scope, &lab, &store, "a");
            steps(&gate, at);
            for days in 0..5 {
                collect_in(&lab.keeper(store.clone()), later(days)).unwrap_or_else(|error| panic!("{story}: {error}"));
                back_up(&lab.owner(store.clone()), &lab.source("b"), "b", later(days)).unwrap();
            }
            gate.finish();
            let report = sleeping.join().unwrap().unwrap_or_else(|error| panic!("{story}: {error}"));
            assert!(report.totals.files == 2, "{story}");
        });
        let points = lab.assert_whole(&store, &story);
        assert!(points >= 8 - usize::from(at == 0), "{story}: {points}");
        collect_in(&lab.keeper(store.clone()), later(6)).unwrap();
        assert_eq!(lab.assert_whole(&store, &story), points, "{story}");
    }
}

/// Sleeps through so many generations that its fences are collected, too.
#[test]
fn scenario_11_a_backup_that_sleeps_beyond_the_horizon_is_still_told() {
    let lab = lab_with_a_returning_file();
    thread::scope(|scope| {
        let (gate, sleeping) = writer(scope, &lab, &lab.store, "a");
        gate.stop_before("s/");
        gate.finish();
        for days in 0..40 {
            back_up(&lab.vault(), &lab.source("b"), "b", later(days)).unwrap();
            lab.collect_at(later(days)).unwrap();
        }
        let (fences, generations): (&dyn Store, _) = (&lab.store, lab.vault().newest_generation().unwrap());
        assert!(generations.horizon > 1 && fences.list_all("f/").unwrap().is_empty(), "{}", generations.horizon);
        gate.go_on();
        gate.finish();
        let report = sleeping.join().unwrap().unwrap();
        assert!(report.totals.bytes_new >= 400_000, "{:?}", report.totals);
    });
    let vault = lab.vault();
    let points = vault.points(lab.machine("a")).unwrap();
    let newest = points.sound().next_back().unwrap();
    let files = restore(&vault, newest, &lab.dir.path().join("target"), "the woken one");
    assert_eq!(files.len(), 2);
    lab.assert_whole(&lab.store, "all");
}

/// Clocks ten years off, of machines and of collectors: they decide how long garbage lives, not what is garbage.
#[test]
fn scenario_12_clocks_that_are_ten_years_off_delete_nothing_that_is_needed() {
    let lab = lab_with_a_returning_file();
    for machine_days in [-3650, 0, 3650] {
        for first in [-3650, 0, 3650] {
            for second in [-3650, 0, 3650] {
                let (store, story) = (lab.fork(), format!("machine {machine_days}, collectors {first}, {second}"));
                thread::scope(|scope| {
                    let (gate, backup) = writer(scope, &lab, &store, "a");
                    steps(&gate, 6);
                    collect_in(&lab.keeper(store.clone()), later(first)).unwrap();
                    back_up(&lab.owner(store.clone()), &lab.source("b"), "b", later(machine_days)).unwrap();
                    collect_in(&lab.keeper(store.clone()), later(second)).unwrap();
                    gate.finish();
                    backup.join().unwrap().unwrap_or_else(|error| panic!("{story}: {error}"));
                });
                assert!(lab.assert_whole(&store, &story) >= 4, "{story}");
                collect_in(&lab.keeper(store.clone()), later(second)).unwrap();
                assert!(lab.assert_whole(&store, &story) >= 4, "{story}");
                let sequences: Vec<u64> = lab
                    .owner(store.clone())
                    .points(lab.machine("b"))
                    .unwrap()
                    .points
                    .iter()
                    .map(|listed| listed.point.header.sequence)
                    .collect();
                assert_eq!(sequences, [1, 2], "{story}: points keep their order");
            }
        }
    }
}

/// The model found it: a session that opens between the put of a generation and its fence is named by a fence of its own
/// base, which neither it nor a reader minds. When it then sleeps and its record goes with that fence alone, no later
/// fence names it, what it uploads on waking is collected, and its late point counts as sound.
#[test]
fn scenario_05_a_late_point_of_a_session_that_opened_while_a_collection_ran_is_sound_or_flagged() {
    let lab = lab_with_a_returning_file();
    let length = thread::scope(|scope| {
        let (gate, collecting) = collector(scope, &lab, &lab.fork());
        gate.finish();
        collecting.join().unwrap().unwrap();
        gate.taken()
    });
    for (at, opened) in (0..=length).flat_map(|at| [1, 2, 3].map(|opened| (at, opened))) {
        let (store, story) = (lab.fork(), format!("{opened} steps after step {at} of {length}"));
        let late = thread::scope(|scope| {
            let (gate, collecting) = collector(scope, &lab, &store);
            steps(&gate, at);
            let (late, backup) = writer(scope, &lab, &store, "a");
            steps(&late, opened);
            gate.finish();
            collecting.join().unwrap().unwrap();
            collect_in(&lab.keeper(store.clone()), later(2)).unwrap();
            late.lose("s/");
            late.finish();
            assert!(backup.join().unwrap().is_err(), "{story}: nobody answered, so nothing is known");
            late
        });
        for days in [4, 6] {
            collect_in(&lab.keeper(store.clone()), later(days)).unwrap();
        }
        assert_eq!(late.deliver(&store), 1, "{story}");
        lab.assert_whole(&store, &story);
    }
}
