//! Copies of the metadata packs that this machine wrote, so that its next run reads its last catalogue from its own disk.
//!
//! They lie in `STATE_DIR/cache/<vault id>/meta/<pack id>`.
//!
//! **Invariant**: a copy is believed no more than what is fetched: footer and blocks are opened with their keys, and a
//! copy that does not open is dropped for the pack in the store.

use super::Vault;
use super::kept::make_private_dir;
use crate::id::PackId;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Beyond this the folder is cut down to what the newest point needs.
const FOLDER_BYTES_MAX: u64 = 256 << 20;

impl Vault {
    /// Keeps a metadata pack that this machine put. It is written under another name first, so that half a pack never
    /// has the name; as a cache it is not synced.
    pub(crate) fn keep_meta_pack(&self, id: PackId, bytes: &[u8]) {
        let Some(path) = self.meta_path(id) else { return };
        let write = || -> io::Result<()> {
            path.parent().map_or(Ok(()), make_private_dir)?;
            let new = path.with_extension(hex::encode(crate::crypto::random::<4>()));
            fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path)).inspect_err(|_| drop(fs::remove_file(&new)))
        };
        if let Err(error) = write() {
            tracing::debug!(path = %path.display(), %error, "A metadata pack is not kept");
        }
    }

    /// The length of the copy of a metadata pack, where there is one.
    pub(crate) fn kept_meta_bytes(&self, id: PackId) -> Option<u64> {
        fs::metadata(self.meta_path(id)?).ok().map(|meta| meta.len())
    }

    /// A part of the copy of a metadata pack, cut to what is there.
    pub(crate) fn kept_meta(&self, id: PackId, range: Range<u64>) -> Option<Vec<u8>> {
        let mut file = File::open(self.meta_path(id)?).ok()?;
        file.seek(SeekFrom::Start(range.start)).ok()?;
        let mut bytes = Vec::new();
        file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Drops the copy of a metadata pack that did not open; answers whether there was one.
    pub(crate) fn drop_meta_pack(&self, id: PackId) -> bool {
        self.meta_path(id).is_some_and(|path| fs::remove_file(path).is_ok())
    }

    /// Cuts the folder down when it has grown: what the newest point needs stays.
    pub(crate) fn trim_meta_packs(&self, needed: &[PackId]) {
        let Some(Ok(entries)) = self.meta_dir().map(fs::read_dir) else { return };
        let files: Vec<(PathBuf, u64)> =
            entries.flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect();
        let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let is_needed = |path: &Path| {
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            id.is_some_and(|id: PackId| needed.contains(&id))
        };
        for (path, length) in files.into_iter().filter(|(path, _)| !is_needed(path)) {
            if bytes <= FOLDER_BYTES_MAX {
                return;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= length;
            }
        }
    }

    fn meta_dir(&self) -> Option<PathBuf> {
        Some(self.local.cache.as_ref()?.join(self.id().to_string()).join("meta"))
    }

    fn meta_path(&self, id: PackId) -> Option<PathBuf> {
        Some(self.meta_dir()?.join(id.to_string()))
    }
}
