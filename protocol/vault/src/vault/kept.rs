//! Small objects that never change, kept beside the keys so that each is fetched once.
//!
//! One file for each prefix of names (`s/<machine>/`, `r/<machine>/`, `keys/machine-`, the own new segments) in
//! `STATE_DIR/cache/<vault id>/objects/`, appended to: `u32 length, u32 CRC-32C` of what follows, `u16 length of the
//! name`, the name, the object; little-endian. A file that does not hold to that is removed, as is one of which most is
//! listed no more.
//!
//! **Invariant**: a listing of the store decides what is there; what is kept is opened and verified like what is fetched,
//! and an object whose own checksum fails is never kept.

use super::{Vault, VaultError};
use crate::object;
use crate::store::{ObjectInfo, ObjectName, StoreError};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A longer object is not kept.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// A file of own segments does not grow beyond this; the rest is fetched.
const OWN_BYTES_MAX: u64 = 64 << 20;
/// What was fetched is appended when it comes to this many bytes.
const APPEND_BYTES: usize = 1 << 20;
/// A file may hold so many objects that are listed no more, and as many as there are listed ones.
const STALE_MAX: usize = 64;
const FRAME_BYTES: usize = 8;

type Take<'a> = dyn FnMut(&ObjectInfo, Result<Vec<u8>, StoreError>) -> Result<(), VaultError> + 'a;

impl Vault {
    /// Reads listed objects of one prefix, in order, from what is kept; fetches and keeps the others.
    pub(super) fn read_kept(&self, prefix: &str, infos: &[ObjectInfo], take: &mut Take<'_>) -> Result<(), VaultError> {
        let Some(path) = self.kept_path(prefix) else { return self.fetch(infos, take) };
        let mut kept = Kept::open(&path, infos.len());
        let missing: Vec<ObjectInfo> = infos.iter().filter(|info| !kept.has(info)).cloned().collect();
        if !missing.is_empty() {
            self.keep_all(&missing, &mut |_| path.clone())?;
            kept = Kept::open(&path, infos.len());
        }
        infos.iter().try_for_each(|info| match kept.read(info) {
            Some(bytes) => take(info, Ok(bytes)),
            None => take(info, self.store.get(&info.name, object::OBJECT_BYTES_MAX)),
        })
    }

    /// Fetches and keeps what is missing of many prefixes at once, so that reading them one by one asks no more.
    pub(super) fn prefetch<'a>(
        &self,
        prefixes: impl Iterator<Item = (String, &'a Vec<ObjectInfo>)>,
    ) -> Result<(), VaultError> {
        let (mut missing, mut paths) = (Vec::new(), Vec::new());
        for (prefix, infos) in prefixes {
            let Some(path) = self.kept_path(&prefix) else { return Ok(()) };
            let kept = Kept::open(&path, infos.len());
            let new = infos.iter().filter(|info| !kept.has(info));
            missing.extend(new.cloned());
            paths.resize(missing.len(), path);
        }
        let mut paths = paths.into_iter();
        self.keep_all(&missing, &mut |_| paths.next().unwrap_or_default())
    }

    /// Fetches objects and appends each to the file that `path_of` names; it is asked once for each, in order. What
    /// cannot be kept is left out.
    fn keep_all(
        &self,
        missing: &[ObjectInfo],
        path_of: &mut dyn FnMut(&ObjectName) -> PathBuf,
    ) -> Result<(), VaultError> {
        let mut pending = Pending::default();
        self.fetch(missing, &mut |info, answer| {
            let path = path_of(&info.name);
            match answer {
                Ok(bytes) => pending.add(&path, &info.name, &bytes),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        })?;
        pending.flush();
        Ok(())
    }

    /// Reads listed objects, those that are kept first; fetches the others and keeps none of them.
    pub(super) fn fetch_unless_kept(
        &self,
        prefix: &str,
        infos: &[ObjectInfo],
        take: &mut Take<'_>,
    ) -> Result<(), VaultError> {
        let Some(path) = self.kept_path(prefix) else { return self.fetch(infos, take) };
        let mut kept = Kept::open(&path, infos.len());
        let mut missing = Vec::new();
        for info in infos {
            match kept.read(info) {
                Some(bytes) => take(info, Ok(bytes))?,
                None => missing.push(info.clone()),
            }
        }
        self.fetch(&missing, take)
    }

    /// Keeps an object that this machine put itself, so that it need not fetch it.
    pub(crate) fn keep(&self, prefix: &str, name: &ObjectName, bytes: &[u8]) {
        let Some(path) = self.kept_path(prefix) else { return };
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > OWN_BYTES_MAX) {
            return;
        }
        let mut pending = Pending::default();
        pending.add(&path, name, bytes);
        pending.flush();
    }

    /// Forgets what is kept of a prefix.
    pub(super) fn drop_kept(&self, prefix: &str) {
        if let Some(path) = self.kept_path(prefix) {
            let _ = fs::remove_file(path);
        }
    }

