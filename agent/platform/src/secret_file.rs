//! Small files only their owner can read: keys, tokens, the outbox's state.
//!
//! **Invariant**: a reader sees the old contents or the new ones, whole, whatever crashes in between; and the bytes were
//! never readable by anybody else, not for a moment.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg_attr(target_os = "linux", path = "secret_file/linux.rs")]
#[cfg_attr(target_os = "macos", path = "secret_file/macos.rs")]
#[cfg_attr(target_os = "windows", path = "secret_file/windows.rs")]
mod system;

/// Replaces `path` by a file with these contents, durably.
pub fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, contents)?;
    finish(path, &temporary, fs::rename(&temporary, path))
}

/// Creates `path` with these contents, durably; an existing file stays as it is and the error is `AlreadyExists`.
pub fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, contents)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    finish(path, &temporary, linked.and(removed))
}

/// Creates the directory `path` and its missing parents, for the owner alone.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    system::create_private_dir(path)
}

/// Makes creations, renames and removals within the directory `path` durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    system::sync_dir(path)
}

fn write_temporary(path: &Path, contents: &[u8]) -> io::Result<PathBuf> {
    let temporary = temporary_beside(path)?;
    let written = system::create_new(&temporary).and_then(|file| fill(file, contents));
    if let Err(error) = written {
        // The cause matters, not that the remains could not be removed either.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(temporary)
}

fn fill(mut file: File, contents: &[u8]) -> io::Result<()> {
    file.write_all(contents)?;
    file.sync_all()
}

fn finish(path: &Path, temporary: &Path, placed: io::Result<()>) -> io::Result<()> {
    if let Err(error) = placed {
        let _ = fs::remove_file(temporary);
        return Err(error);
    }
    sync_dir(parent(path))
}

/// A name nobody else uses: two writers of one file each have their own, and the later rename wins.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
    Ok(parent(path).join(temporary))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
