//! Linux: `/etc/os-release`, `/etc/machine-id`, `/sys/class/dmi/id`, `/proc`.

use std::fs;

use super::{MachineClass, OperatingSystem};

const DMI: &str = "/sys/class/dmi/id";

/// Traces hypervisors leave in the vendor and product names.
const HYPERVISORS: &[&str] = &[
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "bochs",
    "parallels",
    "bhyve",
    "virtual machine",
    "amazon ec2",
    "google compute engine",
    "openstack",
    "firecracker",
    "hvm domu",
    "nutanix",
    "ovirt",
];

pub(super) fn operating_system() -> OperatingSystem {
    let release = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    OperatingSystem {
        name: os_release(&release, "NAME").unwrap_or_else(|| "Linux".to_owned()),
        version: os_release(&release, "VERSION_ID").unwrap_or_default(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}

pub(super) fn class() -> MachineClass {
    let dmi = ["sys_vendor", "product_name", "board_vendor", "bios_vendor"]
        .map(|name| read_line(&format!("{DMI}/{name}")).unwrap_or_default().to_lowercase())
        .join("\n");
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hypervisor =
        cpuinfo.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|f| f == "hypervisor"));
    if hypervisor || HYPERVISORS.iter().any(|name| dmi.contains(name)) {
        return MachineClass::VirtualMachine;
    }
    let chassis = read_line(&format!("{DMI}/chassis_type")).and_then(|text| text.parse().ok());
    chassis.map_or_else(class_without_chassis, class_of_chassis)
}

/// SMBIOS 3.6, table 17: the enclosures people sit at. Everything else stands in a rack.
fn class_of_chassis(chassis: u32) -> MachineClass {
    match chassis {
        3..=16 | 24 | 30..=32 | 35 | 36 => MachineClass::Workstation,
        _ => MachineClass::Server,
    }
}

/// A board without SMBIOS that starts to a desktop is somebody's computer.
fn class_without_chassis() -> MachineClass {
    let target = fs::read_link("/etc/systemd/system/default.target").unwrap_or_default();
    if target.ends_with("graphical.target") { MachineClass::Workstation } else { MachineClass::Server }
}

pub(super) fn fingerprint_parts() -> Vec<(&'static str, Option<String>)> {
    vec![
        ("machine-id", read_line("/etc/machine-id")),
        ("product-uuid", read_line(&format!("{DMI}/product_uuid"))),
        ("product-serial", read_line(&format!("{DMI}/product_serial"))),
        ("board-serial", read_line(&format!("{DMI}/board_serial"))),
    ]
}

pub(super) fn boot_id() -> Option<String> {
    read_line("/proc/sys/kernel/random/boot_id")
}

pub(super) fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)))
}

/// The value of `key` in the text of os-release(5), without its quotes.
fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// The first line of a small system file; nothing when it is empty, missing or forbidden.
fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{MachineClass, class_of_chassis, os_release};

    #[test]
    fn os_release_values_lose_their_quotes_and_keys_match_whole() {
        let text = "PRETTY_NAME=\"Debian 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian\n";
        assert_eq!(os_release(text, "NAME").as_deref(), Some("Debian GNU/Linux"));
        assert_eq!(os_release(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(os_release(text, "VERSION"), None);
    }

    #[test]
    fn laptops_are_workstations_and_blades_are_servers() {
        assert_eq!(class_of_chassis(10), MachineClass::Workstation);
        assert_eq!(class_of_chassis(3), MachineClass::Workstation);
        assert_eq!(class_of_chassis(17), MachineClass::Server);
        assert_eq!(class_of_chassis(28), MachineClass::Server);
    }
}
