//! Windows: the directory's access rules, set by the installer, keep others out; a rename is durable with the volume.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

pub(super) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
