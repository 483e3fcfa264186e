//! This process towards the system: its account and its priority.

use std::io;

#[cfg_attr(target_os = "linux", path = "process/linux.rs")]
#[cfg_attr(target_os = "macos", path = "process/macos.rs")]
#[cfg_attr(target_os = "windows", path = "process/windows.rs")]
mod system;

/// Whether the process has the rights of root; on Windows, those of an administrator that need no further consent.
pub fn is_root() -> bool {
    system::is_root()
}

/// The account this process acts as, where accounts are numbers.
pub fn effective_uid() -> Option<u32> {
    system::effective_uid()
}

/// Yields processor and disk to everybody else, for the calling thread and the threads it starts from now on.
pub fn to_background() -> io::Result<()> {
    system::to_background()
}
