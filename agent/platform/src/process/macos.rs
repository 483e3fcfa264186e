//! macOS: setpriority(2) and setiopolicy_np(3) of the whole process: threads hand down none of their own.
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows setiopolicy_np")]

use std::io;
use std::time::Duration;

use super::Priority;

/// Low, yet not the very lowest: a machine that is always busy must still get its backup done.
const NICE: i32 = 10;

/// sys/resource.h: the disk, for this process, as a utility: after what a person waits for, before nothing at all.
const IOPOL_TYPE_DISK: libc::c_int = 0;
const IOPOL_SCOPE_PROCESS: libc::c_int = 0;
const IOPOL_UTILITY: libc::c_int = 4;

unsafe extern "C" {
    fn setiopolicy_np(kind: libc::c_int, scope: libc::c_int, policy: libc::c_int) -> libc::c_int;
}

pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

pub(super) fn effective_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

pub(super) fn set_priority(priority: Priority) -> io::Result<()> {
    match priority {
        Priority::Background => to_background(),
        Priority::Usual => Ok(()),
    }
}

pub(super) fn thread_time() -> Option<Duration> {
    None
}

fn to_background() -> io::Result<()> {
    rustix::process::setpriority_process(None, NICE)?;
    // SAFETY: it takes three integers and touches no memory of ours.
    let result = unsafe { setiopolicy_np(IOPOL_TYPE_DISK, IOPOL_SCOPE_PROCESS, IOPOL_UTILITY) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
