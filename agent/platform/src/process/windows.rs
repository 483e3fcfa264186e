//! Windows: the priority of the whole process, as threads hand down none of their own.

use std::io;

use windows_sys::Win32::System::Threading::{BELOW_NORMAL_PRIORITY_CLASS, GetCurrentProcess, SetPriorityClass};

use crate::nt;

pub(super) fn is_root() -> bool {
    nt::is_elevated(None).unwrap_or(false)
}

/// Accounts are no numbers here.
pub(super) fn effective_uid() -> Option<u32> {
    None
}

#[expect(unsafe_code, reason = "the standard library knows no priorities")]
pub(super) fn to_background() -> io::Result<()> {
    // SAFETY: the handle of the own process is a constant and is not closed.
    nt::check_bool(unsafe { SetPriorityClass(GetCurrentProcess(), BELOW_NORMAL_PRIORITY_CLASS) })
}
