//! macOS: the file's own attributes (resource fork, Finder information and quarantine among them), and what else it has
//! besides its contents, under names of our own.
//!
//! | name | value |
//! |---|---|
//! | `macos.flags` | those of chflags(2) that a restore may set, u32 little-endian; left out where there are none |
//! | `macos.created` | when it was made: seconds since 1970, i64, and nanoseconds, u32, little-endian |
//! | `macos.acl` | its access control list as acl_to_text(3) writes it, with names beside the numbers; left out without one |
//!
//! A FIFO, a socket and a device are not opened, and so have none of these here.
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows access control lists")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Xattr;
use crate::files::{Dir, FileKind, component};

pub(crate) const FLAGS: &[u8] = b"macos.flags";
pub(crate) const CREATED: &[u8] = b"macos.created";
pub(crate) const ACL: &[u8] = b"macos.acl";

/// sys/stat.h: nodump, immutable, append, opaque and hidden of the owner's; archived, immutable and append of root's. Left
/// out are those that say how the contents are kept here (compressed, tracked, dataless) and those that belong to the system.
pub(crate) const FLAGS_KEPT: u32 = 0x800f | 0x0007_0000;

/// More is an error: the catalogue takes no more of one entry.
const BYTES_MAX: usize = 1 << 20;
const NAMES_BYTES_MAX: usize = 64 * 1024;

/// sys/acl.h.
const ACL_TYPE_EXTENDED: c_int = 0x100;

unsafe extern "C" {
    fn acl_get_fd_np(fd: c_int, kind: c_int) -> *mut c_void;
    fn acl_set_fd_np(fd: c_int, acl: *mut c_void, kind: c_int) -> c_int;
    fn acl_from_text(text: *const c_char) -> *mut c_void;
    fn acl_to_text(acl: *mut c_void, bytes: *mut isize) -> *mut c_char;
    fn acl_init(entries: c_int) -> *mut c_void;
    fn acl_free(object: *mut c_void) -> c_int;
}

pub(super) fn of_file(file: &File) -> io::Result<Vec<Xattr>> {
    of_handle(file.as_fd())
}

pub(super) fn of_entry(dir: &Dir, name: &[u8]) -> io::Result<Vec<Xattr>> {
    let how = match dir.stat(name)?.kind {
        FileKind::Regular | FileKind::Directory => OFlags::NOFOLLOW,
        // Opens the link itself.
        FileKind::Symlink => OFlags::from_bits_retain(libc::O_SYMLINK.cast_unsigned()),
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => return Ok(Vec::new()),
    };
    // Neither the contents nor a right to read them are asked for.
    let look = OFlags::from_bits_retain(libc::O_EVTONLY.cast_unsigned());
    let flags = how | look | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(dir.0.fd(), component(name)?, flags, Mode::empty())?;
    of_handle(handle.as_fd())
}

