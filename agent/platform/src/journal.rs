//! What changed since a moment: the system's own change journal, so that a run need not look at everything.
//!
//! A journal is asked with a [`Position`] of an earlier moment and answers with the [`Changes`] since, or that it cannot
//! vouch for them ([`Lost`]). Positions are opaque: they count the moments at which the journal was asked, for as long as the
//! process lives; what ties them to the system's own journal (its id and numbers) is kept and compared beside.
//!
//! Directories are told by identity, because names move while paths are looked up: whoever walks the tree knows the
//! identity of what it stands in.
//!
//! The `notify` crate is not used, not even for hints: on Linux it is inotify, one watch per directory that is made by a walk
//! of the very tree we want to spare, blind to whatever happens between a folder's creation and its watch. A hint that
//! cannot shrink the work is a cost, and schedules here come from plans.
//!
//! **Invariant**: a journal only ever shrinks work: what it does not positively vouch for is answered as [`Beneath::Unwatched`],
//! [`Beneath::Unknown`] or [`Lost`], and is then read in full.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Unsupported;

/// The part of the journal of macOS that makes no call of Apple's.
#[cfg(any(target_os = "macos", all(test, unix)))]
mod fsevents;
#[cfg_attr(target_os = "linux", path = "journal/linux.rs")]
#[cfg_attr(target_os = "macos", path = "journal/macos.rs")]
#[cfg_attr(target_os = "windows", path = "journal/windows.rs")]
mod system;

/// What Windows' journals vouch for; tried with simulated volumes on every system.
#[cfg(any(windows, test))]
mod ledger;
#[cfg(any(windows, test))]
mod memory;
pub mod usn;

/// A journal that watches.
#[derive(Debug)]
pub struct Journal(system::Journal);

/// How to watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalOptions {
    /// Names of processes that may stay hidden from us, because somebody knows that they write to no file through a mapping.
    /// A security module can hide a process even from root; any other hidden one makes the journal [`Lost::Blind`].
    pub overlook: Vec<String>,
    /// A file of our own, in which Windows remembers over restarts how far its journals were read; without one it watches
    /// nothing. Other systems need none.
    pub memory: Option<PathBuf>,
}

/// A moment in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which journal: one that began anew is another.
    instance: u64,
    /// Where in it.
    number: u64,
}

/// What a file is, apart from its names: its device and its number there, as [`FileMeta`](crate::files::FileMeta) has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The filesystem's device number.
    pub device: u64,
    /// Number of the file within its device.
    pub inode: u64,
}

/// What may have changed in a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Devices that were watched all the time.
    devices: HashSet<u64>,
    /// Directories with a change: of a name in them, or of contents or attributes of what a name stands for, or their own.
    changed: HashSet<FileId>,
    /// Directories that lead to such a one, or to a place where something is mounted.
    leading: HashSet<FileId>,
    /// What is mounted here now is not what was mounted here then.
    remounted: HashSet<FileId>,
    /// Files that may have changed although their directory tells nothing; inode numbers of any device.
    files: HashSet<u64>,
}

/// What a journal knows of everything beneath a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beneath {
    /// Nothing changed in it or beneath it, but for files that [`Changes::names_file`] names or that have other names.
    Unchanged,
    /// Something changed in it or beneath it: read it, and ask again about the directories in it.
    Changed,
    /// Nobody watches it: read it, and ask again about what may be mounted in it.
    Unwatched,
    /// Nothing is known about anything beneath it.
    Unknown,
}

