//! macOS: not asked yet.

use std::io;

use super::Connection;
use crate::Unsupported;

pub(super) fn connection() -> io::Result<Connection> {
    Err(Unsupported { what: "network cost" }.into())
}
