//! Names and paths as raw bytes, as the catalogue keeps them, to and from the system's own form.
//!
//! **Invariant**: on Unix the two forms are the same bytes; on Windows names are WTF-8 with `/` between them, and what no name
//! gives is refused, never changed.

#[cfg(any(windows, test))]
pub(crate) mod wtf8;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A path from raw bytes; none where this system has no such path.
#[cfg(unix)]
pub fn path_of(bytes: &[u8]) -> Option<Cow<'_, Path>> {
    use std::os::unix::ffi::OsStrExt;
    Some(Cow::Borrowed(Path::new(std::ffi::OsStr::from_bytes(bytes))))
}

/// A path from raw bytes; none where this system has no such path.
#[cfg(windows)]
pub fn path_of(bytes: &[u8]) -> Option<Cow<'_, Path>> {
    use std::os::windows::ffi::OsStringExt;
    let mut wide = wtf8::to_wide(bytes)?;
    wide.iter_mut().filter(|unit| **unit == u16::from(b'/')).for_each(|unit| *unit = u16::from(b'\\'));
    Some(Cow::Owned(PathBuf::from(std::ffi::OsString::from_wide(&wide))))
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
#[cfg(windows)]
pub fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::windows::ffi::OsStrExt;
    let slashes = |unit| if unit == u16::from(b'\\') { u16::from(b'/') } else { unit };
    let bytes = wtf8::from_wide(&path.as_os_str().encode_wide().map(slashes).collect::<Vec<_>>());
    // What a resolved path begins with means the same without it.
    match bytes.strip_prefix(b"//?/") {
        Some(drive @ [b'A'..=b'Z' | b'a'..=b'z', b':', ..]) => drive.to_vec(),
        Some(_) | None => bytes,
    }
}
