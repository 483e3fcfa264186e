//! macOS: not there yet.

use std::io;

use crate::Unsupported;

pub(super) type Held = std::convert::Infallible;

pub(super) fn keep(_why: &str) -> io::Result<Held> {
    Err(Unsupported { what: "keeping awake" }.into())
}
