//! What the change journals of several Windows volumes vouch for together.
//!
//! Pure but for the [`Volume`]s it asks, so that all of it is tried on every system with simulated ones.
//!
//! * **Place.** A record names the file and the directory of the name it was opened by. Both are remembered by number, which
//!   outlives renames, with the span the record fell into; one map serves any number of positions. Directories above them are
//!   looked up when somebody asks; if a folder was moved meanwhile, they are looked up again from a later moment.
//! * **Continuity.** Each reading begins where the last one ended, in the journal of the same id, and every number is checked. A
//!   journal that was made anew, or has dropped what we have not read, is not vouched for from then on.
//! * **Files that stay open.** A record is written when a file changes in a *new* way since it was opened: whoever wrote to it
//!   already goes on writing without a record. So a file whose last record says no close counts as changed at every answer,
//!   with the directory that this record names and the one it lies in now.
//! * **Those opened before we began.** Their records must be there to be read. Files do not stay open over a start of the system, so
//!   a journal that still holds everything since before the last start holds them all: see [`Memory`](super::memory::Memory).
//! * **Several names.** A record names one directory. Files that gained or lost a name are named themselves, and all directories
//!   in which they have one now count as changed; those that had several at the parent's time are looked at by the engine.
//!
//! **Invariant**: a volume that is not positively vouched for since the position is not among the devices of an answer.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use super::memory::{Memory, Seen};
use super::usn::{self, Batch, JournalState, Record};
use super::{Changes, Coverage, FileId, Lost};

/// Directories and files remembered at most for one volume, and files that are open.
const REMEMBERED_MAX: usize = 100_000;
/// So often places are looked up anew because folders were moved meanwhile.
const ATTEMPTS: usize = 5;
/// More than any path has folders.
const DEPTH_MAX: usize = 20_000;

/// A volume that keeps a journal.
pub(super) trait Volume {
    /// Its number, as files on it have it.
    fn device(&self) -> u64;
    /// Number of its root directory.
    fn root(&self) -> u64;
    /// Where it is, for people.
    fn place(&self) -> PathBuf;
    /// Its journal, now.
    fn state(&self) -> io::Result<JournalState>;
    /// Records from this number on of the journal with this id, as many as fit, in the system's form ([`Batch`]).
    fn read(&self, id: u64, from: i64) -> io::Result<Vec<u8>>;
    /// The directory in which a file or directory lies, by one of its names; none when it exists no more.
    fn parent_of(&self, file: u64) -> io::Result<Option<u64>>;
    /// The directories in which a file has a name; none when it exists no more.
    fn directories_of(&self, file: u64) -> io::Result<Option<Vec<u64>>>;
}

/// The volumes, and what was read of their journals.
#[derive(Debug)]
pub(super) struct Ledger<V> {
    /// Number of the present span.
    number: u64,
    watches: Vec<Watch<V>>,
    /// Volumes that are not watched, or no more, and why.
    unwatched: Vec<(PathBuf, String)>,
    /// A folder was moved since this was last set to false.
    moved: bool,
}

#[derive(Debug)]
struct Watch<V> {
    volume: V,
    journal: u64,
    /// Where to read on.
    next: i64,
    /// Positions before this number have lost what came after them.
    begun: u64,
    /// Each with the number of the last span it changed in.
    directories: HashMap<u64, u64>,
    files: HashMap<u64, u64>,
    linked: HashMap<u64, u64>,
    /// Files and directories whose last record says no close.
    open: HashMap<u64, Record>,
}

impl<V: Volume> Ledger<V> {
    /// Begins with the volumes that can be vouched for, and remembers where each journal is now. Those that are no such
    /// volumes come with the reason.
    pub(super) fn begin(volumes: Vec<V>, unwatched: Vec<(PathBuf, String)>, memory: &mut Memory) -> Self {
        let mut ledger = Self { number: 1, watches: Vec::new(), unwatched, moved: false };
        let mut devices = HashMap::<u64, usize>::new();
        volumes.iter().for_each(|volume| *devices.entry(volume.device()).or_default() += 1);
        for volume in volumes {
            let place = volume.place();
            let watch = match devices.get(&volume.device()) {
                Some(1) => Watch::begin(volume, memory),
                _ => Err("another volume has the same serial number".to_owned()),
            };
            match watch {
                Ok(watch) => ledger.watches.push(watch),
                Err(reason) => ledger.unwatched.push((place, reason)),
            }
        }
        ledger
    }

