//! The folder where the files of an index lie: the cache that outlives the process, or a private one that goes with it.
//!
//! **Invariant**: a cache belongs to the one process that holds its lock; whoever does not get it works in private.

use super::IndexError;
use crate::crypto::random;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const LOCK: &str = "lock";
const MANIFEST: &str = "manifest";
const MANIFEST_NEW: &str = "manifest.new";

/// What ties a page to its file: the id of the cache and the number of the file in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    pub(crate) cache: [u8; 16],
    pub(crate) file: u32,
}

impl Stamp {
    pub(crate) fn bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&self.cache);
        bytes[16..].copy_from_slice(&self.file.to_le_bytes());
        bytes
    }
}

/// What is done to files, so that a test can end it at every step and look at the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Create(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    Publish(PathBuf),
    Remove(PathBuf),
}

/// Every effect passes here. In production it passes at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effects(Option<Arc<Mutex<Script>>>);

/// What a test wants of the effects.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// What was done.
    pub(crate) done: Vec<Effect>,
    /// From this effect on everything fails: the process has crashed, or the disk is full.
    pub(crate) fail_from: Option<usize>,
}

impl Effects {
    #[cfg(test)]
    pub(crate) fn scripted(script: Arc<Mutex<Script>>) -> Self {
        Self(Some(script))
    }

    fn pass(&self, effect: impl FnOnce() -> Effect) -> io::Result<()> {
        let Some(script) = &self.0 else { return Ok(()) };
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        if script.fail_from.is_some_and(|from| script.done.len() >= from) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        script.done.push(effect());
        Ok(())
    }
}

/// A folder of files of an index.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// Random; new whenever the cache is begun anew, so that files of an earlier one are never taken for its own.
    pub(crate) id: [u8; 16],
    /// The number of the next file.
    pub(crate) next: u32,
    /// Files below this number are named by the published manifest and are not removed before the next one.
    published: u32,
    /// Held, not read: the lock lives as long as the file. None: private, and removed in the end.
    lock: Option<File>,
    effects: Effects,
}

