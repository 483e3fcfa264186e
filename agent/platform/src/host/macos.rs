//! macOS: sysctl(3) by name, gethostuuid(2).
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows sysctlbyname")]

use std::ffi::CStr;
use std::ptr;

use super::{MachineClass, OperatingSystem};

/// Longest answer that is asked for.
const TEXT_BYTES_MAX: usize = 1024;

pub(super) fn operating_system() -> OperatingSystem {
    OperatingSystem {
        name: "macOS".to_owned(),
        version: text(c"kern.osproductversion").unwrap_or_default(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}

/// A Mac without a hypervisor beneath it counts as somebody's computer, wherever it stands: no mark tells a server.
pub(super) fn class() -> MachineClass {
    let is_guest = number(c"kern.hv_vmm_present") == Some(1)
        || text(c"machdep.cpu.features").is_some_and(|features| features.split(' ').any(|feature| feature == "VMM"));
    if is_guest { MachineClass::VirtualMachine } else { MachineClass::Workstation }
}

pub(super) fn fingerprint_parts() -> Vec<(&'static str, Option<String>)> {
    vec![("host-uuid", host_uuid()), ("model", text(c"hw.model"))]
}

pub(super) fn boot_id() -> Option<String> {
    text(c"kern.bootsessionuuid")
}

pub(super) fn memory_bytes() -> u64 {
    number(c"hw.memsize").unwrap_or(0)
}

/// Of the hardware, the same for every account and after every installation.
fn host_uuid() -> Option<String> {
    let mut uuid = [0_u8; 16];
    let at_once = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    // SAFETY: there is room for the 16 bytes of a uuid_t, and the span lives until the call returns.
    let is_known = unsafe { libc::gethostuuid(uuid.as_mut_ptr(), &raw const at_once) } == 0;
    is_known.then(|| uuid.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(name: &CStr) -> Option<String> {
    let mut buffer = [0_u8; TEXT_BYTES_MAX];
    let bytes = read(name, &mut buffer)?;
    let text = CStr::from_bytes_until_nul(buffer.get(..bytes)?).ok()?.to_string_lossy().trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// An integer of 32 or 64 bits.
fn number(name: &CStr) -> Option<u64> {
    let mut buffer = [0_u8; 8];
    match read(name, &mut buffer)? {
        4 => Some(u32::from_ne_bytes(*buffer.first_chunk()?).into()),
        8 => Some(u64::from_ne_bytes(buffer)),
        _ => None,
    }
}

fn read(name: &CStr, buffer: &mut [u8]) -> Option<usize> {
    let mut bytes = buffer.len();
    let room = buffer.as_mut_ptr().cast();
    // SAFETY: `bytes` tells how long the buffer is; the name ends with a zero; nothing is set.
    let is_known = unsafe { libc::sysctlbyname(name.as_ptr(), room, &raw mut bytes, ptr::null_mut(), 0) } == 0;
    is_known.then_some(bytes)
}
