//! Directories that are read at another place than their own: volumes, through their snapshots.
//!
//! **Invariant**: what is recorded of an entry (its path, its device) is what it would be at its own place.

use super::{SourceEntry, SourceOptions};
use nightkeep_platform::files::{Dir, DirEntry, FileMeta};
use nightkeep_platform::names;
use nightkeep_platform::volume_snapshot::Snapshots;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory that is read at another place: a volume through its snapshot. What is mounted beneath such a one needs an entry
/// of its own, also when it is read where it lies, as a snapshot does not hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAt {
    /// Its path from the machine's root; what is recorded.
    pub path: Vec<u8>,
    /// Where it is read.
    pub place: PathBuf,
}

/// Device numbers of a snapshot, told as those of the volume it stands for: a file is the same file in both, for hard links and
/// for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Renumber(Option<(u64, u64)>);

impl Renumber {
    pub(super) fn new(snapshot: u64, volume: u64) -> Self {
        Self((snapshot != volume).then_some((snapshot, volume)))
    }

    /// What the original would say of itself.
    pub(crate) fn apply(self, meta: FileMeta) -> FileMeta {
        match self.0 {
            Some((snapshot, volume)) if meta.device == snapshot => FileMeta { device: volume, ..meta },
            Some(_) | None => meta,
        }
    }
}

impl SourceOptions {
    /// Every wanted root as a path of this system, for a request of snapshots.
    pub fn root_paths(&self) -> Vec<PathBuf> {
        self.roots.iter().filter_map(|root| names::join(&self.machine_root, root)).collect()
    }

    /// Reads through snapshots from now on, where there are any.
    pub fn read_through(&mut self, snapshots: &Snapshots) {
        self.read_at.clear();
        if !snapshots.any() {
            return;
        }
        let root = snapshots.path_of(&self.machine_root);
        if root != self.machine_root {
            self.read_at.push(ReadAt { path: Vec::new(), place: root });
        }
        let beneath = snapshots.volumes().iter().filter_map(|volume| {
            let path = self.relative(&volume.place).filter(|path| !path.is_empty())?;
            Some(ReadAt { path, place: volume.read_at.clone() })
        });
        let beneath: Vec<ReadAt> = beneath.collect();
        self.read_at.extend(beneath);
    }

    /// A path from the machine's root; none of what lies elsewhere.
    fn relative(&self, path: &Path) -> Option<Vec<u8>> {
        // Where drives lie in the machine's root, it is no prefix of their paths.
        let is_all = matches!(self.machine_root.as_os_str().as_encoded_bytes(), b"/" | b"\\");
        let bytes =
            if is_all { names::bytes_of(path) } else { names::bytes_of(path.strip_prefix(&self.machine_root).ok()?) };
        let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
        let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(start, |last| last + 1);
        Some(bytes[start..end].to_vec())
    }

    /// Where a directory is read, when not at its own place.
    pub(super) fn place_of(&self, path: &[u8]) -> Option<&Path> {
        self.read_at.iter().find(|read_at| read_at.path == path).map(|read_at| read_at.place.as_path())
    }

    /// The entry of a directory that is read elsewhere, as it lies in the machine. In the snapshot of what holds it there is
    /// but an empty directory of its name.
    pub(super) fn original(&self, listed: &SourceEntry) -> io::Result<SourceEntry> {
        let slash = listed.path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        let above = names::join(&self.machine_root, &listed.path[..slash]).ok_or(io::ErrorKind::NotFound)?;
        let above = Dir::open(&above)?;
        let meta = above.stat(&listed.name)?;
        Ok(SourceEntry { dir: Some(Arc::new(above)), meta, renumber: Renumber::default(), ..listed.clone() })
    }
}

/// The machine's root where it is read, with what the original says of itself.
pub(super) fn open_root(options: &SourceOptions) -> io::Result<(Dir, FileMeta, Renumber)> {
    let original = || Dir::open(&options.machine_root);
    let Some(place) = options.place_of(b"") else {
        let dir = original()?;
        let meta = dir.self_meta()?;
        return Ok((dir, meta, Renumber::default()));
    };
    let dir = Dir::open(place)?;
    let meta = dir.self_meta()?;
    let renumber = Renumber::new(meta.device, original()?.self_meta()?.device);
    Ok((dir, renumber.apply(meta), renumber))
}

pub(super) fn renumbered(mut entries: Vec<DirEntry>, renumber: Renumber) -> Vec<DirEntry> {
    if renumber != Renumber::default() {
        for entry in &mut entries {
            entry.meta = std::mem::replace(&mut entry.meta, Err(io::ErrorKind::NotFound.into()))
                .map(|meta| renumber.apply(meta));
        }
    }
    entries
}
