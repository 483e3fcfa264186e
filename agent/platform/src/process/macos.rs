//! macOS: not there yet; nobody is taken for an administrator.

use std::io;
use std::time::Duration;

use super::Priority;
use crate::Unsupported;

pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

pub(super) fn effective_uid() -> Option<u32> {
    None
}

pub(super) fn set_priority(priority: Priority) -> io::Result<()> {
    match priority {
        Priority::Background => Err(Unsupported { what: "background priority" }.into()),
        Priority::Usual => Ok(()),
    }
}

pub(super) fn thread_time() -> Option<Duration> {
    None
}
