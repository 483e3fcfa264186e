//! macOS: extended attributes and access control lists are not read yet; the lists are empty.

use std::fs::File;
use std::io;

use super::Xattr;
use crate::files::Dir;

pub(super) fn of_file(_file: &File) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}

pub(super) fn of_entry(_dir: &Dir, _name: &[u8]) -> io::Result<Vec<Xattr>> {
    Ok(Vec::new())
}
