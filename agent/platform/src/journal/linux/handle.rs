//! File handles: names of files that outlive renames (open_by_handle_at(2)).
//!
//! **Invariant**: a handle is opened with `O_PATH`: nothing is read, nothing waits, no event comes of it.
#![expect(unsafe_code, reason = "rustix does not know open_by_handle_at")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The kernel's own bound (`MAX_HANDLE_SZ`).
const BYTES_MAX: usize = 128;

/// A file, as an event names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Handle {
    /// Id of the filesystem (`f_fsid`).
    pub(super) filesystem: u64,
    kind: i32,
    bytes: Box<[u8]>,
}

/// `struct file_handle` with room for any.
#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    handle: [u8; BYTES_MAX],
}

impl Handle {
    /// None when it is longer than a handle can be, or empty: the kernel's word for a file it cannot name.
    pub(super) fn new(filesystem: u64, kind: i32, bytes: &[u8]) -> Option<Self> {
        (1..=BYTES_MAX).contains(&bytes.len()).then(|| Self { filesystem, kind, bytes: bytes.into() })
    }

    /// Opens the file; none when it is no more.
    pub(super) fn open(&self, mount: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
        let mut raw = Raw { bytes: self.bytes.len() as u32, kind: self.kind, handle: [0; BYTES_MAX] };
        raw.handle[..self.bytes.len()].copy_from_slice(&self.bytes);
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let pointer = (&raw mut raw).cast::<libc::file_handle>();
        // SAFETY: `raw` begins like `file_handle`, holds as many bytes as it says, and lives through the call.
        let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), pointer, flags) };
        if fd >= 0 {
            // SAFETY: the descriptor was just made for us and nobody else knows it.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ESTALE | libc::ENOENT) => Ok(None),
            _ => Err(error),
        }
    }
}
