//! Windows: the registry, where the system and the firmware say what they are.
#![expect(unsafe_code, reason = "the standard library reads no registry")]

use std::ptr::null_mut;

use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegGetValueW};

use super::{MachineClass, OperatingSystem};
use crate::nt::wide;

const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";
const FIRMWARE: &str = r"HARDWARE\DESCRIPTION\System\BIOS";
const CRYPTOGRAPHY: &str = r"SOFTWARE\Microsoft\Cryptography";
const BOOTS: &str = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters";

/// Values that are read here are short.
const TEXT_UNITS_MAX: usize = 1024;
/// The first build of Windows 11, whose registry still says 10.
const BUILD_OF_11: u32 = 22_000;

/// Traces that hypervisors leave in the names of maker and product.
const HYPERVISORS: [&str; 9] =
    ["qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "virtual machine", "amazon ec2", "google compute engine"];

pub(super) fn operating_system() -> OperatingSystem {
    let build = text(VERSION, "CurrentBuildNumber").unwrap_or_default();
    let name = text(VERSION, "ProductName").unwrap_or_else(|| "Windows".to_owned());
    let is_11 = build.parse().is_ok_and(|build: u32| build >= BUILD_OF_11) && !is_server();
    let name = if is_11 { name.replacen("Windows 10", "Windows 11", 1) } else { name };
    let version = text(VERSION, "DisplayVersion").or_else(|| text(VERSION, "ReleaseId")).unwrap_or_default();
    let kernel = match number(VERSION, "UBR") {
        Some(revision) => format!("{build}.{revision}"),
        None => build,
    };
    OperatingSystem { name, version, kernel }
}

pub(super) fn class() -> MachineClass {
    let names = ["SystemManufacturer", "SystemProductName", "BaseBoardManufacturer", "BIOSVendor"];
    let names = names.map(|name| text(FIRMWARE, name).unwrap_or_default().to_lowercase()).join("\n");
    if HYPERVISORS.iter().any(|trace| names.contains(trace)) {
        MachineClass::VirtualMachine
    } else if is_server() {
        MachineClass::Server
    } else {
        MachineClass::Workstation
    }
}

fn is_server() -> bool {
    text(VERSION, "InstallationType").is_some_and(|kind| kind.starts_with("Server"))
}

pub(super) fn fingerprint_parts() -> Vec<(&'static str, Option<String>)> {
    vec![
        ("machine-guid", text(CRYPTOGRAPHY, "MachineGuid")),
        ("manufacturer", text(FIRMWARE, "SystemManufacturer")),
        ("product", text(FIRMWARE, "SystemProductName")),
        ("sku", text(FIRMWARE, "SystemSKU")),
    ]
}

/// The system counts its starts.
pub(super) fn boot_id() -> Option<String> {
    number(BOOTS, "BootId").map(|boot| boot.to_string())
}

pub(super) fn memory_bytes() -> u64 {
    crate::memory::system::status().map_or(0, |status| status.ullTotalPhys)
}

/// A text of the registry; nothing when it is empty, missing or forbidden.
fn text(key: &str, name: &str) -> Option<String> {
    let mut value = vec![0u16; TEXT_UNITS_MAX];
    let mut bytes = size_of_val(value.as_slice()) as u32;
    let (key, name) = (wide(key), wide(name));
    // SAFETY: both texts end with a zero, and the buffer is as long as said.
    let status = unsafe {
        let pointer = value.as_mut_ptr().cast();
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            null_mut(),
            pointer,
            &raw mut bytes,
        )
    };
    value.truncate(bytes as usize / 2);
    let text = String::from_utf16_lossy(&value).trim_matches(['\0', ' ']).to_owned();
    (status == 0 && !text.is_empty()).then_some(text)
}

fn number(key: &str, name: &str) -> Option<u32> {
    let (mut value, mut bytes) = (0u32, size_of::<u32>() as u32);
    let (key, name) = (wide(key), wide(name));
    // SAFETY: both texts end with a zero, and the buffer is as long as said.
    let status = unsafe {
        let pointer = (&raw mut value).cast();
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_DWORD,
            null_mut(),
            pointer,
            &raw mut bytes,
        )
    };
    (status == 0).then_some(value)
}
