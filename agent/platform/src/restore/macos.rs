//! macOS: the `*at` calls; a path of several components is opened one by one.
//!
//! Attributes go by handle wherever an entry can be opened. What cannot (a FIFO, a socket, a device) is named within its
//! directory's handle, and no call follows a link there. Flags come last: an immutable entry takes nothing more.
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows flags and creation times")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Attributes, Birth, Known, Node, Operation, RestoreError, failed};
use crate::Unsupported;
use crate::files::system::meta_of;
use crate::files::{Dir, FileKind, component};
use crate::xattrs::Xattr;
use crate::xattrs::system::{ACL, CREATED, FLAGS, FLAGS_KEPT, is_ours, set_acl};

/// What a new directory may be opened by until its attributes are set: its owner alone.
const PRIVATE_DIR: Mode = Mode::RWXU;

const SETUID_SETGID: u32 = 0o6000;

/// unistd.h: data and metadata of the whole volume to the platter, and wait for it.
const SYNC_VOLUME_FULLSYNC_WAIT: c_int = 0x01 | 0x02;

unsafe extern "C" {
    fn fsync_volume_np(fd: c_int, flags: c_int) -> c_int;
}

pub(super) fn open_beneath(dir: &Dir, path: &[u8]) -> io::Result<Dir> {
    let mut current = dir.try_clone()?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        current = current.open_dir(name)?;
    }
    Ok(current)
}

pub(super) fn create_dir(dir: &Dir, name: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(dir.0.fd(), component(name)?, PRIVATE_DIR)?)
}

pub(super) fn create_file(dir: &Dir, name: &[u8], mode: u32, _xattrs: &[Xattr]) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_bits_truncate(mode_bits(mode));
    Ok(File::from(rustix::fs::openat(dir.0.fd(), component(name)?, flags, mode)?))
}

pub(super) fn open_file(dir: &Dir, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir.0.fd(), component(name)?, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

pub(super) fn symlink(dir: &Dir, name: &[u8], link: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(link, dir.0.fd(), component(name)?)?)
}

pub(super) fn hard_link(dir: &Dir, name: &[u8], original_dir: &Dir, original: &[u8]) -> io::Result<()> {
    let (from, to) = (component(original)?, component(name)?);
    Ok(rustix::fs::linkat(original_dir.0.fd(), from, dir.0.fd(), to, AtFlags::empty())?)
}

pub(super) fn node(dir: &Dir, name: &[u8], node: Node) -> io::Result<()> {
    let name = CString::new(component(name)?)?;
    let private = libc::S_IRUSR | libc::S_IWUSR;
    let (kind, major, minor) = match node {
        Node::Fifo => (libc::S_IFIFO, 0, 0),
        // Only a process that listens makes one.
        Node::Socket => return Err(Unsupported { what: "making a socket's name" }.into()),
        Node::CharDevice(major, minor) => (libc::S_IFCHR, major, minor),
        Node::BlockDevice(major, minor) => (libc::S_IFBLK, major, minor),
    };
    let device = rustix::fs::makedev(major, minor);
    let made = make_node().ok_or(Unsupported { what: "making nodes by handle before macOS 13" })?;
    // SAFETY: the name ends with a zero and lives until the call returns; the handle is open.
    let result = unsafe { made(dir.0.fd().as_raw_fd(), name.as_ptr(), kind | private, device) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type MakeNode = unsafe extern "C" fn(c_int, *const c_char, libc::mode_t, libc::dev_t) -> c_int;

/// `mknodat`, which macOS has since 13 and which this program must not need in order to start.
fn make_node() -> Option<MakeNode> {
    const NAME: &CStr = c"mknodat";
    // SAFETY: the name ends with a zero. sys/stat.h gives a symbol of this name exactly this type.
    unsafe {
        let symbol = libc::dlsym(libc::RTLD_DEFAULT, NAME.as_ptr());
        std::mem::transmute::<*mut libc::c_void, Option<MakeNode>>(symbol)
    }
}

pub(super) fn remove(dir: &Dir, name: &[u8]) -> io::Result<()> {
    let name = component(name)?;
    match rustix::fs::unlinkat(dir.0.fd(), name, AtFlags::empty()) {
        // A directory is told by PERM here, and so is what is immutable.
        Err(error @ (Errno::ISDIR | Errno::PERM)) => match rustix::fs::unlinkat(dir.0.fd(), name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTDIR) => Err(error.into()),
            result => Ok(result?),
        },
        result => Ok(result?),
    }
}

pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

pub(super) fn sync_dir(dir: &Dir) -> io::Result<()> {
    Ok(rustix::fs::fsync(dir.0.fd())?)
}

pub(super) fn sync_filesystem(dir: &Dir) -> io::Result<()> {
    // SAFETY: it takes two integers, of which one is an open handle.
    let result = unsafe { fsync_volume_np(dir.0.fd().as_raw_fd(), SYNC_VOLUME_FULLSYNC_WAIT) };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // A filesystem that cannot flush itself: everything is flushed.
        error if matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::EINVAL)) => {
            rustix::fs::sync();
            sync_dir(dir)
        }
        error => Err(error),
    }
}

