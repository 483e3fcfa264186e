//! Linux: an inhibitor lock of logind, held for as long as its descriptor is open.

use std::io;
use std::os::fd::OwnedFd;

use crate::bus;

pub(super) type Held = OwnedFd;

/// `sleep` is what power managers ask for, `idle` is when nobody is at the machine.
const WHAT: &str = "sleep:idle";

pub(super) fn keep(why: &str) -> io::Result<Held> {
    bus::inhibit(WHAT, "Nightkeep", why, "block")
}
