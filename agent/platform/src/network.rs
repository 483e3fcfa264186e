//! What the network costs and where it leads: schedules may wait for one that is not paid by the byte.

#[cfg_attr(target_os = "linux", path = "network/linux.rs")]
#[cfg_attr(target_os = "macos", path = "network/macos.rs")]
#[cfg_attr(target_os = "windows", path = "network/windows.rs")]
mod system;

/// What the system says about its connection; nothing where it does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether its bytes are paid for or limited.
    pub metered: Option<bool>,
    /// Whether everything goes through a virtual private network.
    pub vpn: Option<bool>,
}

/// What the connection is like now, or why nobody can tell. Blocks for at most some seconds; not for tasks of a runtime.
pub fn connection() -> std::io::Result<Connection> {
    system::connection()
}
