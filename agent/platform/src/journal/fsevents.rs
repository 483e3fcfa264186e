//! What FSEvents tells, made into answers. It makes no call of Apple's, so that it is tested on every system; those are in
//! `macos.rs`, behind [`System`].
//!
//! Why its answers can be trusted, point by point:
//!
//! * **Time.** The stream delivers late. An event is remembered with the number of the span it *arrived* in, so one that is
//!   late is told twice rather than never. Before a question is answered, [`System::settle`] proves that all of the past has
//!   arrived; where it cannot, there is no answer.
//! * **Place.** Events name paths. Paths become identities only when somebody asks, component by component, never through a
//!   symbolic link, and every directory on the way is noted as leading there. A path that is gone is nobody's concern, since
//!   its going is an event of its parent. A folder that was moved, made or cloned takes things along that had their events
//!   under other names or none at all: everything beneath it is unknown. If one moves while paths are looked up, they are looked up
//!   again.
//! * **Names of one file.** Every event names the file's inode, and each is remembered: what was changed through another name,
//!   which may be gone, is looked at again. Where events were joined so that an inode may be missing, the past is lost.
//! * **Open files.** The kernel tells of a write when the file is closed, and of one through a mapping when that is taken away
//!   (`vn_close` and `ubc_unmap` in XNU). So what is open for writing or mapped writable is looked at again. It is listed
//!   *before* the stream is settled: what is closed afterwards is in the stream.
//! * **Gaps.** `MustScanSubDirs` says that events were joined into one of a folder above, or dropped. Reading that folder again
//!   would not do: a file in it may have, or have had, a name elsewhere. So it loses the past, as do `UserDropped`,
//!   `KernelDropped`, and event ids that wrapped or ran backwards.
//! * **Volumes.** One is vouched for since the moment from which its event database has had the same UUID on the same device; a
//!   sealed read-only one has none and needs none. What is mounted or unmounted is unknown beneath.
//! * **Firm links.** The data volume's folders appear in the system volume; an event under the one name counts under both.
//! * **Bounds.** What is remembered is bounded; beyond that the journal is [`Lost`] for earlier positions.
//!
//! **Invariant**: what is not understood makes more to look at, never less.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Changes, Coverage, JournalOptions, Lost, Position};

mod places;
#[cfg(test)]
mod tests;

use self::places::Places;

/// Paths remembered at most, and files as many again: about 20 MiB together.
const REMEMBERED_MAX: usize = 100_000;
/// So often places are looked up anew because folders were moved meanwhile.
const ATTEMPTS: usize = 5;

/// FSEvents.h, `FSEventStreamEventFlags`.
pub(super) mod flag {
    pub(crate) const MUST_SCAN_SUB_DIRS: u32 = 0x1;
    pub(crate) const USER_DROPPED: u32 = 0x2;
    pub(crate) const KERNEL_DROPPED: u32 = 0x4;
    pub(crate) const IDS_WRAPPED: u32 = 0x8;
    pub(crate) const HISTORY_DONE: u32 = 0x10;
    pub(crate) const ROOT_CHANGED: u32 = 0x20;
    pub(crate) const MOUNT: u32 = 0x40;
    pub(crate) const UNMOUNT: u32 = 0x80;
    pub(crate) const CREATED: u32 = 0x100;
    pub(crate) const REMOVED: u32 = 0x200;
    pub(crate) const RENAMED: u32 = 0x800;
    /// Everything that can happen to an item.
    pub(crate) const HAPPENED: u32 = 0xff00;
    pub(crate) const IS_FILE: u32 = 0x1_0000;
    pub(crate) const IS_DIR: u32 = 0x2_0000;
    pub(crate) const IS_SYMLINK: u32 = 0x4_0000;
    pub(crate) const IS_HARDLINK: u32 = 0x10_0000;
    pub(crate) const IS_LAST_HARDLINK: u32 = 0x20_0000;
    pub(crate) const CLONED: u32 = 0x40_0000;
}

