#![expect(clippy::unwrap_used, reason = "a test whose journal does not answer has failed")]
//! What volumes are vouched for, and what counts as changed on them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ledger, REMEMBERED_MAX};
use crate::journal::memory::{Memory, Seen};
use crate::journal::{Beneath, Changes, FileId, Lost};

#[path = "simulated.rs"]
mod simulated;

use simulated::{Disk, ROOT, Simulated};

const DEVICE: u64 = 9;

/// Something that happens on a disk.
type Act = fn(&mut Disk);

/// A memory as an earlier start of the system left it, of a journal that was empty then.
fn remembered(devices: &[u64]) -> Memory {
    let mut memory = Memory::new("before");
    devices.iter().for_each(|device| memory.saw(*device, Seen { journal: 77, number: 0 }));
    Memory::read(&memory.to_text(), "now")
}

fn begin(volumes: Vec<Simulated>, memory: &mut Memory) -> Ledger<Simulated> {
    Ledger::begin(volumes, Vec::new(), memory)
}

/// `one/deep/file`, `two/file`: watched from now on, with the position.
struct Watched {
    volume: Simulated,
    ledger: Ledger<Simulated>,
    start: u64,
    one: u64,
    deep: u64,
    file: u64,
    two: u64,
    other: u64,
}

impl Watched {
    fn new() -> Self {
        Self::prepared(|_, _| ())
    }

    /// With something done to `one/deep/file` before the journal is opened.
    fn prepared(prepare: fn(&mut Disk, u64)) -> Self {
        let volume = Simulated::new(DEVICE);
        let [one, deep, file, two, other] = volume.with(|disk| {
            let one = disk.create(ROOT, "one", true);
            let deep = disk.create(one, "deep", true);
            let file = disk.create(deep, "file", false);
            let two = disk.create(ROOT, "two", true);
            let other = disk.create(two, "file", false);
            prepare(disk, file);
            [one, deep, file, two, other]
        });
        let mut ledger = begin(vec![volume.clone()], &mut remembered(&[DEVICE]));
        let start = ledger.moment();
        Self { volume, ledger, start, one, deep, file, two, other }
    }

    fn act(&mut self, act: impl FnOnce(&mut Disk)) -> Changes {
        self.volume.with(act);
        self.ledger.since(self.start).1.unwrap()
    }
}

fn id(inode: u64) -> FileId {
    FileId { device: DEVICE, inode }
}

fn check(changes: &Changes, changed: &[u64], unchanged: &[u64]) {
    for directory in changed {
        assert_eq!(changes.beneath(id(*directory)), Beneath::Changed, "{directory} in {changes:?}");
    }
    for directory in unchanged {
        assert_eq!(changes.beneath(id(*directory)), Beneath::Unchanged, "{directory} in {changes:?}");
    }
}

#[test]
fn a_change_is_of_its_directory_and_those_above_it_alone() {
    let mut watched = Watched::new();
    let (file, one, deep, two) = (watched.file, watched.one, watched.deep, watched.two);
    check(&watched.act(|_| ()), &[], &[ROOT, one, deep, two]);
    check(&watched.act(|disk| disk.write(file)), &[ROOT, one, deep], &[two]);
    let now = watched.ledger.moment();
    check(&watched.ledger.since(now).1.unwrap(), &[], &[ROOT, one]);
    check(&watched.ledger.since(watched.start).1.unwrap(), &[deep], &[two]);
    watched.ledger.forget_before(now);
    check(&watched.ledger.since(now).1.unwrap(), &[], &[ROOT, one, deep, two]);
}

#[test]
fn a_moved_folder_counts_where_it_was_and_where_it_is_and_a_deleted_one_where_it_was() {
    let mut watched = Watched::new();
    let (deep, one, two, other) = (watched.deep, watched.one, watched.two, watched.other);
    let changes = watched.act(|disk| disk.rename(deep, two, "moved"));
    check(&changes, &[ROOT, one, two, deep], &[]);
    let mut watched = Watched::new();
    let changes = watched.act(|disk| {
        disk.remove(other);
        disk.remove(two);
    });
    check(&changes, &[ROOT], &[one, deep]);
}

#[test]
fn a_new_name_counts_in_its_directory_though_no_record_tells_it() {
    let mut watched = Watched::new();
    let (file, two, deep) = (watched.file, watched.two, watched.deep);
    let changes = watched.act(|disk| disk.link(file, two, "another"));
    check(&changes, &[deep, two, ROOT], &[]);
    assert!(changes.names_file(file));
}

#[test]
fn a_file_that_stays_open_is_looked_at_every_time_until_it_is_closed() {
    let mut watched = Watched::new();
    let (file, deep, two) = (watched.file, watched.deep, watched.two);
    watched.act(|disk| {
        disk.open(file);
        disk.write(file);
    });
    // Written to again, without a record.
    watched.start = watched.ledger.moment();
    let changes = watched.act(|disk| disk.write(file));
    check(&changes, &[ROOT, deep], &[two]);
    assert!(changes.names_file(file));
    watched.start = watched.ledger.moment();
    let changes = watched.act(|disk| disk.close(file));
    check(&changes, &[deep], &[two]);
    watched.start = watched.ledger.moment();
    check(&watched.act(|_| ()), &[], &[ROOT, deep]);
}

