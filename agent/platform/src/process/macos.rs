//! macOS: not there yet; nobody is taken for an administrator.

use std::io;

use crate::Unsupported;

pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

pub(super) fn effective_uid() -> Option<u32> {
    None
}

pub(super) fn to_background() -> io::Result<()> {
    Err(Unsupported { what: "background priority" }.into())
}
