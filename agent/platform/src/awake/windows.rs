//! Windows: the execution state of the calling thread, which ends with it.
#![expect(unsafe_code, reason = "the standard library knows nothing of power")]

use std::io;

use windows_sys::Win32::System::Power::{ES_CONTINUOUS, ES_SYSTEM_REQUIRED, SetThreadExecutionState};

#[derive(Debug)]
pub(super) struct Held;

pub(super) fn keep(_why: &str) -> io::Result<Held> {
    // SAFETY: the call takes flags and touches no memory of ours.
    match unsafe { SetThreadExecutionState(ES_CONTINUOUS | ES_SYSTEM_REQUIRED) } {
        0 => Err(io::Error::other("the system refused to stay awake")),
        _ => Ok(Held),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: as above. Should it fail, the end of the thread does the same.
        unsafe { SetThreadExecutionState(ES_CONTINUOUS) };
    }
}
