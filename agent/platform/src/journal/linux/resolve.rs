//! From handles to identities: which directory an event meant, and which directories lead to it.
//!
//! **Invariant**: a directory that exists and cannot be placed loses the journal; one that is gone is nobody's concern, since
//! its going is an event of its parent.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::handle::Handle;
use super::watches::{Opened, Watches};
use crate::journal::{Changes, FileId, Lost};

/// Deeper trees than any filesystem lets anybody make by path.
const DEPTH_MAX: usize = 8192;

/// Resolves handles of filesystems that were watched since a moment.
pub(super) struct Resolver {
    opened: HashMap<u64, Opened>,
    changes: Changes,
    /// Directories that were climbed through: everything above them is here too.
    climbed: HashSet<FileId>,
}

impl Resolver {
    pub(super) fn new(watches: &Watches, past: u64) -> Self {
        let opened = watches.open_since(past);
        let mut changes =
            Changes { leading: watches.leading(past), remounted: watches.remounted(past), ..Changes::default() };
        changes.devices = opened.values().map(|opened| opened.root.device).collect();
        Self { opened, changes, climbed: HashSet::new() }
    }

    pub(super) fn directory(&mut self, handle: &Handle) -> Result<(), Lost> {
        // Of a filesystem that is not vouched for: read in full anyway.
        let Some(opened) = self.opened.get(&handle.filesystem) else { return Ok(()) };
        let Some(fd) = open(handle, opened)? else { return Ok(()) };
        let (id, links) = identity(&fd).map_err(failed)?;
        if links == 0 {
            return Ok(());
        }
        self.changes.changed.insert(id);
        ascend(fd, id, opened.root, &mut self.climbed)
    }

    pub(super) fn file(&mut self, handle: &Handle) -> Result<(), Lost> {
        let Some(opened) = self.opened.get(&handle.filesystem) else { return Ok(()) };
        let Some(fd) = open(handle, opened)? else { return Ok(()) };
        let (id, links) = identity(&fd).map_err(failed)?;
        if links > 0 {
            self.changes.files.insert(id.inode);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Changes {
        self.changes.leading.extend(self.climbed);
        self.changes
    }
}

/// Forgets what exists no more.
pub(super) fn drop_gone(map: &mut HashMap<Handle, u64>, watches: &Watches) {
    let opened = watches.open_since(u64::MAX);
    map.retain(|handle, _| {
        let Some(opened) = opened.get(&handle.filesystem) else { return true };
        match handle.open(opened.fd.as_fd()) {
            Ok(Some(fd)) => identity(&fd).map_or(true, |(_, links)| links > 0),
            Ok(None) => false,
            Err(_) => true,
        }
    });
}

fn open(handle: &Handle, opened: &Opened) -> Result<Option<OwnedFd>, Lost> {
    handle.open(opened.fd.as_fd()).map_err(|error| Lost::Failed(error.to_string()))
}

/// Notes every directory from here up to the filesystem's root as leading here.
fn ascend(from: OwnedFd, id: FileId, root: FileId, climbed: &mut HashSet<FileId>) -> Result<(), Lost> {
    let (mut fd, mut id) = (from, id);
    for _ in 0..DEPTH_MAX {
        if id == root {
            return Ok(());
        }
        let parent = rustix::fs::openat(&fd, c"..", OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY, Mode::empty());
        let parent = match parent {
            Ok(parent) => parent,
            // It went while we climbed; if it was moved instead, the queue tells and we are asked again.
            Err(Errno::NOENT) => return Err(Lost::Unsettled),
            Err(error) => return Err(failed(error)),
        };
        let (above, _) = identity(&parent).map_err(failed)?;
        if above == id {
            return Err(Lost::Unsettled);
        }
        if !climbed.insert(above) {
            return Ok(());
        }
        (fd, id) = (parent, above);
    }
    Err(Lost::Unsettled)
}

fn identity(fd: &OwnedFd) -> Result<(FileId, u32), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(fd, c"", flags, StatxFlags::INO | StatxFlags::NLINK)?;
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Ok((FileId { device, inode: stat.stx_ino }, stat.stx_nlink))
}

fn failed(error: Errno) -> Lost {
    Lost::Failed(std::io::Error::from(error).to_string())
}
