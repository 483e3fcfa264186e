//! Index segments that a collection merges: nobody notices, and nobody is offered what went.

use crate::interleavings::{collector, writer};
use crate::lab::{Lab, NOW, VAULT, back_up, collect_in, later, noise, restore, state};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_simulation::{Fault, FaultyStore};
use nightkeep_vault::collect::CollectReport;
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::record::segment::Segment;
use nightkeep_vault::store::{CountedStore, MemoryStore, Store};
use nightkeep_vault::vault::{Local, Vault};
use nightkeep_vault::verify::verify_segments;
use std::sync::Arc;
use std::thread;

/// Points whose packs go behind the back of a collector: most of all.
const GONE: u64 = 10;
/// So many runs fill a tier of segments.
const RUNS: usize = 16;

fn segments(store: &MemoryStore) -> Vec<String> {
    let store: &dyn Store = store;
    store.list_all("i/").unwrap().into_iter().map(|info| info.name.to_string()).collect()
}

fn pack_names(store: &MemoryStore) -> Vec<String> {
    let store: &dyn Store = store;
    let areas = ["p/", "m/"].into_iter().flat_map(|area| store.list_all(area).unwrap());
    areas.map(|info| info.name.to_string()).collect()
}

fn assert_sound(lab: &Lab, store: &MemoryStore, points: usize, story: &str) {
    let options = CheckOptions { read_data: true, workers: 1 };
    let checked = check::run(&lab.owner(store.clone()), options, &Silent, &Stop::new()).unwrap();
    assert_eq!(checked.problems, [], "{story}");
    assert_eq!(lab.assert_whole(store, story), points, "{story}");
}

fn contents(run: usize) -> Vec<u8> {
    noise(150_000, 100 + run as u64)
}

/// A machine that ran so often that its segments are to be merged, each run with another file in the place of the one before.
/// Its sessions' records are gone, and so are the packs that the first points alone needed: `forgotten` of them, and as many
/// runs more.
fn lab_with_many_segments(forgotten: u64) -> Lab {
    let mut lab = Lab::new();
    for run in 0..RUNS + forgotten as usize {
        lab.write("a", &state(&[("same", noise(40_000, 1)), ("other", contents(run))]));
        lab.back_up("a");
    }
    (1..=forgotten).for_each(|sequence| lab.forget("a", sequence));
    let report = lab.collect();
    assert_eq!(report.segments_merged, 0, "their sessions still have records");
    assert_eq!(report.packs_deleted > 0, forgotten > 0);
    lab
}

#[test]
fn segments_of_sessions_that_are_over_become_one_and_everything_is_as_it_was() {
    let lab = lab_with_many_segments(3);
    let report = lab.collect();
    assert!(report.segments_merged as usize >= RUNS + 3, "and what lists moved blocks: {report:?}");
    assert_sound(&lab, &lab.store, RUNS, "merged");
    assert_eq!(lab.back_up("a").totals.bytes_new, 0, "the next run knows what is there");
    assert!(segments(&lab.store).len() > RUNS, "who reads by the generation before finds the parts");
    lab.collect();
    assert_eq!(segments(&lab.store).iter().filter(|name| Segment::is_merged(name)).count(), 1);
    assert!(segments(&lab.store).len() <= 2, "{:?}", segments(&lab.store));
    assert_eq!(lab.vault().newest_generation().unwrap().dead, [], "no segment mentions what went");
    assert_sound(&lab, &lab.store, RUNS + 1, "a day later");
}