/// One event of a stream with file events and extended data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) path: Vec<u8>,
    pub(super) flags: u32,
    pub(super) id: u64,
    /// Of the item, where the stream tells it.
    pub(super) inode: Option<u64>,
}

/// A mounted filesystem beneath the place that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) mount_point: Vec<u8>,
    pub(super) device: u64,
    /// UUID of its event database, zeros for one that nobody can write to; or why it is not vouched for.
    pub(super) events: Result<[u8; 16], String>,
}

/// What only the system can tell.
pub(super) trait System {
    /// Everything mounted at or beneath the place.
    fn volumes(&self) -> io::Result<Vec<Volume>>;
    /// Returns when every event of what happened before the call has been taken in, or cannot.
    fn settle(&self) -> io::Result<()>;
    /// The system's newest event id.
    fn current_id(&self) -> u64;
    /// Inode numbers of the regular files that may be written without an event so far.
    fn writers(&self, options: &JournalOptions) -> Result<HashSet<u64>, Lost>;
}

/// A journal over a stream of events.
#[derive(Debug)]
pub(super) struct Watcher<S> {
    system: S,
    memory: Arc<Memory>,
    instance: u64,
    options: JournalOptions,
}

/// Where events are taken in, by whatever thread brings them.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the present span.
    number: u64,
    /// Paths of directories, each with the number of the last span it changed in.
    changed: HashMap<Vec<u8>, u64>,
    /// Paths beneath which nothing is known, likewise.
    unknown: HashMap<Vec<u8>, u64>,
    /// Inode numbers of files, likewise.
    files: HashMap<u64, u64>,
    volumes: BTreeMap<Vec<u8>, Watched>,
    /// The greatest event id so far.
    newest: u64,
    /// Positions before this number have lost what came after them.
    lost: Option<(u64, Lost)>,
    /// The end: nothing is taken in any more.
    dead: Option<Lost>,
    /// A folder was moved since this was last set to false.
    moved: bool,
    /// Whether anything came since this was last set to false.
    news: bool,
}

/// A volume, and the span from which on it is vouched for.
#[derive(Debug, Clone)]
struct Watched {
    volume: Volume,
    begun: u64,
}

impl<S: System> Watcher<S> {
    /// Over a stream that runs already and brings its events into this memory.
    pub(super) fn new(system: S, memory: Arc<Memory>, options: JournalOptions) -> io::Result<Self> {
        let watcher = Self { system, memory, instance: super::random_instance()?, options };
        let volumes = watcher.system.volumes()?;
        let mut state = watcher.memory.lock();
        state.number = 1;
        state.refresh(volumes);
        drop(state);
        Ok(watcher)
    }

    pub(super) fn collect(&self, timeout: Duration) -> io::Result<()> {
        let state = self.memory.lock();
        let wait = self.memory.arrived.wait_timeout_while(state, timeout, |state| !state.news && state.dead.is_none());
        let (mut state, _) = wait.unwrap_or_else(PoisonError::into_inner);
        state.news = false;
        state.dead.as_ref().map_or(Ok(()), |lost| Err(io::Error::other(lost.to_string())))
    }

    pub(super) fn position(&self) -> Position {
        self.moment()
    }

    pub(super) fn since(&self, past: Position) -> (Position, Result<Changes, Lost>) {
        let open = self.system.writers(&self.options);
        let settled = self.settle();
        let mut position = self.moment();
        if past.instance != self.instance {
            return (position, Err(Lost::Restarted));
        }
        let open = match settled.and(open) {
            Ok(open) => open,
            Err(lost) => return (position, Err(lost)),
        };
        for _ in 0..ATTEMPTS {
            let question = self.memory.lock().question(past.number);
            let answer = question.and_then(|question| question.answer(&open));
            if let Err(lost) = self.settle() {
                return (position, Err(lost));
            }
            let moved = self.memory.lock().moved;
            match answer {
                Ok(changes) if !moved => return (position, Ok(changes)),
                Ok(_) | Err(Lost::Unsettled) => position = self.moment(),
                Err(lost) => return (position, Err(lost)),
            }
        }
        (position, Err(Lost::Unsettled))
    }

