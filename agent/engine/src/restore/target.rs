//! The folder that is restored into.
//!
//! **Invariant**: a target that another command might be using, or that holds foreign files, is refused before anything
//! is written; a marker tells an interrupted restore from a finished one.

use super::folders::Folder;
use super::{RunError, Shared, chain};
use crate::progress::FindingKind;
use nightkeep_platform::files::{FileKind, Timestamp};
use nightkeep_platform::restore::{Attributes, Birth, IfExists, Known, Node, RestoreError, TargetDir, write_at};
use nightkeep_vault::catalogue::{Entry, EntryKind};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names the point that is being restored; removed at the end.
const MARKER: &[u8] = b".nightkeep-restore";
/// What a target that folds case takes for the same.
const MARKER_IN_CAPITALS: &[u8] = b".NIGHTKEEP-RESTORE";
/// Begins names that are tried and removed at once.
const TRIED: &[u8] = b".nightkeep-name-";

/// An opened target.
pub(crate) struct Target {
    pub(crate) root: Arc<TargetDir>,
    path: PathBuf,
    /// What happens to files that are there.
    pub(crate) if_exists: IfExists,
    /// The target holds an interrupted restore of the same point.
    pub(crate) resumes: bool,
    /// What everything has that is made in it; known only of a target that was empty.
    pub(crate) birth: Option<Birth>,
    /// Names that differ in case alone are one to it.
    pub(crate) folds_case: bool,
}

impl Target {
    /// Creates the target where it is missing, and refuses one that holds something else.
    pub(crate) fn prepare(path: &Path, point: &str, overwrite: bool) -> Result<Self, RunError> {
        std::fs::create_dir_all(path).map_err(|source| RunError::Target {
            path: path.to_path_buf(),
            source: RestoreError {
                operation: nightkeep_platform::restore::Operation::Create,
                name: b".".to_vec(),
                source,
            },
        })?;
        let failed = |source| RunError::Target { path: path.to_path_buf(), source };
        let root = TargetDir::open(path).map_err(failed)?;
        let interrupted = read_marker(&root);
        let resumes = interrupted.as_deref() == Some(point);
        if let Some(other) = interrupted.filter(|_| !resumes && !overwrite) {
            return Err(RunError::OtherRestore { path: path.to_path_buf(), other });
        }
        if !resumes && !overwrite && !root.is_empty().map_err(failed)? {
            return Err(RunError::NotEmpty(path.to_path_buf()));
        }
        let marker = root.create_probe(MARKER, IfExists::Replace).map_err(failed)?;
        write_at(&marker, point.as_bytes(), 0).map_err(|source| {
            failed(RestoreError {
                operation: nightkeep_platform::restore::Operation::Write,
                name: MARKER.to_vec(),
                source,
            })
        })?;
        let is_new = !overwrite && !resumes;
        let if_exists = if is_new { IfExists::Fail } else { IfExists::Replace };
        let birth = if is_new { root.birth(&marker) } else { None };
        let folds_case = root.stat(MARKER_IN_CAPITALS).map_err(failed)?.is_some();
        Ok(Self { root: Arc::new(root), path: path.to_path_buf(), if_exists, resumes, birth, folds_case })
    }

    /// Whether two names are one to it: it is asked by making one and looking for the other. Not to know counts as yes, as then
    /// nothing is overwritten.
    pub(crate) fn takes_for_one(&self, one: &[u8], other: &[u8]) -> bool {
        let tried = |name: &[u8]| [TRIED, name].concat();
        let Ok(probe) = self.root.create_probe(&tried(one), IfExists::Replace) else { return true };
        drop(probe);
        let found = self.root.stat(&tried(other));
        let removed = self.root.remove(&tried(one));
        removed.is_err() || found.map_or(true, |found| found.is_some())
    }

    /// Opens a folder that was made before.
    pub(crate) fn open_folder(&self, path: &[u8]) -> Result<TargetDir, RestoreError> {
        self.root.open_beneath(path)
    }

    /// A full disk ends the run; anything else is one file's trouble.
    pub(crate) fn check_space(&self, error: &RestoreError) -> Result<(), RunError> {
        if error.source.kind() != std::io::ErrorKind::StorageFull {
            return Ok(());
        }
        let text = "no space left; free space and run the same command again";
        let source = std::io::Error::new(error.source.kind(), text);
        let source = RestoreError { operation: error.operation, name: error.name.clone(), source };
        Err(RunError::Target { path: self.path.clone(), source })
    }

