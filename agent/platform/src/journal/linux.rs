//! Linux: fanotify marks on whole filesystems (`FAN_REPORT_FID | FAN_REPORT_DFID_NAME`, kernel 5.9 and later, root).
//!
//! Why its answers can be trusted, point by point:
//!
//! * **Time.** The kernel queues an event before the changing call returns. Who empties the queue until it is dry has every
//!   change made before. Each moment asked for gets a number; an event is remembered with the number of the span it fell
//!   into, so one map serves any number of positions, and nothing has to be merged back when a run fails.
//! * **Place.** An event names its directory by file handle, which outlives renames. Handles become identities only when
//!   somebody asks, and every directory from there up to the filesystem's root is noted as leading to it. If a folder was
//!   moved while they were looked up, the queue tells, and they are looked up again from a later moment.
//! * **Names of one file.** A change through one name tells of that name's directory alone. A link that is made or taken
//!   away gives an event that names the file and no directory; such files are remembered by themselves. So a file that had
//!   one name at the parent's time and has two now is looked at again, and one that had several always is (by the engine).
//!   Files changed through a handle (an NFS server's) come without directory too. These events are delivered only with
//!   `FAN_REPORT_FID`.
//! * **Memory maps.** A write to a mapped page gives no event; the last close of the file does (`FAN_CLOSE_WRITE`). So every
//!   regular file that is open for reading and writing, or mapped shared and writable, is looked at again. They are
//!   listed *before* the queue is emptied: what is closed afterwards is in the queue.
//! * **The kernel's own writers.** Loop devices write past fanotify: their files are looked at again. So do disks exported by
//!   the kernel (LIO fileio), and overlayfs before Linux 6.6: then nothing is vouched for.
//! * **Mounts.** A mark dies with its filesystem. `fdinfo` lists the marks that live, so one that is still listed has seen
//!   everything, unmounted and mounted again or not. Mount points are compared by what is mounted there; where that differs,
//!   all beneath is unknown. A walk never skips a directory that leads to a mount point. A bind mount's contents have the
//!   same identities as the original.
//! * **Filesystems.** Only those on the list below, with a mount of their root that we can open (not held: nothing of ours
//!   keeps a disk from being unmounted), a filesystem id that no other one shares, and a mark. Subvolumes of btrfs have device
//!   numbers of their own, which no watch knows: read in full.
//! * **Bounds.** The kernel's queue and our maps are bounded; beyond that the journal is [`Lost`] for earlier positions.
//!
//! Not seen: `chattr` and project ids (their ctime alone changes, and neither is backed up), a write through a mapping whose
//! file lives on only in a socket's buffer, and writes to the block device beneath. The weekly full scan sees them.
//!
//! **Invariant**: one lock guards queue and memory, so no event is read and not yet remembered when a question is answered.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Changes, Coverage, JournalError, JournalOptions, Lost, Position};

#[path = "linux/fanotify.rs"]
mod fanotify;
#[path = "linux/handle.rs"]
mod handle;
#[path = "linux/resolve.rs"]
mod resolve;
#[path = "linux/watches.rs"]
mod watches;
#[path = "linux/writers.rs"]
mod writers;

use self::fanotify::{Queue, Subject};
use self::handle::Handle;
use self::resolve::Resolver;
use self::watches::Watches;

/// Directories remembered at most, and files as many again: about 10 MiB each.
const REMEMBERED_MAX: usize = 100_000;
/// So often places are looked up anew because folders were moved or filesystems mounted meanwhile.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
pub(super) struct Journal {
    queue: Queue,
    state: Mutex<State>,
    instance: u64,
    options: JournalOptions,
}

#[derive(Debug)]
struct State {
    /// Number of the present span.
    number: u64,
    /// Each with the number of the last span it changed in.
    directories: HashMap<Handle, u64>,
    files: HashMap<Handle, u64>,
    watches: Watches,
    /// Positions before this number have lost what came after them.
    lost: Option<(u64, Lost)>,
    /// The end: nothing is read any more.
    dead: Option<Lost>,
    /// A folder was moved since this was last set to false.
    moved: bool,
}

impl Journal {
    pub(super) fn open(place: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        let failed = |what| move |source| JournalError::System { what, source };
        writers::sees_all_processes()?;
        // Anybody may have a queue; whole filesystems and handles are root's.
        if !crate::process::is_root() {
            return Err(JournalError::Rights);
        }
        let queue = Queue::open().map_err(failed("open fanotify"))?;
        let place = place.canonicalize().map_err(failed("find the folder to watch"))?;
        let mut watches = Watches::new(place);
        watches.refresh(&queue, 1).map_err(failed("look at what is mounted"))?;
        watches.at_least_one()?;
        let state = State {
            number: 1,
            directories: HashMap::new(),
            files: HashMap::new(),
            watches,
            lost: None,
            dead: None,
            moved: false,
        };
        let instance = super::random_instance().map_err(failed("get a random number"))?;
        Ok(Self { queue, state: Mutex::new(state), instance, options })
    }

