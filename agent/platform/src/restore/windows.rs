//! Windows: not there yet; every call answers `Unsupported`.

use std::fs::File;
use std::io;

use super::{Attributes, Birth, Known, Node, Operation, RestoreError, failed};
use crate::Unsupported;
use crate::files::Dir;

pub(super) fn open_beneath(_dir: &Dir, _path: &[u8]) -> io::Result<Dir> {
    Err(unsupported())
}

pub(super) fn create_dir(_dir: &Dir, _name: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn create_file(_dir: &Dir, _name: &[u8], _mode: u32) -> io::Result<File> {
    Err(unsupported())
}

pub(super) fn open_file(_dir: &Dir, _name: &[u8]) -> io::Result<File> {
    Err(unsupported())
}

pub(super) fn symlink(_dir: &Dir, _name: &[u8], _link: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn hard_link(_dir: &Dir, _name: &[u8], _original_dir: &Dir, _original: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn node(_dir: &Dir, _name: &[u8], _node: Node) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn remove(_dir: &Dir, _name: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn write_at(_file: &File, _bytes: &[u8], _offset: u64) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn sync_dir(_dir: &Dir) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn sync_filesystem(_dir: &Dir) -> io::Result<()> {
    Err(unsupported())
}

pub(super) fn set_attributes(_dir: &Dir, name: &[u8], _attributes: &Attributes<'_>) -> Vec<RestoreError> {
    vec![failed(Operation::Open, name)(unsupported())]
}

pub(super) fn set_own_attributes(_dir: &Dir, _attributes: &Attributes<'_>, _known: Option<Known>) -> Vec<RestoreError> {
    vec![failed(Operation::Open, b".")(unsupported())]
}

pub(super) fn set_file_attributes(
    _file: &File,
    name: &[u8],
    _attributes: &Attributes<'_>,
    _known: Option<Known>,
) -> Vec<RestoreError> {
    vec![failed(Operation::Open, name)(unsupported())]
}

pub(super) fn birth(_dir: &Dir, _probe: &File) -> io::Result<Option<Birth>> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    Unsupported { what: "restoring by handle" }.into()
}