    fn kept_path(&self, prefix: &str) -> Option<PathBuf> {
        let dir = self.local.cache.as_ref()?.join(self.id().to_string()).join("objects");
        Some(dir.join(prefix.trim_end_matches(['/', '-']).replace('/', "_")))
    }
}

/// Objects on their way to their files.
#[derive(Default)]
struct Pending {
    files: HashMap<PathBuf, Vec<u8>>,
    bytes: usize,
}

impl Pending {
    fn add(&mut self, path: &Path, name: &ObjectName, bytes: &[u8]) {
        if bytes.len() > KEPT_BYTES_MAX || object::check_frame(bytes).is_err() {
            return;
        }
        let name = name.as_str().as_bytes();
        let mut content = Vec::with_capacity(2 + name.len() + bytes.len());
        content.extend_from_slice(&(name.len() as u16).to_le_bytes());
        content.extend_from_slice(name);
        content.extend_from_slice(bytes);
        let frame = self.files.entry(path.to_path_buf()).or_default();
        frame.extend_from_slice(&(content.len() as u32).to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        frame.extend_from_slice(&content);
        self.bytes += content.len();
        if self.bytes >= APPEND_BYTES {
            self.flush();
        }
    }

    /// One write for each file, so that two processes that append do not mix their frames.
    fn flush(&mut self) {
        for (path, bytes) in self.files.drain() {
            let append = || -> io::Result<()> {
                path.parent().map_or(Ok(()), make_private_dir)?;
                OpenOptions::new().create(true).append(true).open(&path)?.write_all(&bytes)
            };
            if let Err(error) = append() {
                tracing::warn!(path = %path.display(), %error, "What was read of the vault is not kept");
            }
        }
        self.bytes = 0;
    }
}

#[cfg(unix)]
pub(super) fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if dir.is_dir() {
        return Ok(());
    }
    dir.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir)
}

#[cfg(not(unix))]
pub(super) fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// A file of kept objects: where in it each lies.
struct Kept {
    file: Option<File>,
    /// By name: offset and length of the object, and the checksum of its frame.
    places: HashMap<String, Place>,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    bytes: u32,
    name_bytes: u16,
    crc: u32,
}

impl Kept {
    /// Opens a file of which `listed` objects are listed. One that is damaged, or mostly stale, is removed.
    fn open(path: &Path, listed: usize) -> Self {
        let none = Self { file: None, places: HashMap::new() };
        let Ok(file) = File::open(path) else { return none };
        let (places, frames) = match scan(&file) {
            Ok(scanned) => scanned,
            Err(error) => {
                tracing::info!(path = %path.display(), %error, "A file of kept objects is dropped");
                let _ = fs::remove_file(path);
                return none;
            }
        };
        if frames > 2 * listed + STALE_MAX {
            let _ = fs::remove_file(path);
        }
        Self { file: Some(file), places }
    }

    fn has(&self, info: &ObjectInfo) -> bool {
        self.places.get(info.name.as_str()).is_some_and(|place| u64::from(place.bytes) == info.bytes)
    }

    /// The object's bytes, when they are kept and their checksum matches.
    fn read(&mut self, info: &ObjectInfo) -> Option<Vec<u8>> {
        let place = *self.places.get(info.name.as_str()).filter(|place| u64::from(place.bytes) == info.bytes)?;
        let file = self.file.as_mut()?;
        let before = 2 + usize::from(place.name_bytes);
        let mut content = vec![0; before + place.bytes as usize];
        file.seek(SeekFrom::Start(place.offset - before as u64)).ok()?;
        file.read_exact(&mut content).ok()?;
        (crc32c::crc32c(&content) == place.crc).then(|| content.split_off(before))
    }
}

/// Reads the frames' heads and names, not the objects.
fn scan(file: &File) -> io::Result<(HashMap<String, Place>, usize)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a frame is damaged");
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut places, mut frames, mut at) = (HashMap::new(), 0, 0);
    while at < length {
        let mut head = [0; FRAME_BYTES + 2];
        reader.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (content, crc, name_bytes) = (number(0), number(4), u16::from_le_bytes([head[8], head[9]]));
        let bytes = content.checked_sub(2 + u32::from(name_bytes)).ok_or_else(bad)?;
        let end = at + FRAME_BYTES as u64 + u64::from(content);
        if end > length {
            return Err(bad());
        }
        let mut name = vec![0; usize::from(name_bytes)];
        reader.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(|_| bad())?;
        reader.seek_relative(i64::from(bytes))?;
        places.insert(name, Place { offset: end - u64::from(bytes), bytes, name_bytes, crc });
        (frames, at) = (frames + 1, end);
    }
    Ok((places, frames))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot write its folder has failed")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_files_are_read_or_dropped(bytes: Vec<u8>) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("kept");
            fs::write(&path, &bytes).unwrap();
            let kept = Kept::open(&path, 1);
            prop_assert!(kept.file.is_some() || !path.exists());
        }
    }
}