impl Home {
    /// Takes the cache in `dir`. None when another process has it, or when the folder cannot be used.
    pub(crate) fn cache(dir: &Path, effects: Effects) -> Option<Self> {
        let take = || -> io::Result<Option<File>> {
            make_private_dir(dir)?;
            let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) => Ok(Some(lock)),
                Err(fs::TryLockError::WouldBlock) => Ok(None),
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        };
        match take() {
            Ok(Some(lock)) => Some(Self::at(dir.to_path_buf(), Some(lock), effects)),
            Ok(None) => {
                tracing::info!(dir = %dir.display(), "Another process uses the index cache; this one works without");
                None
            }
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "The index cache cannot be used; the run goes on without");
                None
            }
        }
    }

    /// Makes a private folder in the system's place for temporary files.
    pub(crate) fn private(effects: Effects) -> Result<Self, IndexError> {
        let dir = std::env::temp_dir().join(format!("nightkeep-index-{}", hex::encode(random::<8>())));
        let failed = |source| IndexError::Io { operation: "create", path: dir.clone(), source };
        effects.pass(|| Effect::Create(dir.clone())).map_err(failed)?;
        make_private_dir(&dir).map_err(failed)?;
        Ok(Self::at(dir, None, effects))
    }

    fn at(dir: PathBuf, lock: Option<File>, effects: Effects) -> Self {
        Self { dir, id: random(), next: 1, published: 0, lock, effects }
    }

    pub(crate) fn is_cache(&self) -> bool {
        self.lock.is_some()
    }

    pub(crate) fn path(&self, number: u32, extension: &str) -> PathBuf {
        self.dir.join(format!("{number:08x}.{extension}"))
    }

    pub(crate) fn take_number(&mut self) -> Stamp {
        self.next += 1;
        Stamp { cache: self.id, file: self.next - 1 }
    }

    pub(crate) fn create(&self, path: &Path) -> Result<Output, IndexError> {
        let create = || {
            self.effects.pass(|| Effect::Create(path.to_path_buf()))?;
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
        };
        let file = create().map_err(|source| failed("create", path, source))?;
        Ok(Output {
            file,
            path: path.to_path_buf(),
            buffer: Vec::with_capacity(OUTPUT_BYTES),
            effects: self.effects.clone(),
        })
    }

    /// Appends to a file that exists, from `offset` on.
    pub(crate) fn append(&self, path: &Path, offset: u64) -> Result<Output, IndexError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = open().map_err(|source| failed("open", path, source))?;
        Ok(Output { file, path: path.to_path_buf(), buffer: Vec::new(), effects: self.effects.clone() })
    }

    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<(), IndexError> {
        let sync = || {
            self.effects.pass(|| Effect::Sync(path.to_path_buf()))?;
            file.sync_data()
        };
        sync().map_err(|source| failed("sync", path, source))
    }

    /// Removes a file that no published manifest names; what cannot be removed is swept later.
    pub(crate) fn discard(&self, stamp: &Stamp, path: &Path) {
        if stamp.cache == self.id && stamp.file >= self.published {
            self.remove(path);
        }
    }

    fn remove(&self, path: &Path) {
        let removed = self.effects.pass(|| Effect::Remove(path.to_path_buf())).and_then(|()| fs::remove_file(path));
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, "A file of the index stays until it is swept");
        }
    }

    pub(crate) fn read_manifest(&self, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.dir.join(MANIFEST);
        let length = fs::metadata(&path).ok()?.len();
        if length > bytes_max { None } else { fs::read(&path).ok() }
    }

    /// Puts a manifest in the place of the one before. Everything it names is synced by now.
    pub(crate) fn publish(&mut self, manifest: &[u8]) -> Result<(), IndexError> {
        let (new, path) = (self.dir.join(MANIFEST_NEW), self.dir.join(MANIFEST));
        let mut output = self.create(&new)?;
        output.write(manifest)?;
        let file = output.finish()?;
        self.sync(&file, &new)?;
        self.sync_dir()?;
        let publish = || {
            self.effects.pass(|| Effect::Publish(path.clone()))?;
            fs::rename(&new, &path)
        };
        publish().map_err(|source| failed("replace", &path, source))?;
        self.published = self.next;
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), IndexError> {
        let sync = || {
            self.effects.pass(|| Effect::Sync(self.dir.clone()))?;
            match File::open(&self.dir) {
                Ok(dir) => dir.sync_all(),
                // Where directories cannot be opened (Windows), the file system journals names.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                Err(error) => Err(error),
            }
        };
        sync().map_err(|source| failed("sync", &self.dir, source))
    }

    /// Forgets what the cache holds: the next process begins anew, whatever this one does.
    pub(crate) fn forget(&self) {
        if self.is_cache() {
            self.remove(&self.dir.join(MANIFEST));
        }
    }

    /// Goes on with what a manifest names.
    pub(crate) fn adopt(&mut self, id: [u8; 16], next: u32) {
        (self.id, self.next, self.published) = (id, next, next);
    }

    /// Begins anew under another id.
    pub(crate) fn begin_anew(&mut self) {
        self.forget();
        (self.id, self.published) = (random(), 0);
        self.sweep(&[]);
    }

    /// Removes every numbered file that is not in `keep`.
    pub(crate) fn sweep(&self, keep: &[u32]) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let number = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 8);
            let number = number.and_then(|stem| u32::from_str_radix(stem, 16).ok());
            if number.is_some_and(|number| !keep.contains(&number)) {
                self.remove(&path);
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.is_cache() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> IndexError {
    IndexError::Io { operation, path: path.to_path_buf(), source }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    dir.parent().map_or(Ok(()), fs::create_dir_all)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

const OUTPUT_BYTES: usize = 64 << 10;

/// A file that is being written, in large writes.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    effects: Effects,
}

impl Output {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= OUTPUT_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<(), IndexError> {
        let passed = self.effects.pass(|| Effect::Write(self.path.clone()));
        let written = passed.inspect_err(|_| {
            // What a crash leaves of a write is a part of it.
            let _ = self.file.write_all(&self.buffer[..self.buffer.len() / 2]);
        });
        let written = written.and_then(|()| self.file.write_all(&self.buffer));
        self.buffer.clear();
        written.map_err(|source| failed("write", &self.path, source))
    }

    /// Writes what is left and gives the file, for reading.
    pub(crate) fn finish(mut self) -> Result<File, IndexError> {
        self.flush()?;
        Ok(self.file)
    }
}
