//! Which filesystems a machine has, and which of them an "entire machine" is made of.

use std::io;

#[cfg(any(target_os = "macos", test))]
pub(crate) mod apple;
#[cfg_attr(target_os = "linux", path = "mounts/linux.rs")]
#[cfg_attr(target_os = "macos", path = "mounts/macos.rs")]
#[cfg_attr(target_os = "windows", path = "mounts/windows.rs")]
mod system;

/// Places whose whole contents appear at other places as well: the data volume of macOS, by firm links in `/`.
pub const SEEN_ELSEWHERE: &[&str] = if cfg!(target_os = "macos") { &["/System/Volumes/Data"] } else { &[] };

/// What a filesystem is to a backup of the entire machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountClass {
    /// A disk of this machine: backed up.
    Local,
    /// Another machine's: backed up there, and able to hang here.
    Network,
    /// Made up by the kernel, kept in memory, or a read-only image that came with a package.
    Pseudo,
}

/// One mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's number: the same while it is there, and given out again when it is gone.
    pub id: u64,
    /// Which directory of the filesystem is mounted; `/` unless it is a bind mount or a subvolume.
    pub root: Vec<u8>,
    /// Where it is mounted, as raw bytes.
    pub mount_point: Vec<u8>,
    /// Its device number, as [`FileMeta::device`](crate::files::FileMeta::device) names it.
    pub device: u64,
    /// Filesystem type as the kernel names it, with the subtype (`fuse.sshfs`).
    pub filesystem: String,
    /// What is mounted: a device, `server:/path`, or a word.
    pub source: String,
    /// What it is to us.
    pub class: MountClass,
}

/// The mounts at one moment.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    mounts: Vec<Mount>,
}

impl Mounts {
    /// Reads the mounts as this process sees them.
    pub fn read() -> io::Result<Self> {
        Ok(Self { mounts: system::read()? })
    }

    /// Class of the filesystem with this device number.
    ///
    /// A device nobody lists (a btrfs subvolume has its own number) is local: rather too much in a backup than too
    /// little.
    pub fn class_of(&self, device: u64) -> MountClass {
        self.of_device(device).map_or(MountClass::Local, |mount| mount.class)
    }

    /// The first mount of this device.
    pub fn of_device(&self, device: u64) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.device == device)
    }

    /// All mounts in the order they were made, bind mounts included.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }
}
