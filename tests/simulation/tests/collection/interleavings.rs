//! Writers and collectors step by step beside each other: the real code of both, on threads that take turns.

use crate::crashes::vault_with_garbage;
use crate::lab::{Lab, NOW, back_up, collect_in, noise, state};
use nightkeep_engine::backup::{BackupError, BackupReport};
use nightkeep_simulation::{Gate, GateStore};
use nightkeep_vault::collect::{CollectError, CollectReport};
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::Vault;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};

/// Reads by which a writer learns what collectors do: each is a step, as every write is.
const WRITER_READS: &[&str] = &["g/", "d/", "f/", "i/"];
/// The same for collectors.
const COLLECTOR_READS: &[&str] = &["g/", "d/", "f/", "w/", "s/", "p/"];

pub(crate) type Backup<'s> = ScopedJoinHandle<'s, Result<BackupReport, BackupError>>;
pub(crate) type Collection<'s> = ScopedJoinHandle<'s, Result<CollectReport, CollectError>>;

/// Starts a backup that waits at its first step.
pub(crate) fn writer<'s>(
    scope: &'s thread::Scope<'s, '_>,
    lab: &'s Lab,
    store: &MemoryStore,
    machine: &'s str,
) -> (Gate, Backup<'s>) {
    start(scope, store, machine, lab.source(machine), |store| lab.owner(store))
}

/// The same, of another folder than the machine's.
pub(crate) fn writer_from<'s>(
    scope: &'s thread::Scope<'s, '_>,
    lab: &'s Lab,
    store: &MemoryStore,
    machine: &'s str,
    folder: PathBuf,
) -> (Gate, Backup<'s>) {
    start(scope, store, machine, folder, |store| lab.owner(store))
}

/// The same, of a machine that opens the vault in its own way.
pub(crate) fn writer_of<'s>(
    scope: &'s thread::Scope<'s, '_>,
    lab: &'s Lab,
    store: &MemoryStore,
    machine: &'s str,
    open: impl FnOnce(Arc<dyn Store>) -> Arc<Vault> + Send + 's,
) -> (Gate, Backup<'s>) {
    start(scope, store, machine, lab.source(machine), |store| open(Arc::new(store)))
}

fn start<'s>(
    scope: &'s thread::Scope<'s, '_>,
    store: &MemoryStore,
    machine: &'s str,
    folder: PathBuf,
    open: impl FnOnce(GateStore) -> Arc<Vault> + Send + 's,
) -> (Gate, Backup<'s>) {
    let gate = Gate::new();
    let (store, own) = (store.clone(), gate.clone());
    let handle = scope.spawn(move || {
        let vault = open(GateStore::new(store, own.clone(), WRITER_READS));
        let outcome = back_up(&vault, &folder, machine, NOW);
        own.over();
        outcome
    });
    (gate, handle)
}

/// Starts a collection that waits at its first step.
pub(crate) fn collector<'s>(
    scope: &'s thread::Scope<'s, '_>,
    lab: &'s Lab,
    store: &MemoryStore,
) -> (Gate, Collection<'s>) {
    let gate = Gate::new();
    let (store, own) = (store.clone(), gate.clone());
    let handle = scope.spawn(move || {
        let outcome = lab
            .try_keeper(GateStore::new(store, own.clone(), COLLECTOR_READS))
            .map_err(CollectError::from)
            .and_then(|keeper| collect_in(&keeper, NOW));
        own.over();
        outcome
    });
    (gate, handle)
}

pub(crate) fn steps(gate: &Gate, count: u64) {
    for _ in 0..count {
        gate.step();
    }
}

/// A machine whose next run finds in the vault what only the forgotten point needed.
fn lab_with_a_returning_file() -> Lab {
    let mut lab = vault_with_garbage();
    lab.write("a", &state(&[("shared", noise(300_000, 1)), ("old", noise(400_000, 2)), ("more", noise(120_000, 9))]));
    lab
}

fn lengths(lab: &Lab) -> (u64, u64) {
    let store = lab.fork();
    thread::scope(|scope| {
        let (gate, handle) = writer(scope, lab, &store, "a");
        gate.finish();
        handle.join().unwrap().unwrap();
        let writer_steps = gate.taken();
        let store = lab.fork();
        let (gate, handle) = collector(scope, lab, &store);
        gate.finish();
        handle.join().unwrap().unwrap();
        (writer_steps, gate.taken())
    })
}

