//! The collector dies at every effect; whoever comes next goes on.

use crate::lab::{Lab, NOW, back_up, collect_in, later, noise, packs, state};
use nightkeep_simulation::{Fault, FaultyStore};
use nightkeep_vault::store::{MemoryStore, Store};

/// Two machines that share a file; one of two points of the first machine is forgotten. Of one pack little is needed then:
/// a small file beside a large one that is gone.
pub(crate) fn vault_with_garbage() -> Lab {
    let mut lab = Lab::new();
    let (shared, small, gone) = (noise(300_000, 1), noise(40_000, 6), noise(132_000, 7));
    let old = noise(400_000, 2);
    lab.write("a", &state(&[("shared", shared.clone()), ("old", old), ("small", small.clone()), ("z-gone", gone)]));
    lab.back_up("a");
    lab.write("b", &state(&[("shared", shared.clone()), ("own", noise(150_000, 3))]));
    lab.back_up("b");
    lab.write("a", &state(&[("shared", shared), ("new", noise(250_000, 4)), ("small", small)]));
    lab.back_up("a");
    lab.forget("a", 1);
    lab
}

fn all(store: &MemoryStore) -> Vec<String> {
    let store: &dyn Store = store;
    store.list_all("").unwrap().into_iter().map(|info| info.name.to_string()).collect()
}

#[test]
fn what_a_forgotten_point_alone_needed_is_deleted_and_everything_else_stays() {
    let lab = vault_with_garbage();
    let before = packs(&lab.store);
    let report = lab.collect();
    assert!(report.packs_deleted >= 2, "{report:?}");
    assert_eq!(report.points_deleted, 1);
    assert_eq!((report.packs_repacked, report.bytes_copied / 1000), (1, 40), "{report:?}");
    assert_eq!(packs(&lab.store), before - report.packs_deleted as usize + 1);
    assert_eq!(lab.assert_whole(&lab.store, "after the collection"), 2);
    // The next one finds nothing, and a backup builds on what is there.
    let next = lab.collect();
    assert_eq!((next.packs_deleted, next.packs_repacked), (0, 0));
    assert_eq!(lab.back_up("a").totals.bytes_new, 0);
    assert_eq!(lab.assert_whole(&lab.store, "after the next backup"), 3);
}

/// Scenario 10: killed between publish, fence, decision and any delete.
#[test]
fn scenario_10_a_collector_killed_at_any_effect_is_finished_by_the_next() {
    let lab = vault_with_garbage();
    let done = lab.fork();
    collect_in(&lab.keeper(done.clone()), NOW).unwrap();
    let counting = FaultyStore::counting(lab.fork());
    collect_in(&lab.keeper(counting.clone()), NOW).unwrap();
    let effects = counting.writes();
    assert!(effects >= 8, "the collection has {effects} effects");
    for at in 1..=effects {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Full] {
            let story = format!("{fault:?} at effect {at} of {effects}");
            let store = lab.fork();
            let outcome = collect_in(&lab.keeper(FaultyStore::failing(store.clone(), at, fault)), NOW);
            // Storage that takes no copies, or no segment that lists them, still gets rid of what nobody needs.
            assert!(outcome.is_err() || fault == Fault::Full && at <= 2, "{story}");
            assert_eq!(lab.assert_whole(&store, &story), 2, "{story}");
            // A machine backs up before anybody finished the collection, and after.
            let between = store.clone();
            back_up(&lab.owner(between), &lab.source("b"), "b", NOW).unwrap();
            assert_eq!(lab.assert_whole(&store, &story), 3, "{story}");
            collect_in(&lab.keeper(store.clone()), NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
            collect_in(&lab.keeper(store.clone()), later(2)).unwrap_or_else(|error| panic!("{story}: {error}"));
            assert_eq!(lab.assert_whole(&store, &story), 3, "{story}");
            let left = all(&store).into_iter().filter(|name| name.starts_with("p/")).count();
            assert_eq!(
                left,
                all(&done).iter().filter(|name| name.starts_with("p/")).count(),
                "{story}: garbage is left"
            );
        }
    }
}

#[test]
fn a_writer_killed_at_any_effect_with_a_collection_behind_it_loses_nothing_and_leaves_nothing() {
    let mut lab = vault_with_garbage();
    lab.write("a", &state(&[("shared", noise(300_000, 1)), ("newer", noise(350_000, 5))]));
    let counting = FaultyStore::counting(lab.fork());
    back_up(&lab.owner(counting.clone()), &lab.source("a"), "a", NOW).unwrap();
    for at in 1..=counting.writes() {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer] {
            let story = format!("{fault:?} at effect {at}");
            let store = lab.fork();
            let _ = back_up(&lab.owner(FaultyStore::failing(store.clone(), at, fault)), &lab.source("a"), "a", NOW);
            let points = lab.assert_whole(&store, &story);
            collect_in(&lab.keeper(store.clone()), NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
            assert_eq!(lab.assert_whole(&store, &story), points, "{story}");
            back_up(&lab.owner(store.clone()), &lab.source("a"), "a", NOW).unwrap();
            assert_eq!(lab.assert_whole(&store, &story), points + 1, "{story}");
            // In time what the dead run left is nobody's: all packs that stay are needed.
            for days in [40, 42, 44, 80] {
                collect_in(&lab.keeper(store.clone()), later(days)).unwrap_or_else(|error| panic!("{story}: {error}"));
            }
            assert_eq!(lab.assert_whole(&store, &story), points + 1, "{story}");
            let plan = nightkeep_vault::collect::plan(
                &lab.keeper(store.clone()),
                &nightkeep_vault::collect::CollectOptions::new(later(81)),
            );
            let plan = plan.unwrap();
            assert_eq!((plan.garbage.len(), plan.kept_for_sessions), (0, 0), "{story}");
        }
    }
}
