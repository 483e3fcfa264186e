//! macOS: not there yet; every call answers `Unsupported`.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{DirEntry, FileMeta};
use crate::Unsupported;

#[derive(Debug)]
pub(crate) struct Dir(std::convert::Infallible);

#[derive(Debug)]
pub(crate) struct Listing(std::convert::Infallible);

impl Listing {
    pub(crate) fn contains(&self, _name: &[u8]) -> bool {
        match self.0 {}
    }
}

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

    pub(crate) fn list(&self) -> io::Result<Listing> {
        match self.0 {}
    }

    pub(crate) fn next_entries(&self, _listing: &mut Listing) -> Option<Vec<DirEntry>> {
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

pub(super) fn next_data(_file: &File, from: u64, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    Ok(Some((from, bytes)))
}

fn unsupported<T>() -> io::Result<T> {
    Err(Unsupported { what: "reading files by handle" }.into())
}
