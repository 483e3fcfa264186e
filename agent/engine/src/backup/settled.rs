//! Directories the change journal vouches for: their subtrees are taken from the parent's catalogue, unread.
//!
//! Why the result is what a full scan would find. Let the journal begin at a moment before the parent's run. A directory that it
//! vouches for has had no change since, in it or anywhere beneath it; so the parent's run, which came to it later (or took it over
//! on the same grounds), recorded what is there now, if it recorded *this* directory under this path. That is told by its own
//! metadata: number, times, owner, rights. Nothing else about the parent's time matters: a file that was written while the
//! parent's run read it was written after the moment, so its directory is not vouched for.
//!
//! Four things are looked at nevertheless, by a stat each: files with several names, which change through any of them; files
//! the journal names; files that the parent could not read in peace; and whatever the parent had a finding about, so that no
//! trouble is silently forgotten.
//!
//! **Invariant**: any doubt ends in the ordinary way: the directory is entered and compared file by file.

use super::parent::{Parent, Parents};
use super::scan::time;
use crate::changed::ChangedDirs;
use crate::source::{SourceEntry, Trust};
use nightkeep_platform::files::{Dir, FileKind};
use nightkeep_vault::catalogue::{Entry, EntryKind};
use std::io;
use std::sync::Arc;

/// What a walk may trust: the journal, when it begins with the very parent of this run and the parent is whole.
pub(crate) fn trust(changed: Option<&Arc<ChangedDirs>>, parents: &Parents) -> Option<Trust> {
    let (changed, parent) = (changed?, parents.complete.as_ref()?);
    let doubtful = parent.findings();
    if parent.id() != changed.since || !parent.healthy || doubtful.is_none() {
        tracing::info!("The change journal does not fit the last recovery point; everything is looked at");
        return None;
    }
    changed.begin();
    Some(Trust { changed: changed.clone(), doubtful: doubtful? })
}

/// Whether the parent recorded this very directory, as it is.
pub(crate) fn is_same_directory(before: &Entry, now: &SourceEntry) -> bool {
    let meta = &now.meta;
    before.kind == EntryKind::Directory
        && before.inode == meta.inode
        && before.mode == meta.mode
        && before.uid == meta.uid
        && before.gid == meta.gid
        && before.modified == time(meta.modified)
        && before.changed == time(meta.changed)
        && before.extras.ancestor == now.ancestor
}

/// A subtree that is being taken over.
pub(crate) struct Settled {
    /// The directory at its top.
    pub(crate) top: Box<SourceEntry>,
    /// The parent that has it.
    pub(crate) parent: Arc<Parent>,
    changed: Arc<ChangedDirs>,
    /// The path that was taken over last.
    pub(crate) last: Vec<u8>,
    /// The directory opened last, for the next look in it.
    opened: Option<(Vec<u8>, Arc<Dir>)>,
}

impl Settled {
    pub(crate) fn new(top: Box<SourceEntry>, parent: Arc<Parent>, changed: Arc<ChangedDirs>) -> Self {
        changed.count_taken_over();
        Self { last: top.path.clone(), top, parent, changed, opened: None }
    }

    /// Whether an entry beneath has to be looked at by itself.
    pub(crate) fn needs_look(&mut self, before: &Entry) -> bool {
        self.last.clone_from(&before.path);
        if before.kind == EntryKind::Directory {
            self.changed.count_taken_over();
            return false;
        }
        before.extras.link_group.is_some()
            || before.extras.inconsistent
            || self.changed.changes.names_file(before.inode)
    }

    /// Looks at one entry; none when it is gone, or a directory by now: then its own directory has changed, for the next run.
    pub(crate) fn look(&mut self, path: &[u8]) -> io::Result<Option<SourceEntry>> {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        let (above, name) = (&path[..slash], &path[slash..]);
        let name = name.strip_prefix(b"/").unwrap_or(name).to_vec();
        let found = self.directory(above).and_then(|dir| Ok((dir.stat(&name)?, dir)));
        match found {
            Ok((meta, _)) if meta.kind == FileKind::Directory => Ok(None),
            Ok((meta, dir)) => {
                let (path, renumber) = (path.to_vec(), self.top.renumber);
                let meta = renumber.apply(meta);
                Ok(Some(SourceEntry { dir: Some(dir), name, path, meta, ancestor: false, renumber }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn directory(&mut self, path: &[u8]) -> io::Result<Arc<Dir>> {
        if let Some((opened, dir)) = &self.opened
            && opened == path
        {
            return Ok(dir.clone());
        }
        let Some(above) = &self.top.dir else { return Err(io::ErrorKind::NotFound.into()) };
        let mut dir = above.open_dir(&self.top.name)?;
        let beneath = path.get(self.top.path.len()..).unwrap_or_default();
        for part in beneath.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            dir = dir.open_dir(part)?;
        }
        let dir = Arc::new(dir);
        self.opened = Some((path.to_vec(), dir.clone()));
        Ok(dir)
    }
}
