//! Which filesystems lie at and beneath some paths, and what each of them could be read through.

use std::path::{Path, PathBuf};

use super::machine::{Mapped, System};
use crate::mounts::{Mount, MountClass};
use crate::names;

/// Filesystems of which LVM's snapshot is known to be one of a whole: the kernel freezes them for it.
const ON_LVM: &[&str] = &["ext2", "ext3", "ext4", "xfs"];
/// Pictures of disks, which do not change and are kept elsewhere.
const PICTURES: &[&str] = &["cramfs", "erofs", "iso9660", "romfs", "udf"];

/// What a filesystem is to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing of this machine is kept there.
    NotOurs,
    /// It has no snapshots.
    Without { reason: String, remedy: String },
    /// On a logical volume.
    Lvm(Mapped),
    /// A filesystem that makes snapshots itself.
    Btrfs,
}

/// A mounted filesystem, as far as it can be reached by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) place: PathBuf,
    pub(super) mount: Mount,
    pub(super) kind: Kind,
}

/// What is mounted and can be reached, outer mounts before those in them.
pub(super) fn mounted(mounts: &[Mount], system: &dyn System) -> Vec<Mounted> {
    let mut reachable: Vec<Mounted> = Vec::new();
    for mount in mounts {
        let Some(place) = names::join(Path::new("/"), mount.mount_point.strip_prefix(b"/").unwrap_or_default()) else {
            continue;
        };
        // What is mounted over another hides it, and everything that was mounted beneath.
        reachable.retain(|other| !other.place.starts_with(&place) || place == Path::new("/"));
        let kind = kind_of(mount, system);
        reachable.push(Mounted { place, mount: mount.clone(), kind });
    }
    // Of several at the root the last is the one that is seen.
    let root = reachable.iter().rposition(|mounted| mounted.place == Path::new("/"));
    let mut at = 0;
    reachable.retain(|mounted| {
        at += 1;
        mounted.place != Path::new("/") || root == Some(at - 1)
    });
    reachable.sort_by(|a, b| a.place.cmp(&b.place));
    reachable
}

fn kind_of(mount: &Mount, system: &dyn System) -> Kind {
    let filesystem = mount.filesystem.as_str();
    if mount.class != MountClass::Local || PICTURES.contains(&filesystem) {
        return Kind::NotOurs;
    }
    if filesystem == "btrfs" {
        return Kind::Btrfs;
    }
    match system.mapped(mount.device) {
        Some(mapped) if mapped.uuid.starts_with("LVM-") && ON_LVM.contains(&filesystem) => Kind::Lvm(mapped),
        Some(mapped) if mapped.uuid.starts_with("LVM-") => {
            let reason = format!("{filesystem} on a logical volume is not known to be whole in a snapshot");
            Kind::Without { reason, remedy: format!("use {} there", ON_LVM.join(", ")) }
        }
        Some(_) | None => Kind::Without {
            reason: format!("{filesystem} on {} has no snapshots", mount.source),
            remedy: "keep such data on a logical volume (LVM) or on btrfs".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Kind, mounted};
    use crate::mounts::MountClass;
    use crate::volume_snapshot::system::tests::{Script, mount};

    #[test]
    fn what_is_mounted_over_something_hides_it_with_all_beneath() {
        let mounts = [
            mount("/", "ext4", "/dev/old", 1),
            mount("/", "ext4", "/dev/vda1", 2),
            mount("/srv/deep", "ext4", "/dev/hidden", 3),
            mount("/proc", "proc", "proc", 4),
            mount("/srv", "ext4", "/dev/vdb", 5),
            mount("/srv/a", "ext4", "/dev/vdc", 6),
        ];
        let script = Script::default();
        let seen: Vec<_> = mounted(&mounts, &script).into_iter().map(|m| (m.place, m.mount.device)).collect();
        let expected = [("/", 2), ("/proc", 4), ("/srv", 5), ("/srv/a", 6)];
        assert_eq!(seen, expected.map(|(place, device)| (PathBuf::from(place), device)));
    }

    #[test]
    fn kinds_follow_filesystem_and_device() {
        let script = Script::default().mapped(8, "vg-data", "LVM-abc").mapped(9, "luks", "CRYPT-LUKS2-abc");
        let check = |filesystem: &str, device: u64, expected: &str| {
            let found = mounted(&[mount("/srv", filesystem, "/dev/x", device)], &script);
            let told = match &found[0].kind {
                Kind::NotOurs => "not ours".to_owned(),
                Kind::Without { reason, .. } => reason.clone(),
                Kind::Lvm(mapped) => mapped.name.clone(),
                Kind::Btrfs => "btrfs".to_owned(),
            };
            assert!(told.contains(expected), "{filesystem} {device}: {told}");
        };
        check("xfs", 8, "vg-data");
        check("ext4", 8, "vg-data");
        check("f2fs", 8, "not known to be whole");
        check("ext4", 9, "has no snapshots");
        check("ext4", 7, "ext4 on /dev/x");
        check("btrfs", 8, "btrfs");
        check("iso9660", 7, "not ours");
        let mut share = mount("/srv", "nfs4", "nas:/x", 7);
        share.class = MountClass::Network;
        assert_eq!(mounted(&[share], &script)[0].kind, Kind::NotOurs);
    }
}
