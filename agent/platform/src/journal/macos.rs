//! macOS: not built yet. The design: an `FSEventStream` with `kFSEventStreamCreateFlagFileEvents` off (directories are what
//! is asked for) and history from a persisted event id, so a position is the event id and the instance the volume's UUID
//! from `FSEventsCopyUUIDForDevice` (another UUID, or a smaller id: [`Lost::Restarted`](super::Lost)). Events name paths: they
//! are resolved to identities when a run begins. `kFSEventStreamEventFlagMustScanSubDirs` makes the directory *remounted* (all
//! beneath it unknown), `UserDropped` and `KernelDropped` lose the position, `Mount` and `Unmount` as on Linux. Writes through
//! mappings are seen when the file is closed; files open for writing are asked of `proc_pidinfo(PROC_PIDLISTFDS)`.

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
