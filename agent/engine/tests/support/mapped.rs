//! A file that is written through memory, as databases and virtual machines do.
#![expect(unsafe_code, reason = "the standard library maps no files")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

/// The first page of a file, mapped shared and writable; the file itself may be closed.
pub(crate) struct Mapped(*mut libc::c_void);

const BYTES: usize = 4096;

impl Mapped {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of an open file, wherever the kernel likes.
        let place = unsafe { libc::mmap(ptr::null_mut(), BYTES, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(place)) }
    }

    /// Changes the first byte, and has it written back, so that the next change is a change of the times too.
    pub(crate) fn write(&self, byte: u8) -> io::Result<()> {
        // SAFETY: the mapping is a page long and lives as long as we do; the caller keeps the file from becoming shorter.
        let result = unsafe {
            self.0.cast::<u8>().write_volatile(byte);
            libc::msync(self.0, BYTES, libc::MS_SYNC)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses after us.
        unsafe { libc::munmap(self.0, BYTES) };
    }
}
