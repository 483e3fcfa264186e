//! The folders on the way to the entry that is being restored, held open.
//!
//! **Invariant**: a folder is made once, written through its handle, and closed behind the last entry below it; at most
//! [`HANDLES_MAX`] of them are held.

use super::target::Target;
use nightkeep_platform::restore::{Known, RestoreError, TargetDir};
use nightkeep_vault::catalogue::Entry;
use nightkeep_vault::reader::is_within;
use std::sync::Arc;

/// Deeper trees are opened again by their path.
const HANDLES_MAX: usize = 64;

/// A folder that was made, with what is to be set when all below it is done.
pub(crate) struct Folder {
    pub(crate) entry: Entry,
    /// None when it could not be made, or is so deep that its handle was let go.
    dir: Option<Arc<TargetDir>>,
    made: bool,
    /// What it has from its creation.
    pub(crate) known: Option<Known>,
}

impl Folder {
    pub(crate) fn dir(&self, target: &Target) -> Result<Arc<TargetDir>, RestoreError> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => target.open_folder(&self.entry.path).map(Arc::new),
        }
    }

    /// Whether there is a folder whose attributes can be set.
    pub(crate) fn was_made(&self) -> bool {
        self.made
    }
}

/// The folders from the target down to where the restore is.
#[derive(Default)]
pub(crate) struct Folders {
    open: Vec<Folder>,
}

impl Folders {
    /// Leaves every folder that `path` is not in; innermost first.
    pub(crate) fn leave(&mut self, path: &[u8]) -> Vec<Folder> {
        let stay = self.open.iter().take_while(|folder| is_within(path, &folder.entry.path)).count();
        self.open.drain(stay..).rev().collect()
    }

    /// Leaves them all.
    pub(crate) fn leave_all(&mut self) -> Vec<Folder> {
        self.open.drain(..).rev().collect()
    }

    /// The folder that holds `path`; `path` was passed to [`Folders::leave`] before.
    pub(crate) fn parent(&mut self, target: &Target, path: &[u8]) -> Result<Arc<TargetDir>, RestoreError> {
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &path[..slash]);
        if parent.is_empty() {
            return Ok(target.root.clone());
        }
        match self.open.last_mut().filter(|folder| folder.entry.path == parent) {
            Some(folder) => {
                let dir = folder.dir(target)?;
                folder.dir = Some(dir.clone());
                Ok(dir)
            }
            None => target.open_folder(parent).map(Arc::new),
        }
    }

    /// Enters a folder that was made, or could not be.
    pub(crate) fn enter(&mut self, entry: Entry, dir: Option<TargetDir>, known: Option<Known>) {
        let made = dir.is_some();
        self.open.push(Folder { entry, dir: dir.map(Arc::new), made, known });
        if let Some(far) = self.open.len().checked_sub(HANDLES_MAX + 1) {
            self.open[far].dir = None;
        }
    }
}