    pub(super) fn collect(&self, timeout: Duration) -> io::Result<()> {
        // Without the lock: a question must not wait for a change.
        let ready = self.queue.wait(timeout);
        let mut state = self.lock();
        let result = ready.and_then(|ready| if ready { state.drain(&self.queue) } else { Ok(()) });
        result.inspect_err(|error| state.dead = Some(Lost::Failed(error.to_string())))
    }

    pub(super) fn position(&self) -> Position {
        let mut state = self.lock();
        self.moment(&mut state)
    }

    pub(super) fn since(&self, past: Position) -> (Position, Result<Changes, Lost>) {
        // Before the queue is emptied: what is closed after it was listed is in the queue.
        let open = writers::open_files(&self.options.overlook);
        let mut state = self.lock();
        let mut position = self.moment(&mut state);
        if past.instance != self.instance {
            return (position, Err(Lost::Restarted));
        }
        let open = match open {
            Ok(open) => open,
            Err(lost) => return (position, Err(lost)),
        };
        for _ in 0..ATTEMPTS {
            state.moved = false;
            let answer = state.changes(past.number, &open);
            let settled = state.take_in(&self.queue) && !state.moved;
            match answer {
                Ok(changes) if settled => return (position, Ok(changes)),
                Ok(_) | Err(Lost::Unsettled) => position = self.moment(&mut state),
                Err(lost) => return (position, Err(lost)),
            }
        }
        (position, Err(Lost::Unsettled))
    }

    pub(super) fn forget_before(&self, position: Position) {
        let mut state = self.lock();
        if position.instance == self.instance {
            state.directories.retain(|_, number| *number > position.number);
            state.files.retain(|_, number| *number > position.number);
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.lock().watches.coverage()
    }

    /// Takes in what happened until now, and begins a new span.
    fn moment(&self, state: &mut State) -> Position {
        state.take_in(&self.queue);
        let position = Position { instance: self.instance, number: state.number };
        state.number += 1;
        position
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked here may have read an event without remembering it.
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut state = poisoned.into_inner();
            state.dead = Some(Lost::Failed("a fault in the agent".to_owned()));
            state
        })
    }
}

impl State {
    /// Brings mounts and events up to now. Answers whether the mounts were as before.
    fn take_in(&mut self, queue: &Queue) -> bool {
        let number = self.number;
        let refreshed = self.watches.refresh(queue, number);
        let result = refreshed.and_then(|same| self.drain(queue).map(|()| same));
        result.unwrap_or_else(|error| {
            self.dead = Some(Lost::Failed(error.to_string()));
            true
        })
    }

    fn drain(&mut self, queue: &Queue) -> io::Result<()> {
        let mut buffer = vec![0; fanotify::BUFFER_BYTES];
        loop {
            match queue.read(&mut buffer)? {
                0 => return Ok(()),
                bytes => fanotify::parse(&buffer[..bytes], |mask, subject| self.note(mask, subject)),
            }
        }
    }

    fn note(&mut self, mask: u64, subject: Subject) {
        let moved = libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
        self.moved |= mask & libc::FAN_ONDIR != 0 && mask & moved != 0;
        let (map, handle) = match subject {
            Subject::Overflow => return self.lose(Lost::Overflow),
            Subject::Unknown => return self.lose(Lost::Failed("an event that names nothing".to_owned())),
            Subject::Directory(handle) => (&mut self.directories, handle),
            Subject::File(handle) => (&mut self.files, handle),
        };
        map.insert(handle, self.number);
        if map.len() > REMEMBERED_MAX {
            // What is gone again needs no place: its directory is remembered.
            resolve::drop_gone(map, &self.watches);
            if map.len() > REMEMBERED_MAX / 4 * 3 {
                self.lose(Lost::TooMany);
            }
        }
    }

    /// Whatever came before the next moment is not vouched for.
    fn lose(&mut self, lost: Lost) {
        self.lost = Some((self.number, lost));
        self.directories.clear();
        self.files.clear();
    }

    fn changes(&self, past: u64, open: &HashSet<u64>) -> Result<Changes, Lost> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        if let Some((_, lost)) = self.lost.as_ref().filter(|(number, _)| *number > past) {
            return Err(lost.clone());
        }
        let mut resolver = Resolver::new(&self.watches, past);
        let later = |number: &&u64| **number > past;
        for (directory, _) in self.directories.iter().filter(|(_, number)| later(number)) {
            resolver.directory(directory)?;
        }
        for (file, _) in self.files.iter().filter(|(_, number)| later(number)) {
            resolver.file(file)?;
        }
        let mut changes = resolver.finish();
        changes.files.extend(open);
        Ok(changes)
    }
}