/// Why a journal cannot tell what changed: everything has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The position belongs to another journal.
    #[error("the journal began anew")]
    Restarted,
    /// More changed at once than the system's queue holds.
    #[error("more changed at once than the system's queue holds")]
    Overflow,
    /// More directories changed than are remembered.
    #[error("more directories changed than are remembered")]
    TooMany,
    /// Folders are moved about faster than their places can be looked up.
    #[error("folders were moved about while their places were looked up")]
    Unsettled,
    /// Something writes where the journal cannot see it.
    #[error("{0}")]
    Blind(String),
    /// The system answered with an error.
    #[error("the journal cannot be read: {0}")]
    Failed(String),
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not on this system.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// This account may not.
    #[error("only root (CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH) or an administrator may watch whole filesystems")]
    Rights,
    /// Other processes cannot be seen.
    #[error("the agent sees only the processes of its container")]
    Container,
    /// No filesystem there is of a kind that can be watched.
    #[error("no filesystem here can be watched: {reason}")]
    Nothing {
        /// Why not the first of them.
        reason: String,
    },
    /// The system refused.
    #[error("failed to {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Journal {
    /// Begins to watch the filesystem that holds `place` and the local ones mounted beneath it.
    pub fn open(place: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        system::Journal::open(place, options).map(Self)
    }

    /// Waits until something changes, at most `timeout`, and takes it in. To be called again and again by a thread of its own;
    /// an error is the end of the journal, and every later answer says so.
    pub fn collect(&self, timeout: Duration) -> io::Result<()> {
        self.0.collect(timeout)
    }

    /// The present moment.
    pub fn position(&self) -> Position {
        self.0.position()
    }

    /// The present moment, and what changed from a past one until then.
    pub fn since(&self, past: Position) -> (Position, Result<Changes, Lost>) {
        self.0.since(past)
    }

    /// Nobody will ask for changes since a moment before this one.
    pub fn forget_before(&self, position: Position) {
        self.0.forget_before(position);
    }

    /// Filesystems that are watched, and those beneath the place that are not, by mount point, for people.
    pub fn coverage(&self) -> Coverage {
        self.0.coverage()
    }
}

/// Which filesystems a journal watches; for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Mount points of watched filesystems.
    pub watched: Vec<PathBuf>,
    /// Mount points of local filesystems that are read in full every time, with the reason.
    pub unwatched: Vec<(PathBuf, String)>,
}

/// Tells a journal from any other, on any boot.
#[cfg(unix)]
fn random_instance() -> io::Result<u64> {
    let mut bytes = [0; 8];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

impl Position {
    /// For a file: 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.instance) << 64 | u128::from(self.number)).to_be_bytes()
    }

    /// From a file. One of another journal is answered as [`Lost::Restarted`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { instance: (both >> 64) as u64, number: both as u64 }
    }
}

impl Changes {
    /// What is known of everything beneath a directory.
    pub fn beneath(&self, directory: FileId) -> Beneath {
        if self.remounted.contains(&directory) {
            Beneath::Unknown
        } else if !self.devices.contains(&directory.device) {
            Beneath::Unwatched
        } else if self.changed.contains(&directory) || self.leading.contains(&directory) {
            Beneath::Changed
        } else {
            Beneath::Unchanged
        }
    }

    /// Whether the file with this number, on whatever device, has to be looked at by itself.
    pub fn names_file(&self, inode: u64) -> bool {
        self.files.contains(&inode)
    }

    /// How many directories had a change.
    pub fn changed_directories(&self) -> usize {
        self.changed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Beneath, Changes, FileId, Position};

    #[test]
    fn what_is_not_vouched_for_is_unknown() {
        let id = |inode| FileId { device: 1, inode };
        let changes = Changes {
            devices: [1].into(),
            changed: [id(5)].into(),
            leading: [id(4)].into(),
            remounted: [id(6)].into(),
            files: [9].into(),
        };
        assert_eq!(changes.beneath(id(3)), Beneath::Unchanged);
        assert_eq!(changes.beneath(id(4)), Beneath::Changed);
        assert_eq!(changes.beneath(id(5)), Beneath::Changed);
        assert_eq!(changes.beneath(id(6)), Beneath::Unknown);
        assert_eq!(changes.beneath(FileId { device: 2, inode: 3 }), Beneath::Unwatched);
        assert!(changes.names_file(9) && !changes.names_file(3));
    }

    #[test]
    fn a_position_survives_a_file() {
        let position = Position { instance: u64::MAX - 1, number: 7 };
        assert_eq!(Position::from_bytes(position.to_bytes()), position);
    }
}
