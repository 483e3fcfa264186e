//! Windows: the system's and the process's counters.
#![expect(unsafe_code, reason = "the standard library counts no memory")]

use std::mem::size_of;

use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

pub(super) fn available_bytes() -> Option<u64> {
    // What may be committed still counts as much as what is free: without a page file there is no more.
    status().map(|status| status.ullAvailPhys.min(status.ullAvailPageFile))
}

/// Its allocator does so by itself.
pub(super) fn give_back() {}

pub(super) fn peak_bytes() -> Option<u64> {
    let bytes = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
    let mut counters = PROCESS_MEMORY_COUNTERS { cb: bytes, ..PROCESS_MEMORY_COUNTERS::default() };
    // SAFETY: the structure is as long as said and lives until the call returns.
    let is_known = unsafe { K32GetProcessMemoryInfo(GetCurrentProcess(), &raw mut counters, bytes) } != 0;
    is_known.then_some(counters.PeakWorkingSetSize as u64)
}

/// The machine's memory.
pub(crate) fn status() -> Option<MEMORYSTATUSEX> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: the structure tells its length and lives until the call returns.
    let is_known = unsafe { GlobalMemoryStatusEx(&raw mut status) } != 0;
    is_known.then_some(status)
}
