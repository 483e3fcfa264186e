//! Writing a restored tree: every call is relative to a directory handle and confined beneath the target.
//!
//! **Invariant**: no call writes, changes or removes anything outside the directory given to [`TargetDir::open`], not
//! even when names come from a hostile vault or somebody swaps a directory for a symbolic link while we work.
//!
//! Attributes come last and in one order: `user.*` attributes while the entry is still ours to write, then owner, then
//! mode, then ACLs and capabilities (a change of owner clears them), then times.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::files::{Dir, FileKind, FileMeta, Timestamp};
use crate::xattrs::Xattr;

#[cfg_attr(target_os = "linux", path = "restore/linux.rs")]
#[cfg_attr(target_os = "macos", path = "restore/macos.rs")]
#[cfg_attr(target_os = "windows", path = "restore/windows.rs")]
mod system;

/// What happens to an entry that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// The call fails and nothing is touched.
    Fail,
    /// A file, link or node, or an empty directory, is removed first. A directory that holds anything is an error.
    Replace,
}

/// A step that failed, by name, so that a refused change of owner can be a finding and a full disk a failure.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {}", String::from_utf8_lossy(name))]
pub struct RestoreError {
    /// What was tried.
    pub operation: Operation,
    /// The entry's name within its directory; `.` for the directory itself.
    pub name: Vec<u8>,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// The steps of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening a directory or file of the target.
    Open,
    /// Creating a directory, file, link or node.
    Create,
    /// Removing what is in the way.
    Remove,
    /// Writing contents or length.
    Write,
    /// Reading what the target holds.
    Inspect,
    /// Owner and group.
    SetOwner,
    /// Permission bits.
    SetMode,
    /// One extended attribute, ACLs and capabilities included.
    SetXattr,
    /// Modification time.
    SetTimes,
    /// Making it durable.
    Sync,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Write => "write",
            Self::Inspect => "inspect",
            Self::SetOwner => "set the owner of",
            Self::SetMode => "set the permissions of",
            Self::SetXattr => "set an extended attribute of",
            Self::SetTimes => "set the times of",
            Self::Sync => "flush",
        })
    }
}

/// A node without contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A named pipe.
    Fifo,
    /// A Unix socket's name.
    Socket,
    /// A character device, major and minor number.
    CharDevice(u32, u32),
    /// A block device, major and minor number.
    BlockDevice(u32, u32),
}

/// The attributes an entry gets once its contents are there.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// What the entry must be; anything else by now is an error.
    pub kind: FileKind,
    /// Permission bits (07777); a symbolic link has none.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time; the access time stays as it is.
    pub modified: Timestamp,
    /// Extended attributes, ACLs and capabilities.
    pub xattrs: &'a [Xattr],
}

/// The mode [`TargetDir::create_probe`] asks for: what is missing in the result is the process's umask.
const PROBE_MODE: u32 = 0o666;
/// What a new file may be opened by until its attributes are set: its owner alone.
const PRIVATE_MODE: u32 = 0o600;

/// What every entry has that this process creates beneath a target: learnt once, so that a restore sets only what
/// differs. See [`TargetDir::birth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits that a creation does not give.
    pub umask: u32,
}

impl Birth {
    /// What an entry has that was just created with `mode`.
    pub fn with_mode(self, mode: u32) -> Known {
        Known { uid: self.uid, gid: self.gid, mode: mode & !self.umask }
    }
}

/// What an entry is known to have, and that it inherited no ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A directory beneath which a restore writes.
#[derive(Debug)]
pub struct TargetDir {
    dir: Dir,
}

impl TargetDir {
    /// Opens the target itself. Links in `path` are followed: it is what the user named.
    pub fn open(path: &Path) -> Result<Self, RestoreError> {
        let name = path.as_os_str().as_encoded_bytes();
        let dir = Dir::open(path).map_err(failed(Operation::Open, name))?;
        Ok(Self { dir })
    }

    /// Opens the subdirectory `name`, which must not be a symbolic link.
    pub fn open_dir(&self, name: &[u8]) -> Result<Self, RestoreError> {
        let dir = self.dir.open_dir(name).map_err(failed(Operation::Open, name))?;
        Ok(Self { dir })
    }

    /// Opens the directory `a/b/c` beneath this one, through no symbolic link at all.
    pub fn open_beneath(&self, path: &[u8]) -> Result<Self, RestoreError> {
        let dir = system::open_beneath(&self.dir, path).map_err(failed(Operation::Open, path))?;
        Ok(Self { dir })
    }

    /// Creates the directory `name`, for the owner alone until its attributes are set, and opens it.
    ///
    /// With [`IfExists::Replace`] an existing directory is opened as it is, anything else removed first.
    pub fn create_dir(&self, name: &[u8], if_exists: IfExists) -> Result<Self, RestoreError> {
        if if_exists == IfExists::Replace {
            match self.dir.stat(name) {
                Ok(meta) if meta.kind == FileKind::Directory => return self.open_dir(name),
                Ok(_) => self.remove(name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(Operation::Inspect, name)(error)),
            }
        }
        system::create_dir(&self.dir, name).map_err(failed(Operation::Create, name))?;
        self.open_dir(name)
    }

    /// Creates the file `name` for reading and writing, for the owner alone until its attributes are set.
    pub fn create_file(&self, name: &[u8], if_exists: IfExists) -> Result<File, RestoreError> {
        self.create_file_with(name, PRIVATE_MODE, &[], if_exists)
    }