#[test]
fn a_cache_lets_go_of_what_was_merged_and_offers_nothing_that_is_gone() {
    let mut lab = lab_with_many_segments(3);
    let dir = tempfile::tempdir().unwrap();
    let cached = |lab: &Lab| {
        let (store, counts) = CountedStore::new(Arc::new(lab.store.clone()));
        let vault = Vault::open_owner(store, VAULT, lab.root.clone()).unwrap().with_local(Local::in_dir(dir.path()));
        (Arc::new(vault), counts)
    };
    let gets_to_load = |lab: &Lab| {
        let (vault, counts) = cached(lab);
        let generation = vault.newest_generation().unwrap();
        let before = counts.now();
        vault.load_index(&generation, Some(lab.machine("a"))).unwrap();
        counts.now().since(&before).gets
    };
    // Five runs whose records are still there, so that their segments stay.
    for run in 0..5 {
        lab.write("a", &state(&[("same", noise(40_000, 1)), ("other", contents(50 + run))]));
        lab.back_up("a");
    }
    gets_to_load(&lab);
    let warm = gets_to_load(&lab);
    let first = lab.collect();
    assert!(first.segments_merged as usize >= RUNS + 3, "{first:?}");
    let merged = gets_to_load(&lab);
    assert!(merged <= warm + 3, "merged and moved segment and decision are read: {merged} gets, warm {warm}");
    // From now on nothing but the cache itself knows what went.
    lab.back_up("a");
    lab.collect();
    let generation = lab.vault().newest_generation().unwrap();
    assert!(generation.dead.is_empty() && generation.tombstones.is_empty(), "{generation:?}");
    for run in 0..3 {
        lab.write("a", &state(&[("same", noise(40_000, 1)), ("other", contents(run))]));
        let (vault, _) = cached(&lab);
        let report = back_up(&vault, &lab.source("a"), "a", NOW).unwrap();
        assert_eq!(report.totals.bytes_new, 150_000, "run {run}: what went is sent again");
    }
    assert_sound(&lab, &lab.store, RUNS + 5 + 1 + 3, "after a cache that let go");
}

/// What a machine wrote and nobody verified counts for nobody else, and stays apart until a host has read it back.
#[test]
fn what_nobody_verified_is_not_merged_and_what_was_counts_for_all_as_before() {
    let mut lab = Lab::new();
    let (one, other) = (lab.enrol("one", 1), lab.enrol("other", 2));
    let run = |lab: &Lab, keys, name: &str| {
        let vault = lab.enrolled(Arc::new(lab.store.clone()), keys);
        back_up(&vault, &lab.source(name), name, NOW).unwrap().totals.bytes_new
    };
    for n in 0..RUNS {
        lab.write("one", &state(&[("file", contents(n))]));
        run(&lab, &one, "one");
    }
    lab.collect();
    assert_eq!(lab.collect().segments_merged, 0);
    assert_eq!(verify_segments(&lab.vault(), &|| false).unwrap().segments, RUNS);
    assert_eq!(lab.collect().segments_merged as usize, RUNS);
    lab.write("other", &state(&[("file", contents(3))]));
    assert_eq!(run(&lab, &other, "other"), 0, "it was verified before");
    assert_eq!(run(&lab, &one, "one"), 0);
    let verification = verify_segments(&lab.vault(), &|| false).unwrap();
    assert_eq!((verification.rejected.len(), verification.segments), (0, 1), "the other's run alone: {verification:?}");
    assert_sound(&lab, &lab.store, RUNS + 2, "verified and merged");
}

#[test]
fn a_collector_that_dies_while_it_merges_leaves_nothing_that_counts() {
    let lab = lab_with_many_segments(3);
    let counting = FaultyStore::counting(lab.fork());
    assert_eq!(collect_in(&lab.keeper(counting.clone()), NOW).unwrap().segments_merged as usize, RUNS + 4);
    let effects = counting.writes();
    for at in 1..=effects {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Full] {
            let story = format!("{fault:?} at effect {at} of {effects}");
            let store = lab.fork();
            let outcome = collect_in(&lab.keeper(FaultyStore::failing(store.clone(), at, fault)), NOW);
            assert!(outcome.is_err() || fault == Fault::Full && at == 1, "{story}: {outcome:?}");
            assert_sound(&lab, &store, RUNS, &story);
            back_up(&lab.owner(store.clone()), &lab.source("a"), "a", NOW).unwrap();
            for day in 1..=3 {
                collect_in(&lab.keeper(store.clone()), later(day)).unwrap_or_else(|error| panic!("{story}: {error}"));
                back_up(&lab.owner(store.clone()), &lab.source("a"), "a", later(day)).unwrap();
            }
            let merged = segments(&store).into_iter().filter(|name| Segment::is_merged(name)).count();
            assert_eq!(merged, 1, "{story}: what was left over is swept");
            assert_sound(&lab, &store, RUNS + 4, &story);
        }
    }
}