    pub(super) fn forget_before(&self, position: Position) {
        if position.instance == self.instance {
            let mut state = self.memory.lock();
            state.changed.retain(|_, number| *number > position.number);
            state.unknown.retain(|_, number| *number > position.number);
            state.files.retain(|_, number| *number > position.number);
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        for (path, watched) in &self.memory.lock().volumes {
            let path = PathBuf::from(std::ffi::OsString::from_vec(path.clone()));
            match &watched.volume.events {
                Ok(_) => coverage.watched.push(path),
                Err(reason) => coverage.unwatched.push((path, reason.clone())),
            }
        }
        coverage
    }

    /// Whatever happened until now is remembered when this returns.
    fn settle(&self) -> Result<(), Lost> {
        let blind = |error| Lost::Blind(format!("the system's events did not arrive in time: {error}"));
        self.system.settle().map_err(blind)
    }

    /// Begins a new span.
    fn moment(&self) -> Position {
        let (volumes, current) = (self.system.volumes(), self.system.current_id());
        let mut state = self.memory.lock();
        match volumes {
            Ok(volumes) => state.refresh(volumes),
            Err(error) => state.dead = Some(Lost::Failed(error.to_string())),
        }
        if current < state.newest {
            state.lose(Lost::Restarted);
            state.newest = current;
        }
        let position = Position { instance: self.instance, number: state.number };
        state.number += 1;
        position
    }
}

impl Memory {
    /// Takes in events, in the order in which they came.
    pub(super) fn take(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.lock();
        for event in events {
            state.take(&event);
        }
        state.news = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked here may have got an event without remembering it.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.dead = Some(Lost::Failed("a fault in the agent".to_owned()));
            state
        })
    }
}

impl State {
    fn take(&mut self, event: &Event) {
        let has = |flags: u32| event.flags & flags != 0;
        self.newest = self.newest.max(event.id);
        let path = trimmed(&event.path);
        if has(flag::HISTORY_DONE) {
            return;
        }
        if has(flag::ROOT_CHANGED) {
            self.dead = Some(Lost::Failed("the folder that is watched was moved".to_owned()));
        }
        if has(flag::IDS_WRAPPED) {
            self.lose(Lost::Restarted);
        }
        if has(flag::MUST_SCAN_SUB_DIRS | flag::USER_DROPPED | flag::KERNEL_DROPPED) {
            self.lose(Lost::Overflow);
        }
        if !path.starts_with(b"/") {
            return self.lose(Lost::Failed("an event that names no path".to_owned()));
        }
        let is_leaf = has(flag::IS_FILE | flag::IS_SYMLINK) && !has(flag::IS_DIR);
        let takes_along = has(flag::CREATED | flag::RENAMED | flag::CLONED);
        if !is_leaf {
            if has(flag::MOUNT | flag::UNMOUNT) || takes_along {
                self.unknown.insert(path.to_vec(), self.number);
            }
            // Where folders go, paths that are looked up may be those of yesterday.
            self.moved |= has(flag::RENAMED | flag::MOUNT | flag::UNMOUNT);
            self.changed.insert(path.to_vec(), self.number);
        } else {
            self.take_file(event);
        }
        self.changed.insert(parent(path).to_vec(), self.number);
        if self.changed.len().max(self.files.len()) > REMEMBERED_MAX {
            self.lose(Lost::TooMany);
        }
    }

    /// A name that went and came again while its events were joined stood for several files, of which the last is told.
    fn take_file(&mut self, event: &Event) {
        let has = |flags: u32| event.flags & flags != 0;
        let went = has(flag::REMOVED | flag::RENAMED);
        let kinds = (event.flags & flag::HAPPENED).count_ones();
        let several_names = has(flag::IS_HARDLINK | flag::IS_LAST_HARDLINK);
        match event.inode {
            Some(inode) if !(several_names && went && kinds > 1) => _ = self.files.insert(inode, self.number),
            None if !several_names => {}
            Some(_) | None => {
                self.lose(Lost::Blind("an event tells of a file of several names and not which".to_owned()));
            }
        }
    }