pub(super) fn set_attributes(dir: &Dir, name: &[u8], attributes: &Attributes<'_>) -> Vec<RestoreError> {
    let entry = component(name).and_then(|component| Entry::open(dir, component, attributes.kind));
    match entry {
        Ok(entry) => entry.set(name, attributes, None),
        Err(error) => vec![failed(Operation::Open, name)(error)],
    }
}

pub(super) fn set_own_attributes(dir: &Dir, attributes: &Attributes<'_>, known: Option<Known>) -> Vec<RestoreError> {
    Entry::Open(dir.0.fd()).set(b".", attributes, known)
}

pub(super) fn set_file_attributes(
    file: &File,
    name: &[u8],
    attributes: &Attributes<'_>,
    known: Option<Known>,
) -> Vec<RestoreError> {
    Entry::Open(file.as_fd()).set(name, attributes, known)
}

/// A new entry takes its group from its directory here, whatever group that was given meanwhile.
#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn birth(_dir: &Dir, _probe: &File) -> io::Result<Option<Birth>> {
    Ok(None)
}

fn mode_bits(mode: u32) -> libc::mode_t {
    // The file's kind is the only thing above these.
    (mode & 0o7777) as libc::mode_t
}

/// One entry whose attributes are set.
enum Entry<'a> {
    /// By a handle of somebody else's.
    Open(BorrowedFd<'a>),
    /// By a handle of our own; of a symbolic link, the link itself.
    Held(OwnedFd),
    /// By its name, as it cannot be opened.
    Named { dir: BorrowedFd<'a>, name: &'a [u8] },
}

