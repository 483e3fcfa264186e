//! Windows: the change journals (USN) of NTFS volumes on disks that stay in the machine. What they vouch for, and why, is
//! `ledger.rs`; here are the volumes themselves.
//!
//! The system keeps its journal in a ring, so it is read every few seconds: what it drops later is known already. A position
//! counts these readings and ends with the process, as the files that are open do not.
//!
//! Not watched, and read in full every time: ReFS (its files have numbers of 128 bits), volumes on disks that can be taken out
//! (to hold them open would keep them from being ejected, and another system may write to them), and volumes without an
//! active journal, which is the administrator's to make (`fsutil usn createjournal`).

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ledger::Ledger;
use super::memory::Memory;
use super::{Changes, Coverage, JournalError, JournalOptions, Lost, Position};
use crate::files::Dir;
use crate::mounts::{Mount, MountClass, Mounts};
use crate::{nt, secret_file};

#[path = "windows/start.rs"]
mod start;
#[path = "windows/volume.rs"]
mod volume;

use self::volume::NtfsVolume;

#[derive(Debug)]
pub(super) struct Journal {
    state: Mutex<State>,
    instance: u64,
}

#[derive(Debug)]
struct State {
    ledger: Ledger<NtfsVolume>,
    memory: Memory,
    /// Where the memory is kept.
    file: PathBuf,
    /// A thread panicked while it held this.
    faulty: bool,
}

impl Journal {
    pub(super) fn open(place: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        let failed = |what| move |source| JournalError::System { what, source };
        let nothing = |reason: &str| JournalError::Nothing { reason: reason.to_owned() };
        let file = options.memory.ok_or_else(|| nothing("nobody remembers how far the change journals were read"))?;
        if !nt::is_elevated(None).map_err(failed("tell who this is"))? {
            return Err(JournalError::Rights);
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mounts = mounts_beneath(place).map_err(failed("look at the volumes"))?;
        let (mut volumes, mut left_out) = (Vec::new(), Vec::new());
        for mount in mounts {
            match NtfsVolume::open(&mount) {
                Ok(volume) => volumes.push(volume),
                Err(reason) => left_out.push((volume::place(&mount), reason)),
            }
        }
        let start = start::this_start().map_err(failed("tell this start of the system from others"))?;
        let mut memory = Memory::read(&text, &start);
        let ledger = Ledger::begin(volumes, left_out, &mut memory);
        // Also when nothing is watched: after the system's next start it is known from when on.
        secret_file::write(&file, memory.to_text().as_bytes())
            .map_err(failed("remember how far the journals were read"))?;
        match ledger.nothing() {
            Some(reason) => Err(JournalError::Nothing { reason }),
            None => {
                let state = State { ledger, memory, file, faulty: false };
                // The standard library's keys are random.
                let instance = std::collections::hash_map::RandomState::new().build_hasher().finish();
                Ok(Self { state: Mutex::new(state), instance })
            }
        }
    }

    pub(super) fn collect(&self, timeout: Duration) -> io::Result<()> {
        std::thread::sleep(timeout);
        let mut state = self.lock();
        state.ledger.take_in();
        state.ledger.nothing().map_or(Ok(()), |reason| Err(io::Error::other(reason)))
    }

    pub(super) fn position(&self) -> Position {
        let mut state = self.lock();
        let number = state.ledger.moment();
        state.save();
        Position { instance: self.instance, number }
    }

    pub(super) fn since(&self, past: Position) -> (Position, Result<Changes, Lost>) {
        let mut state = self.lock();
        let (number, changes) = state.ledger.since(past.number);
        state.save();
        let changes = match changes {
            _ if past.instance != self.instance => Err(Lost::Restarted),
            _ if state.faulty => Err(Lost::Failed("a fault in the agent".to_owned())),
            changes => changes,
        };
        (Position { instance: self.instance, number }, changes)
    }

    pub(super) fn forget_before(&self, position: Position) {
        if position.instance == self.instance {
            self.lock().ledger.forget_before(position.number);
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.lock().ledger.coverage()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked here may have read a record without remembering it.
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut state = poisoned.into_inner();
            state.faulty = true;
            state
        })
    }
}

impl State {
    /// A memory that cannot be written stays behind, which costs a full scan after the system's next start at most.
    fn save(&mut self) {
        self.ledger.remember(&mut self.memory);
        let _ = secret_file::write(&self.file, self.memory.to_text().as_bytes());
    }
}

/// The local volumes in a folder that is the machine: all of them in the machine's root, else the one it lies on.
fn mounts_beneath(place: &Path) -> io::Result<Vec<Mount>> {
    let mounts = Mounts::read()?;
    let device = match place.as_os_str().as_encoded_bytes() {
        b"/" | b"\\" => None,
        _ => Some(Dir::open(place)?.self_meta()?.device),
    };
    let wanted = |mount: &&Mount| match device {
        Some(device) => mount.device == device,
        None => mount.class == MountClass::Local,
    };
    // A folder that stands for a drive (`subst`) shows files of another one.
    let mut seen = HashSet::new();
    let own = mounts.iter().filter(wanted).filter(|mount| volume::name_of(mount).is_ok_and(|name| seen.insert(name)));
    Ok(own.cloned().collect())
}
