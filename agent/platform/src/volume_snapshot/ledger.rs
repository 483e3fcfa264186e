//! Snapshots that a run is about to make, written down first, so that a later process can remove what a dead one left.
//!
//! One file a run, locked for as long as its process lives: a file that can be locked belongs to nobody.
//!
//! **Invariant**: an entry is on the disk before the snapshot it names exists.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const EXTENSION: &str = "snapshots";
/// A ledger that is longer was not written by us.
const BYTES_MAX: u64 = 1 << 20;

/// The ledger of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    path: PathBuf,
}

impl Ledger {
    /// Begins one in the folder `state`, which is made.
    pub(crate) fn begin(state: &Path) -> io::Result<Self> {
        fs::create_dir_all(state)?;
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let path = state.join(format!("{nanoseconds:x}-{:x}.{EXTENSION}", std::process::id()));
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
        file.lock()?;
        Ok(Self { file, path })
    }

    /// A word that no other run has, for the names of what it makes.
    #[cfg(unix)]
    pub(crate) fn run(&self) -> String {
        self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Writes an entry down durably: one line, which must hold no line break.
    pub(crate) fn note(&mut self, entry: &str) -> io::Result<()> {
        if entry.contains('\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry of more than one line"));
        }
        self.file.write_all(format!("{entry}\n").as_bytes())?;
        self.file.sync_all()
    }

    /// Everything it names is gone.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.file);
        fs::remove_file(&self.path)
    }
}

/// A ledger whose process is gone; locked by us now.
#[derive(Debug)]
pub(crate) struct Orphan {
    entries: Vec<String>,
    file: File,
    path: PathBuf,
}

impl Orphan {
    /// What it names.
    pub(crate) fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Everything it names is gone.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.file);
        fs::remove_file(&self.path)
    }
}

/// The ledgers whose processes are gone; none when there is no such folder.
pub(crate) fn orphans(state: &Path) -> io::Result<Vec<Orphan>> {
    let listed = match fs::read_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut orphans = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            orphans.extend(orphan(path)?);
        }
    }
    Ok(orphans)
}

fn orphan(path: PathBuf) -> io::Result<Option<Orphan>> {
    let mut file = match OpenOptions::new().read(true).append(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = Vec::new();
    io::Read::by_ref(&mut file).take(BYTES_MAX).read_to_end(&mut text)?;
    // A line without its end was never followed by a snapshot.
    let text = String::from_utf8_lossy(&text);
    let entries = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned);
    Ok(Some(Orphan { entries: entries.collect(), file, path }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot make its files has failed")]
    use super::{Ledger, orphans};
    use std::io::Write as _;

    #[test]
    fn a_ledger_is_an_orphan_only_once_its_process_let_go() {
        let dir = tempfile::tempdir().unwrap();
        assert!(orphans(&dir.path().join("nothing")).unwrap().is_empty());
        let mut ledger = Ledger::begin(dir.path()).unwrap();
        ledger.note("lvm vg/root-snap").unwrap();
        assert!(orphans(dir.path()).unwrap().is_empty());
        // As if the process had died in the middle of writing.
        ledger.file.write_all(b"half a li").unwrap();
        drop(ledger);
        let found = orphans(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].entries(), ["lvm vg/root-snap"]);
        found.into_iter().for_each(|orphan| orphan.finish().unwrap());
        assert!(orphans(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_finished_ledger_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::begin(dir.path()).unwrap();
        assert!(ledger.note("two\nlines").is_err());
        ledger.finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