#[test]
fn a_file_that_was_opened_before_the_journal_is_known_from_its_records() {
    let mut watched = Watched::prepared(|disk, file| {
        disk.open(file);
        disk.write(file);
    });
    let (file, deep, two) = (watched.file, watched.deep, watched.two);
    check(&watched.act(|disk| disk.write(file)), &[deep], &[two]);
}

#[test]
fn without_the_records_since_the_systems_start_nothing_is_vouched_for() {
    let volume = Simulated::new(DEVICE);
    volume.with(|disk| _ = disk.create(ROOT, "one", true));
    let begin = |memory: &mut Memory| begin(vec![volume.clone()], memory).nothing();
    assert_eq!(begin(&mut remembered(&[DEVICE])), None);
    let mut new = Memory::new("now");
    assert!(begin(&mut new).unwrap().contains("after the next start"), "nobody was there before the last start");
    assert!(begin(&mut new).is_some(), "a restarted agent knows no more");
    assert_eq!(begin(&mut Memory::read(&new.to_text(), "next")), None, "after the next start it does");
    // What was read while the system ran is known after its next start.
    let mut ledger = self::begin(vec![volume.clone()], &mut remembered(&[DEVICE]));
    let (mut memory, file) = (Memory::new("now"), volume.with(|disk| disk.create(ROOT, "three", false)));
    ledger.moment();
    ledger.remember(&mut memory);
    volume.with(|disk| {
        disk.kept = 2;
        disk.write(file);
    });
    assert_eq!(begin(&mut Memory::read(&memory.to_text(), "next")), None);
    volume.with(|disk| {
        disk.kept = 1;
        disk.create(ROOT, "two", true);
    });
    assert!(begin(&mut remembered(&[DEVICE])).is_some(), "the records are gone");
    volume.with(|disk| disk.state = None);
    assert!(begin(&mut remembered(&[DEVICE])).unwrap().contains("not active"));
}

/// Each ends the trust in a volume, and with the last volume the journal.
#[test]
fn scenario_23_a_journal_that_wrapped_or_was_made_anew_or_is_damaged_vouches_for_nothing() {
    let ends: [(&str, Act); 5] = [
        ("more changed at once", |disk| {
            disk.kept = 2;
            (0..3).for_each(|at| _ = disk.create(ROOT, &at.to_string(), false));
        }),
        ("made anew", |disk| disk.state.as_mut().unwrap().id = 78),
        ("back in time", |disk| disk.state.as_mut().unwrap().next -= 80),
        ("ends", |disk| disk.state = None),
        ("cut off", |disk| {
            disk.spoilt = true;
            disk.create(ROOT, "new", false);
        }),
    ];
    for (reason, end) in ends {
        let mut watched = Watched::new();
        watched.volume.with(end);
        let (_, answer) = watched.ledger.since(watched.start);
        let Err(Lost::Failed(text)) = answer else { unreachable!("{reason}: {answer:?}") };
        assert!(text.contains(reason), "{text}");
        // Nor later, when all is in order again.
        watched.volume.with(|disk| disk.spoilt = false);
        assert!(watched.ledger.since(watched.start).1.is_err());
        assert_eq!(watched.ledger.coverage().unwatched.len(), 1);
    }
}

#[test]
fn one_volume_that_ends_leaves_the_others() {
    let (first, second) = (Simulated::new(1), Simulated::new(2));
    let mut ledger = begin(vec![first.clone(), second], &mut remembered(&[1, 2]));
    let start = ledger.moment();
    first.with(|disk| disk.state = None);
    let changes = ledger.since(start).1.unwrap();
    assert_eq!(changes.beneath(FileId { device: 1, inode: ROOT }), Beneath::Unwatched);
    assert_eq!(changes.beneath(FileId { device: 2, inode: ROOT }), Beneath::Unchanged);
    let twins = vec![Simulated::new(1), Simulated::new(1)];
    assert!(begin(twins, &mut remembered(&[1])).nothing().unwrap().contains("same serial"));
}

#[test]
fn more_than_is_remembered_loses_earlier_positions_alone() {
    let mut watched = Watched::new();
    watched.volume.with(|disk| (0..=REMEMBERED_MAX).for_each(|at| _ = disk.create(ROOT, &at.to_string(), false)));
    let changes = watched.ledger.since(watched.start).1.unwrap();
    assert_eq!(changes.beneath(id(ROOT)), Beneath::Unwatched);
    watched.start = watched.ledger.moment();
    let (file, deep, two) = (watched.file, watched.deep, watched.two);
    check(&watched.act(|disk| disk.write(file)), &[ROOT, deep], &[two]);
}