impl<'a> Entry<'a> {
    fn open(dir: &'a Dir, name: &'a [u8], kind: FileKind) -> io::Result<Self> {
        let how = match kind {
            FileKind::Regular | FileKind::Directory => OFlags::NOFOLLOW,
            FileKind::Symlink => OFlags::from_bits_retain(libc::O_SYMLINK.cast_unsigned()),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                expect_kind(dir.stat(name)?.kind, kind)?;
                return Ok(Self::Named { dir: dir.0.fd(), name });
            }
        };
        let flags = OFlags::RDONLY | how | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(dir.0.fd(), name, flags, Mode::empty())?;
        expect_kind(meta_of(&handle)?.kind, kind)?;
        Ok(Self::Held(handle))
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Open(handle) => Some(*handle),
            Self::Held(handle) => Some(handle.as_fd()),
            Self::Named { .. } => None,
        }
    }

    fn set(&self, name: &[u8], attributes: &Attributes<'_>, known: Option<Known>) -> Vec<RestoreError> {
        let mut errors = Vec::new();
        let mut note = |operation, result: io::Result<()>| {
            let ok = result.is_ok();
            errors.extend(result.err().map(|error| failed(operation, name)(error)));
            ok
        };
        let value = |key: &[u8]| attributes.xattrs.iter().find(|(name, _)| name == key).map(|(_, value)| &**value);
        for xattr in attributes.xattrs.iter().filter(|(name, _)| !is_ours(name)) {
            note(Operation::SetXattr, self.set_xattr(xattr));
        }
        let owned = note(Operation::SetOwner, self.set_owner(attributes.uid, attributes.gid));
        if attributes.kind != FileKind::Symlink {
            let mode = if owned { attributes.mode } else { attributes.mode & !SETUID_SETGID };
            note(Operation::SetMode, self.set_mode(mode));
        }
        if let Some(handle) = self.handle() {
            // One that the target's folder handed down goes, unless this very entry is known to have none.
            if value(ACL).is_some() || known.is_none() {
                note(Operation::SetXattr, set_acl(handle, value(ACL)));
            }
        }
        note(Operation::SetTimes, self.set_times(attributes));
        if let Some(handle) = self.handle() {
            if let Some(created) = value(CREATED) {
                note(Operation::SetTimes, set_created(handle, created));
            }
            if let Some(flags) = value(FLAGS) {
                note(Operation::SetXattr, set_flags(handle, flags));
            }
        }
        errors
    }

    fn set_xattr(&self, (name, value): &Xattr) -> io::Result<()> {
        match self.handle() {
            Some(handle) => Ok(rustix::fs::fsetxattr(handle, name.as_slice(), value, XattrFlags::empty())?),
            None => Err(Unsupported { what: "an attribute of a node" }.into()),
        }
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(match self {
            Self::Open(handle) => rustix::fs::fchown(handle, uid, gid),
            Self::Held(handle) => rustix::fs::fchown(handle, uid, gid),
            Self::Named { dir, name } => rustix::fs::chownat(dir, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }?)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode_bits(mode));
        Ok(match self {
            Self::Open(handle) => rustix::fs::fchmod(handle, mode),
            Self::Held(handle) => rustix::fs::fchmod(handle, mode),
            Self::Named { dir, name } => rustix::fs::chmodat(dir, *name, mode, AtFlags::SYMLINK_NOFOLLOW),
        }?)
    }

    fn set_times(&self, attributes: &Attributes<'_>) -> io::Result<()> {
        let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let modified =
            Timespec { tv_sec: attributes.modified.seconds, tv_nsec: attributes.modified.nanoseconds.into() };
        let times = Timestamps { last_access: keep, last_modification: modified };
        Ok(match self {
            Self::Open(handle) => rustix::fs::futimens(handle, &times),
            Self::Held(handle) => rustix::fs::futimens(handle, &times),
            Self::Named { dir, name } => rustix::fs::utimensat(dir, *name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }?)
    }
}

fn expect_kind(found: FileKind, kind: FileKind) -> io::Result<()> {
    if found == kind { Ok(()) } else { Err(io::Error::other(format!("expected a {kind:?}, found a {found:?}"))) }
}

/// After the modification time, which takes an earlier creation time with it.
fn set_created(handle: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let (Some(seconds), Some(nanoseconds), 12) = (value.first_chunk(), value.last_chunk(), value.len()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a creation time has 12 bytes"));
    };
    let nanoseconds = u32::from_le_bytes(*nanoseconds);
    let mut created = libc::timespec { tv_sec: i64::from_le_bytes(*seconds), tv_nsec: nanoseconds.into() };
    // SAFETY: zeros are a valid list, which asks for nothing.
    let mut wanted: libc::attrlist = unsafe { std::mem::zeroed() };
    wanted.bitmapcount = libc::ATTR_BIT_MAP_COUNT;
    wanted.commonattr = libc::ATTR_CMN_CRTIME;
    let (list, room) = ((&raw mut wanted).cast(), (&raw mut created).cast());
    // SAFETY: the list asks for one timespec, which is there; both live until the call returns.
    let result = unsafe { libc::fsetattrlist(handle.as_raw_fd(), list, room, size_of::<libc::timespec>(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_flags(handle: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let flags = value.try_into().map(u32::from_le_bytes);
    let flags = flags.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "flags have 4 bytes"))?;
    // SAFETY: it takes two integers, of which one is an open handle.
    let result = unsafe { libc::fchflags(handle.as_raw_fd(), flags & FLAGS_KEPT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
