//! How much memory this process may still take, and how much it took.
//!
//! **Invariant**: an unknown bound is no bound: nothing here makes a machine look smaller than it is known to be.

#[cfg_attr(target_os = "linux", path = "memory/linux.rs")]
#[cfg_attr(target_os = "macos", path = "memory/macos.rs")]
#[cfg_attr(target_os = "windows", path = "memory/windows.rs")]
pub(crate) mod system;

/// Bytes this process may take: the least of the machine's available memory, the limits of its control groups and its
/// own resource limits. None where the system tells nothing.
pub fn available_bytes() -> Option<u64> {
    system::available_bytes()
}

/// Gives back to the system what was freed and is kept for later, as an agent that worked for minutes waits for hours. Where the
/// allocator does so by itself or cannot be asked, nothing happens.
pub fn give_back() {
    system::give_back();
}

/// The most memory this process ever had resident, in bytes. None where the system does not tell.
pub fn peak_bytes() -> Option<u64> {
    system::peak_bytes()
}
