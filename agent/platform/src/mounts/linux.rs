//! Linux: `/proc/self/mountinfo` (proc(5)): `id parent major:minor root mount-point options [optional]... - type source
//! super-options`, with blanks and backslashes as octal.

use std::io;

use super::{Mount, MountClass};

const PSEUDO: &[&str] = &[
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "overlay",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "gfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
    "virtiofs",
];

pub(super) fn read() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = parse_device(fields.nth(1)?)?;
    let (root, mount_point) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let filesystem = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let class = classify(&filesystem, &mount_point);
    Some(Mount { id, root, mount_point, device, filesystem, source, class })
}

fn parse_device(text: &[u8]) -> Option<u64> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// A root that is an overlay is a container's or a live system's own disk; a root in memory is still all there is.
fn classify(filesystem: &str, mount_point: &[u8]) -> MountClass {
    if NETWORK.contains(&filesystem) {
        MountClass::Network
    } else if mount_point == b"/" {
        MountClass::Local
    } else if PSEUDO.contains(&filesystem) {
        MountClass::Pseudo
    } else if filesystem.starts_with("fuse.") {
        // A program behind it: mostly a way to another machine, and always able to hang.
        MountClass::Network
    } else {
        MountClass::Local
    }
}

/// Undoes the kernel's `\ooo` of blanks, tabs, line ends and backslashes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => {
                plain.push(byte);
                rest = &rest[4..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', digits @ ..] = text.get(..4)? else { return None };
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::{MountClass, parse, read};

    #[test]
    fn classes_follow_type_and_place() {
        let check = |line: &str, mount_point: &[u8], class| {
            let mounts = parse(line.as_bytes());
            assert_eq!(mounts.len(), 1, "{line}");
            assert_eq!(mounts[0].mount_point, mount_point, "{line}");
            assert_eq!(mounts[0].class, class, "{line}");
        };
        check("22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", b"/", MountClass::Local);
        check("23 22 0:21 / /proc rw - proc proc rw", b"/proc", MountClass::Pseudo);
        check("24 22 0:44 / / rw - overlay overlay rw,lowerdir=/a", b"/", MountClass::Local);
        check("25 22 0:45 / /var/lib/docker/x rw - overlay overlay rw", b"/var/lib/docker/x", MountClass::Pseudo);
        check(
            "26 22 0:50 / /mnt/a\\040b rw shared:7 master:2 - nfs4 nas:/x\\040y rw",
            b"/mnt/a b",
            MountClass::Network,
        );
        check("27 22 0:51 / /mnt/s rw - fuse.sshfs me@h:/ rw", b"/mnt/s", MountClass::Network);
        check("28 22 8:17 / /mnt/w rw - fuseblk /dev/sdb1 rw", b"/mnt/w", MountClass::Local);
        check("29 22 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro", b"/snap/core/1", MountClass::Pseudo);
    }

    #[test]
    fn a_broken_line_is_passed_over() {
        assert!(parse(b"\nx y z\n22 1 254:0 / /\n").is_empty());
    }

    #[test]
    fn this_machine_has_a_root_and_a_pseudo_proc() -> std::io::Result<()> {
        let mounts = read()?;
        assert!(mounts.iter().any(|mount| mount.mount_point == b"/" && mount.class == MountClass::Local));
        assert!(mounts.iter().any(|mount| mount.mount_point == b"/proc" && mount.class == MountClass::Pseudo));
        Ok(())
    }
}