    /// Why nothing is watched; none while something is.
    pub(super) fn nothing(&self) -> Option<String> {
        let reasons = || self.unwatched.iter().map(|(place, reason)| format!("{}: {reason}", place.display()));
        self.watches.is_empty().then(|| reasons().collect::<Vec<_>>().join("; "))
    }

    /// Takes in what happened until now.
    pub(super) fn take_in(&mut self) {
        let number = self.number;
        for mut watch in std::mem::take(&mut self.watches) {
            match watch.drain(number) {
                Ok(moved) => {
                    self.moved |= moved;
                    self.watches.push(watch);
                }
                Err(reason) => self.unwatched.push((watch.volume.place(), reason)),
            }
        }
    }

    /// Takes in what happened until now, and begins a new span. Answers the number of the one that ended.
    pub(super) fn moment(&mut self) -> u64 {
        self.take_in();
        self.number += 1;
        self.number - 1
    }

    /// Where each journal was read up to.
    pub(super) fn remember(&self, memory: &mut Memory) {
        for watch in &self.watches {
            memory.saw(watch.volume.device(), Seen { journal: watch.journal, number: watch.next });
        }
    }

    /// A moment, and what changed from a past one until then.
    pub(super) fn since(&mut self, past: u64) -> (u64, Result<Changes, Lost>) {
        let mut now = self.moment();
        for _ in 0..ATTEMPTS {
            self.moved = false;
            let answer = self.changes(past);
            let watched = self.watches.len();
            self.take_in();
            match answer {
                // What was looked up meanwhile may be of a volume that is vouched for no more.
                Ok(changes) if !self.moved && watched == self.watches.len() => return (now, Ok(changes)),
                Ok(_) | Err(Lost::Unsettled) => now = self.moment(),
                Err(lost) => return (now, Err(lost)),
            }
        }
        (now, Err(Lost::Unsettled))
    }

    pub(super) fn forget_before(&mut self, number: u64) {
        for watch in &mut self.watches {
            for map in [&mut watch.directories, &mut watch.files, &mut watch.linked] {
                map.retain(|_, last| *last > number);
            }
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        let watched = self.watches.iter().map(|watch| watch.volume.place()).collect();
        Coverage { watched, unwatched: self.unwatched.clone() }
    }

    fn changes(&self, past: u64) -> Result<Changes, Lost> {
        if let Some(reason) = self.nothing() {
            // A journal that is opened anew may find more.
            return Err(Lost::Failed(reason));
        }
        let mut changes = Changes::default();
        for watch in self.watches.iter().filter(|watch| watch.begun <= past) {
            watch.answer(past, &mut changes)?;
        }
        Ok(changes)
    }
}

impl<V: Volume> Watch<V> {
    fn begin(volume: V, memory: &mut Memory) -> Result<Self, String> {
        let state = volume.state().map_err(|error| format!("its change journal does not answer: {error}"))?;
        let before = memory.before_this_start(volume.device(), state.id);
        memory.saw(volume.device(), Seen { journal: state.id, number: state.next });
        if !before.is_some_and(|number| (state.first..=state.next).contains(&number)) {
            return Err(
                "its change journal does not reach back to before the last start of the system, so that files which \
                        are open since could change unseen; it is used after the next start"
                    .to_owned(),
            );
        }
        let mut watch = Self {
            volume,
            journal: state.id,
            next: state.first,
            begun: 1,
            directories: HashMap::new(),
            files: HashMap::new(),
            linked: HashMap::new(),
            open: HashMap::new(),
        };
        // Only which files are open: what changed before the first position is nobody's concern.
        watch.read_up_to(state, |watch, record| watch.note_open(record))?;
        Ok(watch)
    }

    /// Takes in what happened until now. Answers whether a folder was moved, or why nothing is vouched for any more.
    fn drain(&mut self, number: u64) -> Result<bool, String> {
        let state = self.volume.state().map_err(|error| format!("its change journal ends: {error}"))?;
        if state.id != self.journal {
            return Err("its change journal was made anew".to_owned());
        }
        if self.next < state.first {
            return Err("more changed at once than its change journal holds".to_owned());
        }
        if self.next > state.next {
            return Err("its change journal went back in time".to_owned());
        }
        let mut moved = false;
        self.read_up_to(state, |watch, record| {
            moved |=
                record.directory && record.reason & (usn::REASON_RENAME_OLD_NAME | usn::REASON_RENAME_NEW_NAME) != 0;
            watch.note(record, number);
        })?;
        Ok(moved)
    }

