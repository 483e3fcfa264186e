//! macOS: not there yet; every call answers `Unsupported`.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{DirEntry, FileMeta};
use crate::Unsupported;

#[derive(Debug)]
pub(crate) struct Dir(std::convert::Infallible);

impl Dir {
    pub(crate) fn open(_path: &Path) -> io::Result<Self> {
        unsupported()
    }

    pub(crate) fn open_dir(&self, _name: &[u8]) -> io::Result<Self> {
        match self.0 {}
    }

    pub(crate) fn open_file(&self, _name: &[u8]) -> io::Result<File> {
        match self.0 {}
    }

    pub(crate) fn read(&self) -> io::Result<Vec<DirEntry>> {
        match self.0 {}
    }

    pub(crate) fn read_link(&self, _name: &[u8]) -> io::Result<Vec<u8>> {
        match self.0 {}
    }

    pub(crate) fn stat(&self, _name: &[u8]) -> io::Result<FileMeta> {
        match self.0 {}
    }

    pub(crate) fn self_meta(&self) -> io::Result<FileMeta> {
        match self.0 {}
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self.0 {}
    }
}

pub(super) fn file_meta(_file: &File) -> io::Result<FileMeta> {
    unsupported()
}

pub(super) fn data_extents(_file: &File, bytes: u64) -> io::Result<Vec<(u64, u64)>> {
    Ok(if bytes == 0 { Vec::new() } else { vec![(0, bytes)] })
}

fn unsupported<T>() -> io::Result<T> {
    Err(Unsupported { what: "reading files by handle" }.into())
}
