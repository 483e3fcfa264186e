//! macOS: service control is not there yet.

use super::ServiceManager;

pub(super) fn manager() -> Option<ServiceManager> {
    None
}

pub(super) fn notify(_state: &str) -> std::io::Result<bool> {
    Ok(false)
}
