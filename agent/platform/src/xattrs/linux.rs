//! Linux: `flistxattr` on a handle; `llistxattr` through `/proc/self/fd` for what must not or cannot be opened.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::Xattr;
use crate::files::{Dir, component};

/// The kernel's own limit of a name list and of a value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Enough for the list of nearly every file, so that one call answers.
const FIRST_TRY_BYTES: usize = 1024;

/// Keyed to the machine it was written on: worthless anywhere else, and refused by the kernel.
const MACHINE_BOUND: &[u8] = b"security.evm";

pub(super) fn of_file(file: &File) -> io::Result<Vec<Xattr>> {
    collect(|buffer| rustix::fs::flistxattr(file, buffer), |name, buffer| rustix::fs::fgetxattr(file, name, buffer))
}

pub(super) fn of_entry(dir: &Dir, name: &[u8]) -> io::Result<Vec<Xattr>> {
    let path = proc_path(dir.0.fd(), component(name)?)?;
    collect(|buffer| rustix::fs::llistxattr(&*path, buffer), |name, buffer| rustix::fs::lgetxattr(&*path, name, buffer))
}

/// A path that names `name` in the open directory, for calls that know no handle. Its directory part is a link the
/// kernel resolves to the handle itself, so a renamed parent changes nothing.
pub(crate) fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    Ok(CString::new(path)?)
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Vec<Xattr>> {
    let names = match read_growing(list) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name.to_bytes() == MACHINE_BOUND {
            continue;
        }
        match read_growing(|buffer| get(name, buffer)) {
            Ok(value) => xattrs.push((name.to_bytes().to_vec(), value)),
            // Removed since it was listed, or listed by a filesystem that does not answer for it.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Calls `read` with a small buffer, and with the largest possible one when that does not do.
fn read_growing(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; FIRST_TRY_BYTES];
    match read(&mut small) {
        Err(Errno::RANGE) => {}
        result => return result.map(|bytes| small[..bytes].to_vec()),
    }
    let mut large = vec![0; XATTR_BYTES_MAX];
    let bytes = read(&mut large)?;
    large.truncate(bytes);
    Ok(large)
}
