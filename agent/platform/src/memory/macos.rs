//! macOS: the kernel's page counts, getrlimit(2), getrusage(2).
#![expect(unsafe_code, reason = "neither the standard library nor rustix counts memory")]

use std::mem::MaybeUninit;

use rustix::process::{Resource, getrlimit};

pub(super) fn available_bytes() -> Option<u64> {
    let own = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
    machine().into_iter().chain(own.into_iter().flatten()).min()
}

/// Its allocator does so by itself.
pub(super) fn give_back() {}

pub(super) fn peak_bytes() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for the structure, and zeros are a valid one.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    // In bytes here, unlike elsewhere.
    u64::try_from(usage.ru_maxrss).ok()
}

/// What is free, and what is kept only because nobody wanted it yet.
fn machine() -> Option<u64> {
    let mut pages = MaybeUninit::<libc::vm_statistics64>::zeroed();
    let mut count = libc::HOST_VM_INFO64_COUNT;
    // SAFETY: `count` tells how many integers the structure has room for, and zeros are a valid one. The port is this
    // process's own and is not given back, since it is the same every time.
    let pages = unsafe {
        #[expect(deprecated, reason = "one call does not need another crate")]
        let host = libc::mach_host_self();
        let room = pages.as_mut_ptr().cast::<libc::integer_t>();
        if libc::host_statistics64(host, libc::HOST_VM_INFO64, room, &raw mut count) != libc::KERN_SUCCESS {
            return None;
        }
        pages.assume_init()
    };
    let pages = u64::from(pages.free_count) + u64::from(pages.inactive_count) + u64::from(pages.purgeable_count);
    // SAFETY: it takes an integer.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages.saturating_mul(u64::try_from(page_bytes).ok()?))
}
