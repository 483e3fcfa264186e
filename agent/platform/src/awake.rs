//! Keeping the machine awake while a job runs.
//!
//! **Invariant**: what keeps it awake ends with its guard, and with the process however that ends.

use std::io;
use std::marker::PhantomData;

#[cfg_attr(target_os = "linux", path = "awake/linux.rs")]
#[cfg_attr(target_os = "macos", path = "awake/macos.rs")]
#[cfg_attr(target_os = "windows", path = "awake/windows.rs")]
mod system;

/// Keeps the machine from going to sleep by itself until it is dropped, on the thread it was made on.
#[derive(Debug)]
pub struct Awake {
    _held: system::Held,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Awake {
    /// Keeps the machine awake; `why` is shown to whoever asks the system who does. Blocks for at most some seconds; not for
    /// tasks of a runtime. An error means that it may sleep as before.
    pub fn keep(why: &str) -> io::Result<Self> {
        Ok(Self { _held: system::keep(why)?, _stays_on_its_thread: PhantomData })
    }
}
