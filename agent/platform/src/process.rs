//! This process towards the system: its account, its priority, what it takes of the processor.

use std::io;
use std::time::Duration;

#[cfg_attr(target_os = "linux", path = "process/linux.rs")]
#[cfg_attr(target_os = "macos", path = "process/macos.rs")]
#[cfg_attr(target_os = "windows", path = "process/windows.rs")]
mod system;

/// How a thread stands to everybody else's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// Behind whatever else wants processor or disk.
    #[default]
    Background,
    /// Like any program.
    Usual,
}

/// Whether the process has the rights of root; on Windows, those of an administrator that need no further consent.
pub fn is_root() -> bool {
    system::is_root()
}

/// The account this process acts as, where accounts are numbers.
pub fn effective_uid() -> Option<u32> {
    system::effective_uid()
}

/// Sets the priority of the calling thread. On Unix the threads it starts from now on have it, too; on Windows each sets its
/// own. Only root gets back what was once given away.
pub fn set_priority(priority: Priority) -> io::Result<()> {
    system::set_priority(priority)
}

/// Processor time that the calling thread has taken; nothing where it is not counted.
pub fn thread_time() -> Option<Duration> {
    system::thread_time()
}
