//! From paths to identities, with every directory on the way.
//!
//! **Invariant**: a path that is there and cannot be placed loses the journal; one that is gone is nobody's concern.

use std::collections::{HashMap, HashSet};
use std::io;

use super::parent;
use crate::files::{Dir, FileKind, FileMeta};
use crate::journal::{FileId, Lost};
use crate::mounts::apple::DATA_VOLUME;
use crate::names;

/// Deeper than any path that a system call takes.
const DEPTH_MAX: usize = 1024;

/// What was looked up for one answer.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Directories by path; none for what is no directory, or gone.
    known: HashMap<Vec<u8>, Option<FileId>>,
    leading: HashSet<FileId>,
}

/// The names under which a walk may come to a path: its own, and where firm links show it.
pub(super) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rest = path.strip_prefix(DATA_VOLUME);
    let alias = rest.and_then(|rest| match rest {
        [] => Some(b"/".as_slice()),
        [b'/', ..] => Some(rest),
        // Another volume whose name begins alike.
        _ => None,
    });
    std::iter::once(path).chain(alias)
}

impl Places {
    /// The directory at a path. All above it are leading to it.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Option<FileId>, Lost> {
        self.find_within(path, DEPTH_MAX)
    }

    /// Everything above what was found.
    pub(super) fn leading(self) -> HashSet<FileId> {
        self.leading
    }

    fn find_within(&mut self, path: &[u8], depth: usize) -> Result<Option<FileId>, Lost> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        if depth == 0 {
            return Err(Lost::Failed("a path that is deeper than any".to_owned()));
        }
        let found = if path == b"/" {
            look(path, None)?
        } else {
            let above = parent(path);
            match self.find_within(above, depth - 1)? {
                Some(leading) => {
                    // Also where it is gone: the name that went was one of that folder's.
                    self.leading.insert(leading);
                    look(above, path.get(above.len()..))?
                }
                None => None,
            }
        };
        self.known.insert(path.to_vec(), found);
        Ok(found)
    }
}

/// The directory `name` in the directory at `above`, or that one itself.
fn look(above: &[u8], name: Option<&[u8]>) -> Result<Option<FileId>, Lost> {
    let unplaced =
        |error: io::Error| Lost::Blind(format!("{} cannot be looked up: {error}", String::from_utf8_lossy(above)));
    let Some(place) = names::path_of(above) else { return Ok(None) };
    let found = Dir::open(&place).and_then(|dir| match name {
        Some(name) => dir.stat(name.strip_prefix(b"/").unwrap_or(name)),
        None => dir.self_meta(),
    });
    match found {
        Ok(FileMeta { kind: FileKind::Directory, device, inode, .. }) => Ok(Some(FileId { device, inode })),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unplaced(error)),
    }
}
