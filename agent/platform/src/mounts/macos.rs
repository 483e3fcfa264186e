//! macOS: mounts are not listed yet.

use std::io;

use super::Mount;
use crate::Unsupported;

pub(super) fn read() -> io::Result<Vec<Mount>> {
    Err(Unsupported { what: "listing mounts" }.into())
}