    /// Creates the file `name` for reading and writing with permission bits `mode`, less what the umask takes. Only for
    /// a file whose owner is this process's: then nobody can open it who could not open it at the end.
    ///
    /// `xattrs` are those it will get: on Windows a file that will have rules of its own is open to this account,
    /// administrators and the system alone until then.
    pub fn create_file_with(
        &self,
        name: &[u8],
        mode: u32,
        xattrs: &[Xattr],
        if_exists: IfExists,
    ) -> Result<File, RestoreError> {
        self.make_room(name, if_exists)?;
        system::create_file(&self.dir, name, mode & 0o777, xattrs).map_err(failed(Operation::Create, name))
    }

    /// Creates a file that [`TargetDir::birth`] can learn from.
    pub fn create_probe(&self, name: &[u8], if_exists: IfExists) -> Result<File, RestoreError> {
        self.create_file_with(name, PROBE_MODE, &[], if_exists)
    }

    /// What entries have from their creation, here and in every directory that this process creates beneath; learnt
    /// from a probe in this directory. Nothing where ACLs are handed down, or where it cannot be told.
    pub fn birth(&self, probe: &File) -> Option<Birth> {
        system::birth(&self.dir, probe).ok().flatten()
    }

    /// Opens the existing regular file `name` for reading and writing, to go on with an interrupted restore.
    pub fn open_file(&self, name: &[u8]) -> Result<File, RestoreError> {
        system::open_file(&self.dir, name).map_err(failed(Operation::Open, name))
    }

    /// Creates the symbolic link `name` with the text `link`, which is never interpreted here.
    pub fn symlink(&self, name: &[u8], link: &[u8], if_exists: IfExists) -> Result<(), RestoreError> {
        self.make_room(name, if_exists)?;
        system::symlink(&self.dir, name, link).map_err(failed(Operation::Create, name))
    }

    /// Gives the entry `original` of `original_dir` the further name `name`.
    pub fn hard_link(
        &self,
        name: &[u8],
        original_dir: &Self,
        original: &[u8],
        if_exists: IfExists,
    ) -> Result<(), RestoreError> {
        self.make_room(name, if_exists)?;
        system::hard_link(&self.dir, name, &original_dir.dir, original).map_err(failed(Operation::Create, name))
    }

    /// Creates a FIFO, socket name or device node; devices need root.
    pub fn node(&self, name: &[u8], node: Node, if_exists: IfExists) -> Result<(), RestoreError> {
        self.make_room(name, if_exists)?;
        system::node(&self.dir, name, node).map_err(failed(Operation::Create, name))
    }

    /// Removes the entry `name`: a file, link or node, or an empty directory. What is not there is no error.
    pub fn remove(&self, name: &[u8]) -> Result<(), RestoreError> {
        match system::remove(&self.dir, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Operation::Remove, name)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether the directory holds nothing.
    pub fn is_empty(&self) -> Result<bool, RestoreError> {
        Ok(self.dir.read().map_err(failed(Operation::Inspect, b"."))?.is_empty())
    }

    /// Metadata of `name` itself, or nothing where there is no such entry.
    pub fn stat(&self, name: &[u8]) -> Result<Option<FileMeta>, RestoreError> {
        match self.dir.stat(name) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(Operation::Inspect, name)(error)),
        }
    }

    /// The same directory, for reading.
    pub fn as_dir(&self) -> &Dir {
        &self.dir
    }

    /// Sets the attributes of `name`, which must still be of `attributes.kind`. Goes on after a refused step; the
    /// result names each one.
    ///
    /// When the owner cannot be set, setuid and setgid are left out: they would lend the wrong account's rights.
    pub fn set_attributes(&self, name: &[u8], attributes: &Attributes<'_>) -> Vec<RestoreError> {
        system::set_attributes(&self.dir, name, attributes)
    }

    /// Sets the attributes of this directory; do it after everything within is written. What it is `known` to have is
    /// left alone.
    pub fn set_own_attributes(&self, attributes: &Attributes<'_>, known: Option<Known>) -> Vec<RestoreError> {
        system::set_own_attributes(&self.dir, attributes, known)
    }

    /// Makes this directory's entries durable.
    pub fn sync(&self) -> Result<(), RestoreError> {
        system::sync_dir(&self.dir).map_err(failed(Operation::Sync, b"."))
    }

    /// Makes everything written to this directory's filesystem durable, in one call for a whole restore.
    pub fn sync_filesystem(&self) -> Result<(), RestoreError> {
        system::sync_filesystem(&self.dir).map_err(failed(Operation::Sync, b"."))
    }

    /// A second handle of the same directory.
    pub fn try_clone(&self) -> Result<Self, RestoreError> {
        let dir = self.dir.try_clone().map_err(failed(Operation::Open, b"."))?;
        Ok(Self { dir })
    }

    fn make_room(&self, name: &[u8], if_exists: IfExists) -> Result<(), RestoreError> {
        match if_exists {
            IfExists::Fail => Ok(()),
            IfExists::Replace => self.remove(name),
        }
    }
}

/// Writes all of `bytes` at `offset`; safe from several threads at once.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    system::write_at(file, bytes, offset)
}

/// Sets the attributes of an open file; `name` is for messages. What it is `known` to have is left alone. The rules are
/// those of [`TargetDir::set_attributes`].
pub fn set_file_attributes(
    file: &File,
    name: &[u8],
    attributes: &Attributes<'_>,
    known: Option<Known>,
) -> Vec<RestoreError> {
    system::set_file_attributes(file, name, attributes, known)
}

/// Makes the file exactly `bytes` long; what was never written is a hole.
pub fn set_len(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}

/// Makes the file's contents and length durable.
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_all()
}

fn failed(operation: Operation, name: &[u8]) -> impl Fn(io::Error) -> RestoreError + '_ {
    move |source| RestoreError { operation, name: name.to_vec(), source }
}
