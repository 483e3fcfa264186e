//! What a run tells while it works: counts, phases, findings; and how it is asked to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening the vault, reading index and parent.
    Preparing,
    /// Reading the source and writing packs, or reading packs and writing files.
    Transferring,
    /// Writing catalogue and recovery point, or metadata of directories.
    Finishing,
}

/// What kind of trouble one file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FindingKind {
    /// The file or directory could not be read.
    Unreadable = 1,
    /// It was gone when its turn came.
    Vanished = 2,
    /// It changed while it was read, again and again.
    Changed = 3,
    /// Its extended attributes or ACLs could not be read.
    Attributes = 4,
    /// It could not be restored with all its metadata.
    Metadata = 5,
    /// It could not be restored.
    Unrestored = 6,
    /// The vault's copy is damaged.
    Damaged = 7,
}

/// One file's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// Raw path bytes from the machine's root.
    pub path: Vec<u8>,
    /// What happened, for people.
    pub text: String,
}

impl Finding {
    /// The finding for an error while reading.
    pub fn of_read(path: &[u8], error: &std::io::Error) -> Self {
        let gone = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if gone { FindingKind::Vanished } else { FindingKind::Unreadable };
        Self { kind, path: path.to_vec(), text: error.to_string() }
    }

    /// The path as text, with what is not UTF-8 replaced.
    pub fn path_lossy(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// Hears of a run's progress. Called from several threads; must return at once.
pub trait Progress: Send + Sync {
    /// The run enters a phase.
    fn phase(&self, _phase: Phase) {}
    /// The best estimate of all there is to do: files and bytes of contents.
    fn estimate(&self, _files: u64, _bytes: u64) {}
    /// So many more files and bytes of contents are done.
    fn advance(&self, _files: u64, _bytes: u64) {}
    /// A file gave trouble.
    fn finding(&self, _finding: &Finding) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Asks a run to end early. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

/// How a run should end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StopKind {
    /// What was sent stays, and the next run takes it over: sleep, pause, Ctrl-C.
    Interrupt = 1,
    /// What was sent is taken back: a technician's stop.
    Discard = 2,
}

impl Stop {
    /// A request nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks. A discard is not softened by a later interrupt.
    pub fn request(&self, kind: StopKind) {
        self.0.fetch_max(kind as u8, Ordering::Relaxed);
    }

    /// What was asked, if anything.
    pub fn requested(&self) -> Option<StopKind> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(StopKind::Interrupt),
            _ => Some(StopKind::Discard),
        }
    }
}