fn of_handle(handle: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    let stat = rustix::fs::fstat(handle)?;
    let mut xattrs = ours(handle, &stat)?;
    let fd = handle.as_raw_fd();
    let names = read_growing(NAMES_BYTES_MAX, |room, bytes| {
        // SAFETY: there is room for so many bytes, or it only counts.
        unsafe { libc::flistxattr(fd, room.cast(), bytes, 0) }
    });
    let names = match names {
        Ok(names) => names,
        Err(Errno::NOTSUP) => Vec::new(),
        // A link and a folder of some filesystems take none.
        Err(Errno::PERM) if !is_regular(&stat) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut total = 0;
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        // One that has a name of ours would be taken for it.
        if is_ours(name.to_bytes()) {
            continue;
        }
        let value = read_growing(BYTES_MAX, |room, bytes| {
            // SAFETY: the name ends with a zero; there is room for so many bytes, or it only counts.
            unsafe { libc::fgetxattr(fd, name.as_ptr(), room, bytes, 0, 0) }
        });
        match value {
            Ok(value) => {
                total += value.len();
                xattrs.push((name.to_bytes().to_vec(), value));
            }
            // Removed since it was listed.
            Err(Errno::NOATTR | Errno::NOTSUP) => {}
            Err(Errno::RANGE) => return Err(too_long(name)),
            Err(error) => return Err(error.into()),
        }
        if total > BYTES_MAX {
            return Err(too_long(name));
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// Whether an attribute of this name is not one of the filesystem's.
pub(crate) fn is_ours(name: &[u8]) -> bool {
    [FLAGS, CREATED, ACL].contains(&name)
}

fn ours(handle: BorrowedFd<'_>, stat: &Stat) -> io::Result<Vec<Xattr>> {
    let mut created = stat.st_birthtime.to_le_bytes().to_vec();
    created.extend(u32::try_from(stat.st_birthtime_nsec).unwrap_or(0).to_le_bytes());
    let mut xattrs = vec![(CREATED.to_vec(), created)];
    let flags = stat.st_flags & FLAGS_KEPT;
    if flags != 0 {
        xattrs.push((FLAGS.to_vec(), flags.to_le_bytes().to_vec()));
    }
    xattrs.extend(acl_text(handle)?.map(|text| (ACL.to_vec(), text)));
    Ok(xattrs)
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn too_long(name: &CStr) -> io::Error {
    let text = format!("its attributes up to {} hold more than {BYTES_MAX} bytes", name.to_string_lossy());
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// Calls `read` without a buffer for the length, and then with room for it; `RANGE` where that is more than `bytes_max`.
///
/// A resource fork is read as far as the buffer goes, without an error: only the length tells that it is whole.
fn read_growing(bytes_max: usize, read: impl Fn(*mut c_void, usize) -> isize) -> Result<Vec<u8>, Errno> {
    let checked = |bytes: isize| usize::try_from(bytes).map_err(|_| last_errno());
    loop {
        let bytes = checked(read(std::ptr::null_mut(), 0))?;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        if bytes > bytes_max {
            return Err(Errno::RANGE);
        }
        // One more, so that it shows when it grew since.
        let mut value = vec![0; bytes + 1];
        match checked(read(value.as_mut_ptr().cast(), value.len())) {
            Ok(read) if read <= bytes => {
                value.truncate(read);
                return Ok(value);
            }
            Ok(_) | Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// An object of acl(3), given back with its owner.
struct Object(NonNull<c_void>);

impl Object {
    fn of(pointer: *mut c_void) -> io::Result<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(io::Error::last_os_error)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: it came from acl(3) and is given back once.
        unsafe { acl_free(self.0.as_ptr()) };
    }
}

/// None where there is no list.
fn acl(handle: BorrowedFd<'_>) -> io::Result<Option<Object>> {
    // SAFETY: the handle is open; what comes back is given back by its owner.
    match Object::of(unsafe { acl_get_fd_np(handle.as_raw_fd(), ACL_TYPE_EXTENDED) }) {
        Ok(list) => Ok(Some(list)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTSUP | libc::EOPNOTSUPP)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn acl_text(handle: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    let Some(list) = acl(handle)? else { return Ok(None) };
    // SAFETY: the list is one of acl(3); nobody wants the length beside the zero at the end.
    let text = Object::of(unsafe { acl_to_text(list.0.as_ptr(), std::ptr::null_mut()) }.cast())?;
    // SAFETY: acl_to_text answers with text that ends with a zero and lives as long as its owner.
    Ok(Some(unsafe { CStr::from_ptr(text.0.as_ptr().cast()) }.to_bytes().to_vec()))
}

/// Gives an entry this list; without a text, takes away one that it inherited.
pub(crate) fn set_acl(handle: BorrowedFd<'_>, text: Option<&[u8]>) -> io::Result<()> {
    let list = match text {
        Some(text) => {
            let text = CString::new(text)?;
            // SAFETY: the text ends with a zero and lives until the call returns.
            Object::of(unsafe { acl_from_text(text.as_ptr()) })?
        }
        None if acl(handle)?.is_none() => return Ok(()),
        // SAFETY: it takes an integer.
        None => Object::of(unsafe { acl_init(0) })?,
    };
    // SAFETY: the handle is open and the list is one of acl(3).
    let result = unsafe { acl_set_fd_np(handle.as_raw_fd(), list.0.as_ptr(), ACL_TYPE_EXTENDED) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