    /// Whatever came before the next moment is not vouched for.
    fn lose(&mut self, lost: Lost) {
        self.lost = Some((self.number, lost));
        self.changed.clear();
        self.unknown.clear();
        self.files.clear();
    }

    /// Compares with what is mounted now.
    fn refresh(&mut self, volumes: Vec<Volume>) {
        let mut old = std::mem::take(&mut self.volumes);
        for volume in volumes {
            let (path, number) = (volume.mount_point.clone(), self.number);
            let watched = match old.remove(&path) {
                Some(same) if same.volume == volume => same,
                before => {
                    if before.is_some() || number > 1 {
                        self.unknown.insert(path.clone(), number);
                    }
                    Watched { volume, begun: number }
                }
            };
            self.volumes.insert(path, watched);
        }
        // What is mounted no more shows what was hidden beneath.
        for path in old.into_keys() {
            self.unknown.insert(path, self.number);
        }
    }

    /// What is needed to answer, so that nobody waits for the memory while paths are looked up.
    fn question(&mut self, past: u64) -> Result<Question, Lost> {
        self.moved = false;
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        if let Some((_, lost)) = self.lost.as_ref().filter(|(number, _)| *number > past) {
            return Err(lost.clone());
        }
        let paths = |map: &HashMap<Vec<u8>, u64>| {
            map.iter().filter(|(_, number)| **number > past).map(|(path, _)| path.clone()).collect()
        };
        let vouched = |watched: &&Watched| watched.volume.events.is_ok() && watched.begun <= past;
        let split = self.volumes.values().partition::<Vec<&Watched>, _>(vouched);
        let devices = |side: &[&Watched]| side.iter().map(|watched| watched.volume.device).collect::<HashSet<u64>>();
        Ok(Question {
            changed: paths(&self.changed),
            unknown: paths(&self.unknown),
            files: self.files.iter().filter(|(_, number)| **number > past).map(|(inode, _)| *inode).collect(),
            mount_points: self.volumes.keys().cloned().collect(),
            // One volume mounted twice is vouched for where both are.
            devices: devices(&split.0).difference(&devices(&split.1)).copied().collect(),
            all_vouched: split.1.iter().all(|watched| watched.volume.mount_point != crate::mounts::apple::DATA_VOLUME),
        })
    }
}

/// Everything that an answer is made of.
struct Question {
    changed: Vec<Vec<u8>>,
    unknown: Vec<Vec<u8>>,
    files: HashSet<u64>,
    mount_points: Vec<Vec<u8>>,
    devices: HashSet<u64>,
    /// Whether what firm links lead to is vouched for, as a walk does not know them from other folders.
    all_vouched: bool,
}

impl Question {
    fn answer(self, open: &HashSet<u64>) -> Result<Changes, Lost> {
        if !self.all_vouched {
            return Err(Lost::Blind("the data volume is not vouched for".to_owned()));
        }
        let mut places = Places::default();
        let mut changes = Changes { devices: self.devices, files: self.files, ..Changes::default() };
        changes.files.extend(open);
        for path in self.changed.iter().flat_map(|path| places::names(path)) {
            changes.changed.extend(places.find(path)?);
        }
        for path in self.unknown.iter().flat_map(|path| places::names(path)) {
            changes.remounted.extend(places.find(path)?);
        }
        for path in &self.mount_points {
            places.find(path)?;
        }
        changes.leading = places.leading();
        Ok(changes)
    }
}

/// Without the slash that a directory's path may end with.
fn trimmed(path: &[u8]) -> &[u8] {
    match path {
        [rest @ .., b'/'] if !rest.is_empty() => trimmed(rest),
        path => path,
    }
}

/// The root is its own.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &path[..end.max(1)]
}
