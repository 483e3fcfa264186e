//! macOS: launchd(8), which is told by its own program and a file; it wants no word from its services.

use std::io;

use super::ServiceManager;
pub(super) use super::elsewhere::{install, start, state, stop, supervise, uninstall};

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn manager() -> Option<ServiceManager> {
    // It is every Mac's first process, and the parent of what it starts.
    let supervised = rustix::process::getppid().is_some_and(|parent| parent.is_init());
    Some(ServiceManager::Launchd { daemon_dir: "/Library/LaunchDaemons".into(), supervised })
}

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn notify_ready() -> io::Result<bool> {
    Ok(false)
}

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn notify_stopping() -> io::Result<bool> {
    Ok(false)
}
