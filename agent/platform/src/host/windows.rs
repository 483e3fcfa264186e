//! Windows: only what the standard library tells; the rest comes with the platform's issue.

use super::{MachineClass, OperatingSystem};

pub(super) fn operating_system() -> OperatingSystem {
    OperatingSystem { name: "Windows".to_owned(), version: String::new(), kernel: String::new() }
}

pub(super) fn class() -> MachineClass {
    MachineClass::Workstation
}

pub(super) fn fingerprint_parts() -> Vec<(&'static str, Option<String>)> {
    Vec::new()
}

pub(super) fn boot_id() -> Option<String> {
    None
}

pub(super) fn memory_bytes() -> u64 {
    0
}