/// The backup stops after `i` of its steps, the collection runs `j` of its own, the backup ends, the collection ends.
fn meet(lab: &Lab, i: u64, j: u64) -> (Result<BackupReport, BackupError>, MemoryStore) {
    let store = lab.fork();
    let outcome = thread::scope(|scope| {
        let (writing, backup) = writer(scope, lab, &store, "a");
        let (collecting, collection) = collector(scope, lab, &store);
        steps(&writing, i);
        steps(&collecting, j);
        writing.finish();
        collecting.finish();
        let collected = collection.join().unwrap();
        assert!(collected.is_ok(), "backup at {i}, collection at {j}: {collected:?}");
        backup.join().unwrap()
    });
    (outcome, store)
}

#[test]
fn a_backup_and_a_collection_that_meet_at_any_pair_of_steps_lose_nothing() {
    let lab = lab_with_a_returning_file();
    let (writer_steps, collector_steps) = lengths(&lab);
    assert!(writer_steps >= 10 && collector_steps >= 20, "{writer_steps} and {collector_steps} steps");
    let mut sent_again = 0;
    for i in 0..=writer_steps {
        for j in 0..=collector_steps {
            let story = format!("backup at {i} of {writer_steps}, collection at {j} of {collector_steps}");
            let (outcome, store) = meet(&lab, i, j);
            let report = outcome.unwrap_or_else(|error| panic!("{story}: {error}"));
            sent_again += usize::from(report.parent.is_some() && report.totals.bytes_new > 300_000);
            assert!(lab.assert_whole(&store, &story) >= 3, "{story}: the new point is not there");
            collect_in(&lab.keeper(store.clone()), NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
            assert!(lab.assert_whole(&store, &story) >= 3, "{story}: the next collection took it");
        }
    }
    assert!(sent_again > 0, "no pair made the run send again what was tombstoned");
}

/// SplitMix64: the schedule follows from the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// Two machines and two collectors take turns as the dice fall; any of them may die, and a recovery point may hang in
/// the network until everybody else is done.
fn play(lab: &Lab, seed: u64) {
    let story = format!("seed {seed}");
    let (mut dice, store) = (Dice(seed), lab.fork());
    let late = thread::scope(|scope| {
        let (one, backup_one) = writer(scope, lab, &store, "a");
        let (two, backup_two) = writer(scope, lab, &store, "b");
        let (first, collection_first) = collector(scope, lab, &store);
        let (second, collection_second) = collector(scope, lab, &store);
        if dice.roll(3) == 0 {
            one.lose("s/");
        }
        let gates = [&one, &two, &first, &second];
        let victim = (dice.roll(8), 1 + dice.roll(60));
        let mut alive = true;
        for turn in 0.. {
            if turn == victim.1
                && let Some(gate) = gates.get(victim.0 as usize)
            {
                gate.kill();
            }
            // Stretches of several steps, so that the actors also get far ahead of each other.
            let gate = gates[dice.roll(4) as usize];
            steps(gate, 1 + dice.roll(12));
            alive = alive && turn < 400;
            if !alive || turn > 40 {
                break;
            }
        }
        gates.iter().for_each(|gate| gate.finish());
        let _ = (backup_one.join().unwrap(), backup_two.join().unwrap());
        let _ = (collection_first.join().unwrap(), collection_second.join().unwrap());
        one
    });
    lab.assert_whole(&store, &story);
    // Another collection, and only then what hung in the network arrives.
    if dice.roll(2) == 0 {
        collect_in(&lab.keeper(store.clone()), NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
    }
    late.deliver(&store);
    lab.assert_whole(&store, &story);
    collect_in(&lab.keeper(store.clone()), NOW).unwrap_or_else(|error| panic!("{story}: {error}"));
    let before = lab.assert_whole(&store, &story);
    for machine in ["a", "b"] {
        back_up(&lab.owner(store.clone()), &lab.source(machine), machine, NOW)
            .unwrap_or_else(|error| panic!("{story}: {error}"));
    }
    assert_eq!(lab.assert_whole(&store, &story), before + 2, "{story}");
}

#[test]
fn whatever_turns_two_machines_and_two_collectors_take_nothing_is_lost_in_silence() {
    let lab = lab_with_a_returning_file();
    for seed in 0..100 {
        play(&lab, seed);
    }
}
