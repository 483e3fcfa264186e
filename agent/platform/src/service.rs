//! The system's service manager: whether there is one, and telling it how we are.

use std::io;
use std::path::PathBuf;

#[cfg_attr(target_os = "linux", path = "service/linux.rs")]
#[cfg_attr(target_os = "macos", path = "service/macos.rs")]
#[cfg_attr(target_os = "windows", path = "service/windows.rs")]
mod system;

/// The manager that runs services here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceManager {
    /// systemd is this machine's first process.
    Systemd {
        /// Where an administrator's units go.
        unit_dir: PathBuf,
        /// Whether this very process was started as a unit.
        supervised: bool,
    },
}

/// The service manager; nothing in a container or on a system without one we know.
pub fn manager() -> Option<ServiceManager> {
    system::manager()
}

/// Tells the manager that the service is ready. Answers whether anybody listens.
pub fn notify_ready() -> io::Result<bool> {
    system::notify("READY=1")
}

/// Tells the manager that the service goes down in order.
pub fn notify_stopping() -> io::Result<bool> {
    system::notify("STOPPING=1")
}
