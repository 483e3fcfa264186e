//! macOS: service control is not there yet.

use std::io;

use super::ServiceManager;
pub(super) use super::elsewhere::{install, start, state, stop, supervise, uninstall};

pub(super) fn manager() -> Option<ServiceManager> {
    None
}

pub(super) fn notify_ready() -> io::Result<bool> {
    Ok(false)
}

pub(super) fn notify_stopping() -> io::Result<bool> {
    Ok(false)
}
