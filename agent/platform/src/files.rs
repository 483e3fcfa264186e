//! Reading directories and files as a backup needs them: by handle, by raw name, without following links.
//!
//! **Invariant**: nothing here follows a symbolic link in the last component, blocks on a FIFO or a device, or changes
//! what it reads (the access time included, where the system lets us).
//!
//! On Unix a name is its raw bytes. On Windows it is WTF-8, so that the catalogue stores one kind of name.

use std::fs::File;
use std::io;
use std::path::Path;

pub use crate::accounts::{group_id, group_name, user_id, user_name};
pub use crate::restore;
pub use crate::xattrs::{Xattr, Xattrs, xattrs, xattrs_of_file};

#[cfg_attr(target_os = "linux", path = "files/linux.rs")]
#[cfg_attr(target_os = "macos", path = "files/macos.rs")]
#[cfg_attr(target_os = "windows", path = "files/windows.rs")]
pub(crate) mod system;
#[cfg(unix)]
mod unix;

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A file with contents.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, never followed.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket's name.
    Socket,
    /// A character device node.
    CharDevice,
    /// A block device node.
    BlockDevice,
}

/// A moment as the filesystem keeps it: seconds since 1970 (negative before) and nanoseconds within that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What `stat` tells of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// What the entry is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of the contents; of a symbolic link, the length of its text.
    pub bytes: u64,
    /// When the contents changed.
    pub modified: Timestamp,
    /// When anything changed, the attributes included (ctime); no program can set it back.
    pub changed: Timestamp,
    /// Number of the file within its device.
    pub inode: u64,
    /// The filesystem's device number, as [`mounts`](crate::mounts) names it.
    pub device: u64,
    /// How many names the file has.
    pub links: u64,
    /// Major and minor number of a device node, else zeros.
    pub device_number: (u32, u32),
    /// Allocated units of 512 bytes; fewer than `bytes` needs means holes (or compression below us).
    pub blocks_512: u64,
}

/// One entry of a directory, with its metadata or why that could not be read.
#[derive(Debug)]
pub struct DirEntry {
    /// The name within its directory.
    pub name: Vec<u8>,
    /// Its metadata.
    pub meta: Result<FileMeta, io::Error>,
}

/// The names in a directory, and how far they were worked off.
#[derive(Debug)]
pub struct Listing(system::Listing);

impl Listing {
    /// Whether the directory held `name` when it was listed.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.0.contains(name)
    }
}

/// An open directory. Paths below it are walked handle by handle, so that a renamed parent cannot redirect us.
#[derive(Debug)]
pub struct Dir(pub(crate) system::Dir);

impl Dir {
    /// Opens the directory at `path`. Links in `path` itself are followed: it is what the user named.
    pub fn open(path: &Path) -> io::Result<Self> {
        system::Dir::open(path).map(Self)
    }

    /// Opens the subdirectory `name`; a symbolic link is refused (`ELOOP` or `ENOTDIR`).
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        self.0.open_dir(name).map(Self)
    }

    /// Lists the directory, sorted by name bytes. An entry that vanishes in between is left out.
    ///
    /// Two reads of one handle at once would share its position: give each thread its own handle.
    pub fn read(&self) -> io::Result<Vec<DirEntry>> {
        let (mut listing, mut entries) = (self.list()?, Vec::new());
        while let Some(next) = self.next_entries(&mut listing) {
            entries.extend(next);
        }
        Ok(entries)
    }

    /// Reads the names of the directory, sorted; their metadata is read later, some at a time, so that a directory of
    /// millions takes little more memory than its names.
    pub fn list(&self) -> io::Result<Listing> {
        self.0.list().map(Listing)
    }

    /// The next entries of a listing of this directory, in the order of their names; none at its end. Entries that
    /// vanished since are left out, so there may be fewer than there were names, or none at all.
    pub fn next_entries(&self, listing: &mut Listing) -> Option<Vec<DirEntry>> {
        self.0.next_entries(&mut listing.0)
    }

    /// Opens `name` for reading, without waiting for the other end of a FIFO.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        self.0.open_file(name)
    }

    /// The text of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        self.0.read_link(name)
    }

    /// Metadata of `name` itself, also when it is a symbolic link.
    pub fn stat(&self, name: &[u8]) -> io::Result<FileMeta> {
        self.0.stat(name)
    }

    /// Metadata of this directory.
    pub fn self_meta(&self) -> io::Result<FileMeta> {
        self.0.self_meta()
    }

    /// A second, independent handle of the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

/// Metadata of an open file: read again after the contents, it tells whether they changed meanwhile.
pub fn file_meta(file: &File) -> io::Result<FileMeta> {
    system::file_meta(file)
}

/// The next range `(start, end)` of data at or behind `from` in a file's first `bytes`; the rest are holes. None when
/// nothing but a hole follows.
///
/// Where the filesystem cannot tell, all the rest is data. Moves the file's position.
pub fn next_data(file: &File, from: u64, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    if from >= bytes { Ok(None) } else { system::next_data(file, from, bytes) }
}

/// Refuses a name that is not exactly one path component: a vault or a caller may be hostile.
pub(crate) fn component(name: &[u8]) -> io::Result<&[u8]> {
    let bad = name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0));
    if bad {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a single path component"));
    }
    Ok(name)
}
