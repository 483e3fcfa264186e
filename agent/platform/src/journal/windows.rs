//! Windows: not there yet. The design: one USN journal per NTFS or ReFS volume. A position is the journal id
//! (`FSCTL_QUERY_USN_JOURNAL`) as the instance and the last USN as the number; another id, or a USN below `FirstUsn`, is
//! [`Lost::Restarted`](super::Lost): the journal wrapped or was made anew. `FSCTL_READ_USN_JOURNAL` from that USN gives records
//! with the file reference numbers of the file and of its parent directory: the parent is what changed, a record without close
//! counts too, and a hard link change names the file itself. A file reference number with its volume serial number is a
//! [`FileId`](super::FileId); ancestors are opened by id (`OpenFileById`) and asked for their parents. Writes through mappings
//! are recorded at the first write-back and at close; files with writable sections are read anew. The system keeps the
//! journal, so a position is written to disk and outlives restarts of the agent.
//!
//! What must be solved first, and tried on a real Windows: a record is written when a file changes in a *new* way since it
//! was opened, and when it is closed. A file that was written to before a position and stays open (a database, a disk of a
//! virtual machine, a mailbox) may be written to after it without any record, for months, until its first record has long
//! left the journal. So open files are to be found by themselves (`FSCTL_WRITE_USN_CLOSE_RECORD` for those whose last record
//! is no close; a listing of handles for those without one), or nothing is vouched for while such a file may exist.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Changes, Coverage, JournalError, JournalOptions, Lost, Position};
use crate::Unsupported;

/// There is none, so there is no value of it.
#[derive(Debug)]
pub(super) struct Journal(Infallible);

impl Journal {
    pub(super) fn open(_place: &Path, _options: JournalOptions) -> Result<Self, JournalError> {
        Err(Unsupported { what: "a change journal" }.into())
    }

    pub(super) fn collect(&self, _timeout: Duration) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn position(&self) -> Position {
        match self.0 {}
    }

    pub(super) fn since(&self, _past: Position) -> (Position, Result<Changes, Lost>) {
        match self.0 {}
    }

    pub(super) fn forget_before(&self, _position: Position) {
        match self.0 {}
    }

    pub(super) fn coverage(&self) -> Coverage {
        match self.0 {}
    }
}
