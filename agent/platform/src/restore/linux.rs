//! Linux: the `*at` calls; `openat2` keeps a path of several components beneath its start, and where a kernel or a
//! sandbox lacks it the components are opened one by one.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::{Attributes, Birth, Known, Node, Operation, PROBE_MODE, RestoreError, failed};
use crate::files::system::{Dir as DirHandle, meta_of};
use crate::files::{Dir, FileKind, component};
use crate::xattrs::Xattr;
use crate::xattrs::system::proc_path;

/// What a new file or directory may be opened by until its attributes are set: its owner alone.
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIR: Mode = Mode::RWXU;

const SETUID_SETGID: u32 = 0o6000;
const SETGID: u32 = 0o2000;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

pub(super) fn open_beneath(dir: &Dir, path: &[u8]) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir.0.fd(), path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Dir(DirHandle::from_fd(fd))),
        Err(Errno::NOSYS | Errno::PERM) => open_component_wise(dir, path),
        Err(error) => Err(error.into()),
    }
}

fn open_component_wise(dir: &Dir, path: &[u8]) -> io::Result<Dir> {
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
    Ok(File::from(rustix::fs::openat(dir.0.fd(), component(name)?, flags, Mode::from_raw_mode(mode))?))
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
    // Without SYMLINK_FOLLOW a link to a symbolic link is a second name of that link.
    let (from, to) = (component(original)?, component(name)?);
    Ok(rustix::fs::linkat(original_dir.0.fd(), from, dir.0.fd(), to, AtFlags::empty())?)
}

pub(super) fn node(dir: &Dir, name: &[u8], node: Node) -> io::Result<()> {
    let (file_type, device) = match node {
        Node::Fifo => (FileType::Fifo, 0),
        Node::Socket => (FileType::Socket, 0),
        Node::CharDevice(major, minor) => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        Node::BlockDevice(major, minor) => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
    };
    Ok(rustix::fs::mknodat(dir.0.fd(), component(name)?, file_type, PRIVATE_FILE, device)?)
}

