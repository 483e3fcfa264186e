//! The system's service manager: whether there is one, telling it how we are, and on Windows all dealings with it.
//!
//! systemd and launchd are spoken to by their own programs and by a file, which is the command line's affair; the service control manager
//! of Windows only by calls, which are here.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

/// Where there is no service control manager.
#[cfg(not(target_os = "windows"))]
mod elsewhere;
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
    /// launchd of macOS.
    Launchd {
        /// Where property lists of services go.
        daemon_dir: PathBuf,
        /// Whether this very process was started by it.
        supervised: bool,
    },
    /// The service control manager of Windows.
    ServiceControlManager {
        /// Whether this very process was started by it.
        supervised: bool,
    },
}

/// A service as the service control manager shall know it.
#[derive(Debug, Clone)]
pub struct Definition<'a> {
    /// Its name, which never changes.
    pub name: &'a str,
    /// Its name for people.
    pub display_name: &'a str,
    /// What it does.
    pub description: &'a str,
    /// The program.
    pub program: &'a Path,
    /// What the program is started with.
    pub arguments: Vec<OsString>,
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs.
    Running,
    /// It is about to run.
    Starting,
    /// It is about to end.
    Stopping,
    /// It does not run.
    Stopped,
}

/// What runs as the service: it ends soon after the first message of the channel, and answers whether it ended in order.
pub type ServiceBody = Box<dyn FnOnce(Receiver<()>) -> bool + Send>;

/// The service manager; nothing in a container or on a system without one we know.
pub fn manager() -> Option<ServiceManager> {
    system::manager()
}

/// Tells the manager that the service is ready. Answers whether anybody listens.
pub fn notify_ready() -> io::Result<bool> {
    system::notify_ready()
}

/// Tells the manager that the service goes down in order.
pub fn notify_stopping() -> io::Result<bool> {
    system::notify_stopping()
}

/// Runs `body` as the service `name`, if the service control manager started this process for it. Answers whether it did.
pub fn supervise(name: &str, body: ServiceBody) -> io::Result<bool> {
    system::supervise(name, body)
}

/// Installs a service, or sets one that is there to the same: it starts with the machine, and again when it fails. Answers
/// what the manager refused of the finer settings, in words.
pub fn install(definition: &Definition<'_>) -> io::Result<Vec<String>> {
    system::install(definition)
}

/// Stops and removes a service; one that is not there is no error.
pub fn uninstall(name: &str) -> io::Result<()> {
    system::uninstall(name)
}

/// Starts a service and waits until it runs.
pub fn start(name: &str) -> io::Result<()> {
    system::start(name)
}

/// Stops a service and waits until it has ended.
pub fn stop(name: &str) -> io::Result<()> {
    system::stop(name)
}

/// How a service is; nothing when there is none of this name.
pub fn state(name: &str) -> io::Result<Option<ServiceState>> {
    system::state(name)
}
