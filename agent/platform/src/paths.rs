//! Where the agent keeps its things, on each system, for the machine's own service and for an ordinary user.
//!
//! **Invariant**: identity never lies within state: deleting the state directory costs time, not the enrolment.

use std::path::PathBuf;

#[cfg_attr(target_os = "linux", path = "paths/linux.rs")]
#[cfg_attr(target_os = "macos", path = "paths/macos.rs")]
#[cfg_attr(target_os = "windows", path = "paths/windows.rs")]
mod system;

/// The agent's directories. None is created here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Outbox, desired state, caches; the control socket.
    pub state: PathBuf,
    /// The machine's keys.
    pub identity: PathBuf,
    /// `agent.toml` and the folder of allowed commands.
    pub config: PathBuf,
    /// Log files.
    pub log: PathBuf,
    /// What need not outlive a restart.
    pub run: PathBuf,
}

impl Paths {
    /// The platform's places: the system's for root, the user's own for anybody else.
    pub fn standard() -> Self {
        system::standard()
    }

    /// Makes the folder that the service's places lie in, for the system and administrators alone, and refuses one in which
    /// somebody else may have left something: the error names it and who. To be called by an administrator's processes
    /// before they read anything there. On Unix these folders are root's already.
    pub fn guard_service_places() -> std::io::Result<()> {
        system::guard_service_places()
    }

    /// The places of the machine's own service, whoever asks.
    pub fn of_service() -> Self {
        system::of_service()
    }
}

/// The value of an environment variable that names an absolute directory.
#[cfg_attr(target_os = "windows", expect(dead_code, reason = "Windows tells its folders itself"))]
fn directory_from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