pub(super) fn remove(dir: &Dir, name: &[u8]) -> io::Result<()> {
    let name = component(name)?;
    match rustix::fs::unlinkat(dir.0.fd(), name, AtFlags::empty()) {
        Err(Errno::ISDIR) => Ok(rustix::fs::unlinkat(dir.0.fd(), name, AtFlags::REMOVEDIR)?),
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
    Ok(rustix::fs::syncfs(dir.0.fd())?)
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

pub(super) fn birth(dir: &Dir, probe: &File) -> io::Result<Option<Birth>> {
    for (handle, acl) in [(dir.0.fd(), ACL_DEFAULT), (dir.0.fd(), ACL_ACCESS), (probe.as_fd(), ACL_ACCESS)] {
        match rustix::fs::fgetxattr(handle, acl, &mut [0; 0]) {
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    // A setgid directory hands down its group and its bit.
    if meta_of(dir.0.fd())?.mode & SETGID != 0 {
        return Ok(None);
    }
    let meta = meta_of(probe)?;
    Ok(Some(Birth { uid: meta.uid, gid: meta.gid, umask: !meta.mode & PROBE_MODE }))
}

/// One entry that is held, so that every step meets the same file although its name may be swapped.
enum Entry<'a> {
    /// By a handle that reads or writes it.
    Open(BorrowedFd<'a>),
    /// By an `O_PATH` handle: a symbolic link, a node, or what may not be opened.
    Held {
        handle: OwnedFd,
        /// `/proc/self/fd/N`: the kernel resolves it to the held entry itself, a symbolic link not excepted.
        path: CString,
        /// For calls that would follow a held symbolic link: its name in its directory.
        link_path: Option<CString>,
    },
}

impl Entry<'_> {
    fn open(dir: &Dir, name: &[u8], kind: FileKind) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(dir.0.fd(), name, flags, Mode::empty())?;
        let found = meta_of(&handle)?.kind;
        if found != kind {
            return Err(io::Error::other(format!("expected a {kind:?}, found a {found:?}")));
        }
        let link_path = match kind {
            FileKind::Symlink => Some(proc_path(dir.0.fd(), name)?),
            FileKind::Regular
            | FileKind::Directory
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => None,
        };
        let path = CString::new(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
        Ok(Self::Held { handle, path, link_path })
    }

    fn set(&self, name: &[u8], attributes: &Attributes<'_>, known: Option<Known>) -> Vec<RestoreError> {
        let mut errors = Vec::new();
        let mut note = |operation, result: Result<(), Errno>| {
            let ok = result.is_ok();
            errors.extend(result.err().map(|error| failed(operation, name)(error.into())));
            ok
        };
        let late = || attributes.xattrs.iter().filter(|(name, _)| is_cleared_by_chown(name));
        for xattr in attributes.xattrs.iter().filter(|(name, _)| !is_cleared_by_chown(name)) {
            note(Operation::SetXattr, self.set_xattr(xattr));
        }
        let is_owned = known.is_some_and(|known| (known.uid, known.gid) == (attributes.uid, attributes.gid));
        let owned = is_owned || note(Operation::SetOwner, self.set_owner(attributes.uid, attributes.gid));
        if attributes.kind != FileKind::Symlink {
            let mode = if owned { attributes.mode } else { attributes.mode & !SETUID_SETGID };
            // A change of owner clears setuid, setgid and capabilities, so nothing is known of the mode after one.
            if !is_owned || known.is_none_or(|known| known.mode != mode) {
                note(Operation::SetMode, self.set_mode(mode));
            }
            if known.is_none() {
                self.drop_inherited_acls(attributes);
            }
        }
        for xattr in late() {
            note(Operation::SetXattr, self.set_xattr(xattr));
        }
        note(Operation::SetTimes, self.set_times(attributes));
        errors
    }

    fn set_xattr(&self, (name, value): &Xattr) -> Result<(), Errno> {
        let (name, flags) = (name.as_slice(), XattrFlags::empty());
        match self {
            Self::Open(handle) => rustix::fs::fsetxattr(handle, name, value, flags),
            Self::Held { link_path: Some(path), .. } => rustix::fs::lsetxattr(&**path, name, value, flags),
            Self::Held { path, .. } => rustix::fs::setxattr(&**path, name, value, flags),
        }
    }

    fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(handle) => rustix::fs::fchown(handle, uid, gid),
            Self::Held { handle, .. } => rustix::fs::chownat(handle, c"", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => rustix::fs::fchmod(handle, Mode::from_raw_mode(mode)),
            Self::Held { path, .. } => rustix::fs::chmod(&**path, Mode::from_raw_mode(mode)),
        }
    }

    /// A target below a directory with a default ACL would hand it down to entries that had none.
    fn drop_inherited_acls(&self, attributes: &Attributes<'_>) {
        let wanted = |acl: &[u8]| attributes.xattrs.iter().any(|(name, _)| name == acl);
        for acl in [ACL_ACCESS, ACL_DEFAULT] {
            if !wanted(acl) && (acl == ACL_ACCESS || attributes.kind == FileKind::Directory) {
                // Nearly always there is none to remove, and a filesystem without ACLs has none either.
                let _ = match self {
                    Self::Open(handle) => rustix::fs::fremovexattr(handle, acl),
                    Self::Held { path, .. } => rustix::fs::removexattr(&**path, acl),
                };
            }
        }
    }

    fn set_times(&self, attributes: &Attributes<'_>) -> Result<(), Errno> {
        let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let modified =
            Timespec { tv_sec: attributes.modified.seconds, tv_nsec: attributes.modified.nanoseconds.into() };
        let times = Timestamps { last_access: keep, last_modification: modified };
        match self {
            Self::Open(handle) => rustix::fs::futimens(handle, &times),
            Self::Held { link_path: Some(path), .. } => {
                rustix::fs::utimensat(rustix::fs::CWD, &**path, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
            Self::Held { path, .. } => rustix::fs::utimensat(rustix::fs::CWD, &**path, &times, AtFlags::empty()),
        }
    }
}

/// ACLs follow the mode, whose group bits they refine; capabilities are cleared by a change of owner.
fn is_cleared_by_chown(xattr: &[u8]) -> bool {
    xattr.starts_with(b"security.") || xattr.starts_with(b"system.")
}