#[test]
fn a_folder_that_is_moved_while_places_are_looked_up_is_looked_up_again() {
    let mut watched = Watched::new();
    let (file, deep) = (watched.file, watched.deep);
    let changes = watched.act(|disk| {
        disk.write(file);
        disk.meanwhile = Some(|disk| {
            let named = |disk: &Disk, wanted: &str| {
                let mut nodes = disk.nodes.iter();
                *nodes.find(|(_, node)| node.names[0].1 == wanted && node.directory).unwrap().0
            };
            let (deep, two) = (named(disk, "deep"), named(disk, "two"));
            disk.rename(deep, two, "moved");
        });
    });
    check(&changes, &[deep, watched.two, watched.one, ROOT], &[]);
}

/// What a walk finds: path, number, and the version of what is there.
type Tree = BTreeMap<String, (u64, u64, usize)>;

fn tree(disk: &Disk) -> Tree {
    let mut tree = Tree::from([(String::new(), (ROOT, 0, 1))]);
    fill(disk, ROOT, "", &mut tree);
    tree
}

fn fill(disk: &Disk, directory: u64, path: &str, tree: &mut Tree) {
    for (file, node) in &disk.nodes {
        for (_, name) in node.names.iter().filter(|(parent, _)| *parent == directory) {
            let path = format!("{path}/{name}");
            tree.insert(path.clone(), (*file, node.version, node.names.len()));
            if node.directory {
                fill(disk, *file, &path, tree);
            }
        }
    }
}

/// What a run finds that goes by the journal, as the engine does.
fn by_journal(disk: &Disk, before: &Tree, now: &Tree, changes: &Changes) -> Tree {
    let mut found = Tree::new();
    walk("", before, now, disk, changes, &mut found);
    found
}

fn walk(path: &str, before: &Tree, now: &Tree, disk: &Disk, changes: &Changes, found: &mut Tree) {
    let here = now[path];
    found.insert(path.to_owned(), here);
    let same = before.get(path).is_some_and(|then| (then.0, then.1) == (here.0, here.1));
    let prefix = format!("{path}/");
    if same && changes.beneath(id(here.0)) == Beneath::Unchanged {
        for (path, then) in before.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
            let looked_at = then.2 > 1 || changes.names_file(then.0);
            match now.get(path) {
                Some(now) if looked_at => _ = found.insert(path.clone(), *now),
                None if looked_at => {}
                _ => _ = found.insert(path.clone(), *then),
            }
        }
        return;
    }
    let inside = |path: &&String| path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
    for path in now.keys().filter(inside).cloned().collect::<BTreeSet<_>>() {
        let (file, ..) = now[&path];
        match disk.nodes.get(&file).is_some_and(|node| node.directory) {
            true => walk(&path, before, now, disk, changes, found),
            false => _ = found.insert(path.clone(), now[&path]),
        }
    }
}

/// Some random number below `limit`, from a seed.
fn random(seed: &mut u64, limit: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize % limit
}

fn act(disk: &mut Disk, seed: &mut u64) {
    let all: Vec<u64> = disk.nodes.keys().copied().collect();
    let folders: Vec<u64> = all.iter().copied().filter(|file| disk.nodes[file].directory).chain([ROOT]).collect();
    let parent = folders[random(seed, folders.len())];
    let name = format!("n{}", random(seed, 1_000_000));
    let file = if all.is_empty() { ROOT } else { all[random(seed, all.len())] };
    let is_folder = disk.nodes.get(&file).is_some_and(|node| node.directory);
    match random(seed, 10) {
        0 => _ = disk.create(parent, &name, true),
        1 => _ = disk.create(parent, &name, false),
        2 | 3 => disk.write(file),
        4 => disk.open(file),
        5 => disk.close(file),
        6 if file != ROOT && !(is_folder && disk.is_beneath(parent, file)) => disk.rename(file, parent, &name),
        7 if file != ROOT && !is_folder => disk.link(file, parent, &name),
        8 if file != ROOT && disk.nodes.values().all(|node| node.names.iter().all(|(above, _)| *above != file)) => {
            disk.remove(file);
        }
        _ => {
            disk.open(file);
            disk.write(file);
        }
    }
}

#[test]
fn a_run_by_the_journal_finds_what_a_full_one_finds_whatever_happens() {
    for first in 0..400_u64 {
        let (volume, mut seed) = (Simulated::new(DEVICE), first);
        volume.with(|disk| (0..60).for_each(|_| act(disk, &mut seed)));
        let mut ledger = begin(vec![volume.clone()], &mut remembered(&[DEVICE]));
        let mut past = ledger.moment();
        let mut before = volume.with(|disk| tree(disk));
        for run in 0..8 {
            let actions = random(&mut seed, 12);
            volume.with(|disk| (0..actions).for_each(|_| act(disk, &mut seed)));
            let (now, changes) = ledger.since(past);
            let changes = changes.unwrap();
            let after = volume.with(|disk| tree(disk));
            let found = volume.with(|disk| by_journal(disk, &before, &after, &changes));
            let versions = |tree: &Tree| tree.iter().map(|(path, of)| (path.clone(), of.0, of.1)).collect::<Vec<_>>();
            assert_eq!(versions(&found), versions(&after), "seed {first}, run {run}");
            (past, before) = (now, found);
        }
    }
}