    /// Makes an entry that has no contents.
    pub(crate) fn make(&self, dir: &TargetDir, entry: &Entry) -> Result<(), RestoreError> {
        let (name, if_exists) = (entry.name(), self.if_exists);
        let (major, minor) = entry.extras.device.unwrap_or_default();
        match entry.kind {
            EntryKind::Directory => dir.create_dir(name, if_exists).map(drop),
            EntryKind::Symlink => dir.symlink(name, entry.extras.link_target.as_deref().unwrap_or_default(), if_exists),
            EntryKind::Fifo => dir.node(name, Node::Fifo, if_exists),
            EntryKind::Socket => dir.node(name, Node::Socket, if_exists),
            EntryKind::CharDevice => dir.node(name, Node::CharDevice(major, minor), if_exists),
            EntryKind::BlockDevice => dir.node(name, Node::BlockDevice(major, minor), if_exists),
            EntryKind::File => dir.create_file(name, if_exists).map(drop),
        }
    }

    /// Gives a file that was restored before a further name.
    pub(crate) fn link(&self, dir: &TargetDir, name: &[u8], first: &[u8]) -> Result<(), RestoreError> {
        let slash = first.iter().rposition(|byte| *byte == b'/');
        let (parent, original) = slash.map_or((&[][..], first), |slash| (&first[..slash], &first[slash + 1..]));
        if parent.is_empty() {
            return dir.hard_link(name, &self.root, original, self.if_exists);
        }
        dir.hard_link(name, &self.root.open_beneath(parent)?, original, self.if_exists)
    }

    /// Makes everything durable, and only then removes the marker.
    pub(crate) fn finish(&self) -> Result<(), RunError> {
        let failed = |source| RunError::Target { path: self.path.clone(), source };
        self.root.sync_filesystem().map_err(failed)?;
        let before = self.root.as_dir().self_meta().ok();
        self.root.remove(MARKER).map_err(failed)?;
        if let Some(meta) = before {
            // Removing the marker touched the target's own time, which may have been restored.
            let (kind, modified) = (FileKind::Directory, meta.modified);
            let known = Known { uid: meta.uid, gid: meta.gid, mode: meta.mode };
            let attributes = Attributes { kind, mode: meta.mode, uid: meta.uid, gid: meta.gid, modified, xattrs: &[] };
            self.root.set_own_attributes(&attributes, Some(known));
        }
        self.root.sync().map_err(failed)
    }
}

fn read_marker(root: &TargetDir) -> Option<String> {
    let file = root.as_dir().open_file(MARKER).ok()?;
    let mut text = String::new();
    file.take(256).read_to_string(&mut text).ok()?;
    Some(text)
}

pub(crate) fn file_kind(kind: EntryKind) -> FileKind {
    match kind {
        EntryKind::File => FileKind::Regular,
        EntryKind::Directory => FileKind::Directory,
        EntryKind::Symlink => FileKind::Symlink,
        EntryKind::Fifo => FileKind::Fifo,
        EntryKind::Socket => FileKind::Socket,
        EntryKind::CharDevice => FileKind::CharDevice,
        EntryKind::BlockDevice => FileKind::BlockDevice,
    }
}

pub(crate) fn attributes(entry: &Entry) -> Attributes<'_> {
    Attributes {
        kind: file_kind(entry.kind),
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        modified: Timestamp { seconds: entry.modified.seconds, nanoseconds: entry.modified.nanoseconds },
        xattrs: &entry.extras.xattrs,
    }
}

impl Shared<'_> {
    /// Notes an entry that could not be made.
    pub(crate) fn unrestored(&self, entry: &Entry, error: &RestoreError) -> Result<(), RunError> {
        self.target.check_space(error)?;
        self.finding(FindingKind::Unrestored, &entry.path, chain(error));
        Ok(())
    }

    /// Sets an entry's metadata; what is refused is a finding.
    pub(crate) fn set_attributes(&self, dir: &TargetDir, entry: &Entry) {
        self.note_refused(entry, &dir.set_attributes(entry.name(), &attributes(entry)));
    }

    /// Sets a folder's metadata, when all below it is done.
    pub(crate) fn set_folder(&self, folder: &Folder) {
        let refused = match folder.dir(&self.target) {
            Ok(dir) => dir.set_own_attributes(&attributes(&folder.entry), folder.known),
            Err(error) => vec![error],
        };
        if !folder.entry.extras.ancestor {
            self.note_refused(&folder.entry, &refused);
        }
    }

    /// The root of the machine lends its metadata to the target only when it was backed up itself.
    pub(crate) fn set_root(&self, entry: &Entry) {
        if !entry.extras.ancestor {
            let refused = self.target.root.set_own_attributes(&attributes(entry), None);
            self.note_refused(entry, &refused);
        }
    }

    pub(crate) fn note_refused(&self, entry: &Entry, refused: &[RestoreError]) {
        if let Some(first) = refused.first() {
            self.finding(FindingKind::Metadata, &entry.path, chain(first));
        }
    }
}