    /// Reads everything that there was at the time of `state`.
    fn read_up_to(&mut self, state: JournalState, mut note: impl FnMut(&mut Self, Record)) -> Result<(), String> {
        while self.next < state.next {
            let answer = self.volume.read(self.journal, self.next);
            let answer = answer.map_err(|error| format!("its change journal cannot be read: {error}"))?;
            let batch = Batch::read(&answer).and_then(|batch| batch.follows(self.next).map(|()| batch));
            let batch = batch.map_err(|error| error.to_string())?;
            // `follows` holds it to be in range.
            let next = batch.next as i64;
            if next == self.next {
                return Err("its change journal tells nothing of what it says it holds".to_owned());
            }
            batch.records.into_iter().for_each(|record| note(self, record));
            self.next = next;
            if self.open.len() > REMEMBERED_MAX {
                return Err("more files are open than are remembered".to_owned());
            }
        }
        Ok(())
    }

    fn note_open(&mut self, record: Record) {
        if record.reason & usn::REASON_CLOSE != 0 {
            self.open.remove(&record.file);
        } else {
            self.open.insert(record.file, record);
        }
    }

    fn note(&mut self, record: Record, number: u64) {
        self.note_open(record);
        self.directories.insert(record.parent, number);
        let own = if record.directory { &mut self.directories } else { &mut self.files };
        own.insert(record.file, number);
        if record.reason & usn::REASON_HARD_LINK_CHANGE != 0 {
            self.linked.insert(record.file, number);
        }
        if self.directories.len() + self.files.len() > REMEMBERED_MAX {
            // Whatever came before the next moment is not vouched for.
            self.begun = number;
            self.directories.clear();
            self.files.clear();
            self.linked.clear();
        }
    }

    fn answer(&self, past: u64, changes: &mut Changes) -> Result<(), Lost> {
        let later = |map: &HashMap<u64, u64>| {
            let later = map.iter().filter(|(_, number)| **number > past);
            later.map(|(file, _)| *file).collect::<HashSet<u64>>()
        };
        let (mut directories, mut files, mut linked) =
            (later(&self.directories), later(&self.files), later(&self.linked));
        for record in self.open.values() {
            directories.insert(record.parent);
            directories.extend(self.volume.parent_of(record.file).map_err(failed)?);
            let own = if record.directory { &mut directories } else { &mut files };
            own.insert(record.file);
            if record.reason & usn::REASON_HARD_LINK_CHANGE != 0 {
                linked.insert(record.file);
            }
        }
        for file in linked {
            directories.extend(self.volume.directories_of(file).map_err(failed)?.unwrap_or_default());
        }
        changes.devices.insert(self.volume.device());
        changes.files.extend(files);
        let mut climbed = HashSet::new();
        for directory in directories {
            if self.ascend(directory, &mut climbed)? {
                changes.changed.insert(self.id(directory));
            }
        }
        changes.leading.extend(climbed.into_iter().map(|directory| self.id(directory)));
        Ok(())
    }

    /// Notes every directory from here up to the root as leading here. Answers whether there still is such a directory:
    /// its going is a change of the one it was in.
    fn ascend(&self, from: u64, climbed: &mut HashSet<u64>) -> Result<bool, Lost> {
        let mut at = from;
        for _ in 0..DEPTH_MAX {
            if at == self.volume.root() {
                return Ok(true);
            }
            match self.volume.parent_of(at).map_err(failed)? {
                None if at == from => return Ok(false),
                // It went while we climbed, or was moved and then went.
                None => return Err(Lost::Unsettled),
                Some(above) if above == at => return Err(Lost::Unsettled),
                Some(above) if !climbed.insert(above) => return Ok(true),
                Some(above) => at = above,
            }
        }
        Err(Lost::Unsettled)
    }

    fn id(&self, inode: u64) -> FileId {
        FileId { device: self.volume.device(), inode }
    }
}

fn failed(error: io::Error) -> Lost {
    Lost::Failed(format!("a folder's place is not told: {error}"))
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
