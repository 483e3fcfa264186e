//! Windows: background mode, thread by thread. That of a whole process would hold its memory to 32 MiB.
#![expect(unsafe_code, reason = "the standard library knows no priorities")]

use std::io;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_THREAD_MODE_ALREADY_BACKGROUND, ERROR_THREAD_MODE_NOT_BACKGROUND, FILETIME,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, GetThreadTimes, SetThreadPriority, THREAD_MODE_BACKGROUND_BEGIN, THREAD_MODE_BACKGROUND_END,
};

use super::Priority;
use crate::nt;

pub(super) fn is_root() -> bool {
    nt::is_elevated(None).unwrap_or(false)
}

/// Accounts are no numbers here.
pub(super) fn effective_uid() -> Option<u32> {
    None
}

pub(super) fn set_priority(priority: Priority) -> io::Result<()> {
    let (mode, is_so_already) = match priority {
        Priority::Background => (THREAD_MODE_BACKGROUND_BEGIN, ERROR_THREAD_MODE_ALREADY_BACKGROUND),
        Priority::Usual => (THREAD_MODE_BACKGROUND_END, ERROR_THREAD_MODE_NOT_BACKGROUND),
    };
    // SAFETY: the handle of the own thread is a constant and is not closed.
    match nt::check_bool(unsafe { SetThreadPriority(GetCurrentThread(), mode) }) {
        Err(error) if error.raw_os_error() == Some(is_so_already as i32) => Ok(()),
        other => other,
    }
}

pub(super) fn thread_time() -> Option<Duration> {
    let mut times = [FILETIME::default(); 4];
    let [created, ended, kernel, user] = &mut times;
    // SAFETY: the handle is a constant, and the four times live until the call returns.
    nt::check_bool(unsafe { GetThreadTimes(GetCurrentThread(), created, ended, kernel, user) }).ok()?;
    // In steps of 100 nanoseconds.
    let steps = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Some(Duration::from_nanos((steps(times[2]) + steps(times[3])).saturating_mul(100)))
}