/// A collector that sleeps between its plan and its merged segment: meanwhile others delete what that segment lists.
#[test]
fn a_collector_that_was_overtaken_brings_back_nothing_that_went() {
    let mut lab = lab_with_many_segments(0);
    let outcome: CollectReport = thread::scope(|scope| {
        let (gate, slow) = collector(scope, &lab, &lab.store);
        gate.stop_before("i/");
        gate.finish();
        (1..=GONE).for_each(|sequence| lab.forget("a", sequence));
        let fast = lab.collect();
        assert!(fast.packs_deleted as usize > GONE as usize && fast.segments_merged as usize == RUNS, "{fast:?}");
        for _ in 0..2 {
            // Of the merged segment most is gone, so that it is merged again, and nothing lists what went.
            lab.back_up("a");
            lab.collect();
        }
        assert_eq!(lab.vault().newest_generation().unwrap().dead, []);
        gate.go_on();
        gate.finish();
        slow.join().unwrap().unwrap()
    });
    assert_eq!(outcome.segments_merged, 0, "what it read was merged by then: {outcome:?}");
    for run in 0..GONE as usize {
        lab.write("a", &state(&[("same", noise(40_000, 1)), ("other", contents(run))]));
        assert_eq!(lab.back_up("a").totals.bytes_new, 150_000, "run {run}: what went is sent again");
    }
    assert_sound(&lab, &lab.store, RUNS + 2, "overtaken");
    let vault = lab.vault();
    let listed = vault.points(lab.machine("a")).unwrap().points.pop().unwrap();
    vault.retain(&listed, Action::Hold, NOW, "test").unwrap();
    lab.collect();
    assert_eq!(
        segments(&lab.store).iter().filter(|name| Segment::is_merged(name)).count(),
        1,
        "one counts, none is left"
    );
}

/// A laptop that sleeps between a pack and the segment that lists it, for so long that its session is over and the pack gone.
#[test]
fn a_segment_that_comes_after_its_packs_went_brings_nothing_back() {
    let mut lab = lab_with_many_segments(0);
    lab.write("b", &state(&[("file", noise(300_000, 77))]));
    let before = pack_names(&lab.store);
    let own = |store: &MemoryStore| -> Vec<String> {
        pack_names(store).into_iter().filter(|name| !before.contains(name)).collect()
    };
    let left = thread::scope(|scope| {
        let (gate, asleep) = writer(scope, &lab, &lab.store, "b");
        gate.stop_before("i/");
        gate.finish();
        let uploaded = own(&lab.store);
        assert!(!uploaded.is_empty());
        for day in 1..=8 {
            // Something goes every day, so that every day has a fence.
            lab.forget("a", day as u64);
            lab.collect_at(later(day)).unwrap();
        }
        let now = pack_names(&lab.store);
        let left: Vec<String> = uploaded.into_iter().filter(|name| now.contains(name)).collect();
        gate.go_on();
        gate.finish();
        // Whether it ends well or not, the next run must be whole.
        let _ = asleep.join().unwrap();
        left
    });
    assert_eq!(left, [] as [String; 0], "its session is over");
    lab.back_up("b");
    let points = lab.vault().points(lab.machine("b")).unwrap();
    let newest = points.sound().next_back().unwrap();
    let target = lab.dir.path().join("awake");
    assert_eq!(restore(&lab.vault(), newest, &target, "awake")["file"], noise(300_000, 77));
}
