//! Names and paths as raw bytes, as the catalogue keeps them, to and from the system's own form.
//!
//! **Invariant**: on Unix the two forms are the same bytes; elsewhere what cannot be represented is refused, never changed.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A path from raw bytes; none where this system has no such path.
#[cfg(unix)]
pub fn path_of(bytes: &[u8]) -> Option<Cow<'_, Path>> {
    use std::os::unix::ffi::OsStrExt;
    Some(Cow::Borrowed(Path::new(std::ffi::OsStr::from_bytes(bytes))))
}

/// A path from raw bytes; none where this system has no such path.
#[cfg(not(unix))]
pub fn path_of(bytes: &[u8]) -> Option<Cow<'_, Path>> {
    std::str::from_utf8(bytes).ok().map(|text| Cow::Borrowed(Path::new(text)))
}

/// `root` joined with a path from raw bytes, which may be empty.
pub fn join(root: &Path, bytes: &[u8]) -> Option<PathBuf> {
    if bytes.is_empty() { Some(root.to_path_buf()) } else { Some(root.join(path_of(bytes)?)) }
}

/// The raw bytes of a path.
#[cfg(unix)]
pub fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

/// The raw bytes of a path.
#[cfg(not(unix))]
pub fn bytes_of(path: &Path) -> Vec<u8> {
    path.to_string_lossy().replace('\\', "/").into_bytes()
}
