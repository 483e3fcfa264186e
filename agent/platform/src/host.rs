//! What machine this is: the facts an agent reports of itself.
//!
//! **Invariant**: every fact is best effort; a machine that hides one is still enrolled.

#[cfg_attr(target_os = "linux", path = "host/linux.rs")]
#[cfg_attr(target_os = "macos", path = "host/macos.rs")]
#[cfg_attr(target_os = "windows", path = "host/windows.rs")]
mod system;

/// What a quota counts a machine as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineClass {
    /// A physical server.
    Server,
    /// A desktop or laptop.
    Workstation,
    /// A guest of a hypervisor, whatever runs in it.
    VirtualMachine,
}

/// The facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The name the machine gives itself.
    pub hostname: String,
    /// The system's name, as its maker writes it (`Debian GNU/Linux`).
    pub os_name: String,
    /// The system's version (`12`), empty where it has none.
    pub os_version: String,
    /// Release of the kernel, empty where unknown.
    pub kernel: String,
    /// Processor architecture in Rust's words (`x86_64`).
    pub architecture: String,
    /// A guess from the chassis, the hypervisor's traces and the system's edition.
    pub class: MachineClass,
    /// Hex digest over what stays with this installation on this hardware; none where nothing could be read.
    ///
    /// A hash, so that serial numbers do not leave the machine. As an ordinary user it covers less, and so differs.
    pub fingerprint: Option<String>,
    /// IANA name of the machine's zone, `UTC` where it tells none.
    pub zone: String,
    /// Changes with every start of the machine.
    pub boot_id: Option<String>,
    /// Main memory.
    pub memory_bytes: u64,
    /// Processors this process may use.
    pub processors: usize,
}

impl HostFacts {
    /// Gathers the facts; cheap enough to do at every start and once a day.
    pub fn gather() -> Self {
        let os = system::operating_system();
        Self {
            hostname: gethostname::gethostname().to_string_lossy().into_owned(),
            os_name: os.name,
            os_version: os.version,
            kernel: os.kernel,
            architecture: std::env::consts::ARCH.to_owned(),
            class: system::class(),
            fingerprint: fingerprint(&system::fingerprint_parts()),
            zone: iana_time_zone::get_timezone().unwrap_or_else(|_| "UTC".to_owned()),
            boot_id: system::boot_id(),
            memory_bytes: system::memory_bytes(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Name, version and kernel of the system.
struct OperatingSystem {
    name: String,
    version: String,
    kernel: String,
}

/// Digest over named parts; a part that could not be read is left out, and with none there is no fingerprint.
fn fingerprint(parts: &[(&str, Option<String>)]) -> Option<String> {
    let mut hasher = blake3::Hasher::new_derive_key("nightkeep hardware fingerprint v1");
    let mut any = false;
    for (name, value) in parts {
        let Some(value) = value else { continue };
        hasher.update(name.as_bytes()).update(b"=").update(value.as_bytes()).update(b"\n");
        any = true;
    }
    any.then(|| hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::{HostFacts, fingerprint};

    #[test]
    fn facts_are_the_same_twice() {
        assert_eq!(HostFacts::gather(), HostFacts::gather());
        assert!(!HostFacts::gather().hostname.is_empty());
        assert!(HostFacts::gather().memory_bytes > 0);
    }

    #[test]
    fn a_fingerprint_covers_every_part_and_its_name() {
        let of = |parts: &[(&str, Option<&str>)]| {
            fingerprint(&parts.iter().map(|(name, value)| (*name, value.map(str::to_owned))).collect::<Vec<_>>())
        };
        assert_eq!(of(&[("a", None)]), None);
        assert_ne!(of(&[("a", Some("1"))]), of(&[("b", Some("1"))]));
        assert_ne!(of(&[("a", Some("1")), ("b", Some("2"))]), of(&[("a", Some("1")), ("b", Some("3"))]));
        assert_eq!(of(&[("a", Some("1")), ("b", None)]), of(&[("a", Some("1"))]));
    }
}
