//! Linux: nice(2), ioprio_set(2), the clock of a thread.
#![expect(unsafe_code, reason = "neither the standard library nor rustix as it is built here knows these calls")]

use std::io;
use std::time::Duration;

use super::Priority;

/// Low, yet not the very lowest: a machine that is always busy must still get its backup done.
const NICE: i32 = 10;

/// linux/ioprio.h: who, and class "best effort" with its lowest and its usual level.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_BEST_EFFORT_LOWEST: libc::c_int = (2 << 13) | 7;
const IOPRIO_BEST_EFFORT_USUAL: libc::c_int = (2 << 13) | 4;

pub(super) fn is_root() -> bool {
    effective_uid() == Some(0)
}

pub(super) fn effective_uid() -> Option<u32> {
    Some(rustix::process::geteuid().as_raw())
}

pub(super) fn set_priority(priority: Priority) -> io::Result<()> {
    let (nice, disk) = match priority {
        Priority::Background => (NICE, IOPRIO_BEST_EFFORT_LOWEST),
        Priority::Usual => (0, IOPRIO_BEST_EFFORT_USUAL),
    };
    // Raising what is as high already needs a right that nobody needs for it.
    if rustix::process::getpriority_process(None)? != nice {
        rustix::process::setpriority_process(None, nice)?;
    }
    // SAFETY: ioprio_set takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, disk) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(super) fn thread_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives until the call returns.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (result == 0).then(|| Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ioprio() -> io::Result<libc::c_int> {
        // SAFETY: ioprio_get takes two integers and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) };
        libc::c_int::try_from(result).map_err(io::Error::other)
    }

    #[test]
    fn a_thread_and_those_it_starts_go_to_the_background_and_no_other() -> io::Result<()> {
        let nice = || rustix::process::getpriority_process(None);
        let before = nice()?;
        let inside = std::thread::spawn(move || {
            set_priority(Priority::Background)?;
            set_priority(Priority::Background)?;
            let child = std::thread::spawn(move || io::Result::Ok((nice()?, ioprio()?)));
            let Ok(child) = child.join() else { panic!("the thread panicked") };
            io::Result::Ok(((nice()?, ioprio()?), child?))
        });
        let Ok(inside) = inside.join() else { panic!("the thread panicked") };
        let low = (NICE, IOPRIO_BEST_EFFORT_LOWEST);
        assert_eq!(inside?, (low, low));
        assert_eq!(nice()?, before);
        Ok(())
    }

    #[test]
    fn a_thread_pays_for_its_work_and_not_for_its_sleep() {
        let begin = thread_time();
        std::thread::sleep(Duration::from_millis(50));
        let slept = thread_time();
        let mut sum = 0u64;
        while thread_time() < slept.map(|time| time + Duration::from_millis(30)) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let spent = |from: Option<Duration>, to: Option<Duration>| to.zip(from).map(|(to, from)| to - from);
        assert!(spent(begin, slept).is_some_and(|spent| spent < Duration::from_millis(25)), "{begin:?} {slept:?}");
        assert!(spent(slept, thread_time()).is_some_and(|spent| spent >= Duration::from_millis(30)));
    }
}
