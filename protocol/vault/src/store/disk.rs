//! A store on a local disk: one file per object.
//!
//! **Invariant**: a name appears only when its bytes are durable. The bytes go to `tmp/`, are synced, then get their
//! name by a hard link, which fails when the name is taken; the directory is synced before the put answers.

use crate::codec::Time;

use super::{ObjectInfo, ObjectName, Put, Store, StoreError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const TEMPORARY: &str = "tmp";
/// What was swept lies here by the day: `trash/<days since 1970>/<name>`.
const TRASH: &str = "trash";
const DAY_SECONDS: i64 = 24 * 3600;

/// Objects as files below a folder.
#[derive(Debug)]
pub struct DiskStore {
    root: PathBuf,
    /// Makes the names of this process's temporary files differ.
    counter: AtomicU64,
    /// Random, so that two processes' temporary files differ.
    process: String,
}

impl DiskStore {
    /// Opens a folder as a store; it need not hold a vault yet, and need not exist until the first put.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let process = hex::encode(crate::crypto::random::<8>());
        Self { root: root.into(), counter: AtomicU64::new(0), process }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(name.as_str())
    }

    fn write_temporary(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn link(&self, temporary: &Path, path: &Path) -> io::Result<Put> {
        let parent = path.parent().unwrap_or(&self.root);
        match fs::hard_link(temporary, path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Exists),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_dirs(parent)?;
                match fs::hard_link(temporary, path) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Put::Exists),
                    other => other?,
                }
            }
            Err(error) => return Err(error),
        }
        sync_dir(parent)?;
        Ok(Put::Created)
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<Put> {
        let path = self.path(name);
        if path.exists() {
            // The one who created it may still be syncing its directory; "exists" promises durable.
            sync_dir(path.parent().unwrap_or(&self.root))?;
            return Ok(Put::Exists);
        }
        let temporary_dir = self.root.join(TEMPORARY);
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = temporary_dir.join(format!("{}-{number}", self.process));
        let written = match self.write_temporary(&temporary, bytes) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_dirs(&temporary_dir)?;
                self.write_temporary(&temporary, bytes)
            }
            other => other,
        };
        let put = written.and_then(|()| self.link(&temporary, &path));
        let removed = fs::remove_file(&temporary);
        let put = put?;
        removed?;
        Ok(put)
    }

    /// Names below `directory` (a path relative to the root, "" or ending in "/") that begin with `prefix`.
    fn collect(
        &self,
        directory: &str,
        prefix: &str,
        after: &str,
        out: &mut Vec<ObjectInfo>,
        limit: usize,
    ) -> io::Result<()> {
        let mut children = Vec::new();
        let entries = match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if directory.is_empty() && (name == TEMPORARY || name == TRASH) {
                continue;
            }
            let is_dir = entry.file_type()?.is_dir();
            // A directory sorts as its contents do: with the slash behind its name.
            children.push((format!("{directory}{name}{}", if is_dir { "/" } else { "" }), is_dir));
        }
        children.sort();
        for (path, is_dir) in children {
            if out.len() >= limit {
                return Ok(());
            }
            if is_dir {
                let below = path.starts_with(prefix) || prefix.starts_with(&path);
                let passed = path.as_str() < after && !after.starts_with(&path);
                if below && !passed {
                    self.collect(&path, prefix, after, out, limit)?;
                }
            } else if path.starts_with(prefix) && path.as_str() > after {
                let Ok(name) = ObjectName::new(path) else { continue };
                match fs::metadata(self.path(&name)) {
                    Ok(meta) => out.push(ObjectInfo { name, bytes: meta.len() }),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Creates `dir` and what is missing above it, and syncs each new name into its parent.
fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent();
    if let Some(parent) = parent
        && !parent.as_os_str().is_empty()
    {
        create_dirs(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match parent {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => Ok(()),
    }
}

/// Makes new names in a directory durable. Where directories cannot be opened (Windows), the file system journals names.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir) {
        Ok(handle) => handle.sync_all(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder of a day in the trash.
fn day_of(at: Time) -> String {
    format!("{:08}", at.seconds.div_euclid(DAY_SECONDS).max(0))
}

fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn failed(operation: &'static str, name: impl Into<String>, source: io::Error) -> StoreError {
    let name = name.into();
    if matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
        return StoreError::Refused { operation, name, reason: format!("{source}; check the folder's permissions") };
    }
    StoreError::Failed { operation, name, source: Box::new(source) }
}

impl Store for DiskStore {
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.put(name, bytes).map_err(|source| {
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                return StoreError::Full { name: name.clone() };
            }
            failed("write", name.as_str(), source)
        })
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let read = || {
            let mut file = File::open(self.path(name))?;
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start))?;
            }
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source: io::Error| {
            if source.kind() == ErrorKind::NotFound {
                return StoreError::NotFound { name: name.clone() };
            }
            failed("read", name.as_str(), source)
        })
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        match fs::metadata(self.path(name)) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look at", name.as_str(), error)),
        }
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut out = Vec::new();
        let directory = prefix.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
        let after = after.map_or("", ObjectName::as_str);
        self.collect(&directory, prefix, after, &mut out, limit).map_err(|source| failed("list", prefix, source))?;
        Ok(out)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("delete", name.as_str(), error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        let path = self.path(name);
        let trash = self.root.join(TRASH).join(day_of(at)).join(name.as_str());
        let sweep = || {
            create_dirs(trash.parent().unwrap_or(&self.root))?;
            fs::rename(&path, &trash)?;
            trash.parent().map_or(Ok(()), sync_dir)?;
            path.parent().map_or(Ok(()), sync_dir)
        };
        match sweep() {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("sweep", name.as_str(), error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn empty_trash(&self, before: Time) -> Result<u64, StoreError> {
        let trash = self.root.join(TRASH);
        let empty = || -> io::Result<u64> {
            let mut freed = 0;
            let days = match fs::read_dir(&trash) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                other => other?,
            };
            for day in days {
                let day = day?;
                // Days are numbers of one width, so that their order is that of their names.
                if day.file_name().to_str().is_some_and(|name| name < day_of(before).as_str()) {
                    freed += bytes_below(&day.path())?;
                    fs::remove_dir_all(day.path())?;
                }
            }
            Ok(freed)
        };
        empty().map_err(|error| failed("empty", TRASH, error))
    }

    fn location(&self) -> String {
        format!("file://{}", self.root.display())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot write has failed")]
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        crate::store::conformance::run(&DiskStore::new(dir.path().join("deep/vault")));
    }

    #[test]
    fn what_is_swept_is_gone_for_readers_and_can_be_moved_back_until_its_days_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::new(dir.path());
        let name = ObjectName::new("p/00/x").unwrap();
        let day = |days: i64| Time { seconds: days * DAY_SECONDS + 5, nanoseconds: 0 };
        store.put_create(&name, b"one").unwrap();
        store.sweep(&name, day(20_000)).unwrap();
        store.sweep(&name, day(20_000)).unwrap();
        assert_eq!(store.head(&name).unwrap(), None);
        assert!((&store as &dyn Store).list_all("").unwrap().is_empty());
        assert_eq!(store.empty_trash(day(20_000)).unwrap(), 0, "its day is not over");
        let swept = dir.path().join("trash/00020000/p/00/x");
        assert_eq!(fs::read(&swept).unwrap(), b"one");
        fs::rename(&swept, dir.path().join("p/00/x")).unwrap();
        assert_eq!(store.head(&name).unwrap(), Some(3));
        store.sweep(&name, day(20_001)).unwrap();
        assert_eq!(store.empty_trash(day(20_007)).unwrap(), 3);
        assert!(!swept.exists());
    }

    #[test]
    fn a_put_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::new(dir.path());
        let name = ObjectName::new("p/00/x").unwrap();
        store.put_create(&name, b"one").unwrap();
        store.put_create(&name, b"two").unwrap();
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    }
}
