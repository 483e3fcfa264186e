//! Linux: nice(2) and ioprio_set(2).
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows ioprio_set")]

use std::io;

/// Low, yet not the very lowest: a machine that is always busy must still get its backup done.
const NICE: i32 = 10;

/// linux/ioprio.h: who, and class "best effort" with its lowest level.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_BEST_EFFORT_LOWEST: libc::c_int = (2 << 13) | 7;

pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

pub(super) fn effective_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

pub(super) fn to_background() -> io::Result<()> {
    rustix::process::setpriority_process(None, NICE)?;
    // SAFETY: ioprio_set takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_BEST_EFFORT_LOWEST) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_goes_to_the_background_alone() -> std::io::Result<()> {
        let nice = || rustix::process::getpriority_process(None);
        let before = nice()?;
        let inside = std::thread::spawn(move || {
            super::to_background()?;
            Ok::<_, std::io::Error>(nice()?)
        });
        let Ok(inside) = inside.join() else { panic!("the thread panicked") };
        assert_eq!(inside?, super::NICE);
        assert_eq!(nice()?, before);
        Ok(())
    }
}
