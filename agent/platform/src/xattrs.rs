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

/// The extended attributes of an open file, sorted by name. Empty where the filesystem has none at all.
pub fn xattrs_of_file(file: &File) -> io::Result<Vec<Xattr>> {
    system::of_file(file)
}

/// The extended attributes of `name` in `dir`, a symbolic link's own included, sorted by name.
///
/// Needs no right to open the entry, only what the system asks for the attributes: `user.*` of a file nobody lets us
/// read is an error, and so a finding.
pub fn xattrs(dir: &Dir, name: &[u8], kind: FileKind) -> io::Result<Vec<Xattr>> {
    match kind {
        FileKind::Regular
        | FileKind::Directory
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => system::of_entry(dir, name),
    }
}
