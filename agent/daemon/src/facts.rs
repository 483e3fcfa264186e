//! What this machine says about itself.

use nightkeep_platform::host::{HostFacts, MachineClass as PlatformClass};
use nightkeep_wire::machine::{MachineClass, MachineFacts, OsFacts, OsFamily};

use crate::config::Config;

/// The version of this program, as it reports it.
pub(crate) const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Gathers the facts. A folder that plays the machine (`machine_root`) or another name makes another machine: its
/// fingerprint differs, so that several can run on one computer without being taken for clones.
pub(crate) fn gather(config: &Config) -> MachineFacts {
    let host = HostFacts::gather();
    MachineFacts {
        hostname: config.machine_name.clone().unwrap_or(host.hostname.clone()),
        os: OsFacts { family: os_family(), name: host.os_name.clone(), version: host.os_version.clone() },
        arch: host.architecture.clone(),
        class: class_of(host.class),
        hardware_fingerprint: fingerprint(&host, config),
        agent_version: AGENT_VERSION.to_owned(),
        zone: host.zone.clone(),
        boot_id: host.boot_id.clone(),
        booted_at: None,
        virtual_machine: host.class == PlatformClass::VirtualMachine,
        used_bytes: None,
        abilities: Vec::new(),
    }
}

/// The family of this build's system.
pub(crate) fn os_family() -> OsFamily {
    match std::env::consts::OS {
        "windows" => OsFamily::Windows,
        "macos" => OsFamily::Macos,
        _ => OsFamily::Linux,
    }
}

fn class_of(class: PlatformClass) -> MachineClass {
    match class {
        PlatformClass::Server => MachineClass::Server,
        PlatformClass::Workstation => MachineClass::Workstation,
        PlatformClass::VirtualMachine => MachineClass::Vm,
    }
}

fn fingerprint(host: &HostFacts, config: &Config) -> String {
    let hardware = host.fingerprint.clone().unwrap_or_else(|| format!("unknown {}", host.hostname));
    if config.machine_root.is_none() && config.machine_name.is_none() {
        return hardware;
    }
    let mut hasher = blake3::Hasher::new_derive_key("nightkeep played machine v1");
    hasher.update(hardware.as_bytes());
    if let Some(root) = &config.machine_root {
        hasher.update(b"root").update(root.as_os_str().as_encoded_bytes());
    }
    if let Some(name) = &config.machine_name {
        hasher.update(b"name").update(name.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
