//! Extended attributes: the user's own, POSIX ACLs (kept as the raw `system.posix_acl_*` values, so that a build needs
//! no libacl), capabilities, security labels and, for root, `trusted.*`.
//!
//! **Invariant**: a file without any costs one system call.

use std::fs::File;
use std::io;

use crate::files::{Dir, FileKind};

#[cfg_attr(target_os = "linux", path = "xattrs/linux.rs")]
#[cfg_attr(target_os = "macos", path = "xattrs/macos.rs")]
#[cfg_attr(target_os = "windows", path = "xattrs/windows.rs")]
pub(crate) mod system;

/// Name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry has, as far as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Xattrs {
    /// Sorted by name.
    pub kept: Vec<Xattr>,
    /// Names and lengths in bytes of those that are too long to be read at all: streams of Windows.
    pub left_out: Vec<(Vec<u8>, u64)>,
}

impl From<Vec<Xattr>> for Xattrs {
    fn from(kept: Vec<Xattr>) -> Self {
        Self { kept, left_out: Vec::new() }
    }
}

/// The extended attributes of an open file. Empty where the filesystem has none at all.
pub fn xattrs_of_file(file: &File) -> io::Result<Xattrs> {
    system::of_file(file).map(Xattrs::from)
}

/// The extended attributes of `name` in `dir`, a symbolic link's own included.
///
/// Needs no right to open the entry, only what the system asks for the attributes: `user.*` of a file nobody lets us
/// read is an error, and so a finding.
pub fn xattrs(dir: &Dir, name: &[u8], kind: FileKind) -> io::Result<Xattrs> {
    match kind {
        FileKind::Regular
        | FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => system::of_entry(dir, name).map(Xattrs::from),
    }
}
