//! What a mount of macOS is to a backup, by its type, flags and place.

use super::MountClass;

/// Made up by the kernel or by a package.
const PSEUDO: &[&str] = &["autofs", "devfs", "fdesc", "nullfs", "bindfs", "synthfs", "tmpfs", "lifs"];

/// Where the system mounts volumes of its own, and the one of them that holds everybody's files. Its folders appear beneath
/// `/` by firm links, so that it is backed up there and nowhere else: a walk that comes to it by its own name would find
/// everything twice.
const SYSTEM_VOLUMES: &[u8] = b"/System/Volumes/";
pub(crate) const DATA_VOLUME: &[u8] = b"/System/Volumes/Data";

/// Of a mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// `MNT_LOCAL`: a disk of this machine, or an image on one.
    pub(super) local: bool,
    /// `MNT_DONTBROWSE`: the Finder does not show it.
    pub(super) hidden: bool,
}

pub(super) fn classify(filesystem: &str, flags: Flags, mount_point: &[u8]) -> MountClass {
    if !flags.local && !PSEUDO.contains(&filesystem) {
        MountClass::Network
    } else if mount_point == b"/" || mount_point == DATA_VOLUME {
        MountClass::Local
    } else if PSEUDO.contains(&filesystem) || (flags.hidden && mount_point.starts_with(SYSTEM_VOLUMES)) {
        // Preboot, VM, Update and the like come back with the system.
        MountClass::Pseudo
    } else {
        MountClass::Local
    }
}

#[cfg(test)]
mod tests {
    use super::{Flags, MountClass, classify};

    #[test]
    fn the_systems_own_volumes_come_back_with_the_system_and_peoples_are_backed_up() {
        let check = |filesystem: &str, local, hidden, mount_point: &[u8], class| {
            let told = classify(filesystem, Flags { local, hidden }, mount_point);
            assert_eq!(told, class, "{}", String::from_utf8_lossy(mount_point));
        };
        check("apfs", true, false, b"/", MountClass::Local);
        check("apfs", true, true, b"/System/Volumes/Data", MountClass::Local);
        check("apfs", true, true, b"/System/Volumes/Preboot", MountClass::Pseudo);
        check("apfs", true, true, b"/System/Volumes/VM", MountClass::Pseudo);
        check("apfs", true, false, b"/Volumes/Photos", MountClass::Local);
        check("hfs", true, true, b"/Volumes/hidden by its owner", MountClass::Local);
        check("devfs", true, true, b"/dev", MountClass::Pseudo);
        check("autofs", false, true, b"/System/Volumes/Data/home", MountClass::Pseudo);
        check("smbfs", false, false, b"/Volumes/share", MountClass::Network);
        check("exfat", true, false, b"/Volumes/STICK", MountClass::Local);
    }
}
