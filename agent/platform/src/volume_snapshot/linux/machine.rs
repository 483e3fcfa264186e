//! What is asked of the machine to make snapshots: few programs, mounts, and the kernel's own tables. Narrow, so that a test can
//! answer in the machine's place.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::mounts::{Mount, Mounts};
use crate::volume_snapshot::program::{self, RunError};

/// A device that the device mapper made, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) name: String,
    pub(super) uuid: String,
}

/// What may be done beneath a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// A snapshot is but read.
    ReadOnly,
    /// Where snapshots are made, they can be.
    ReadWrite,
}

/// The machine.
pub(super) trait System: Send {
    /// Runs a program of the system to its end; answers what it wrote to standard output.
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError>;
    /// Mounts, without devices, programs and set-user-id bits that count.
    fn mount(&self, source: &Path, at: &Path, filesystem: &str, access: Access, options: &str) -> io::Result<()>;
    /// Undoes the uppermost mount at a place; whether there was one.
    fn unmount(&self, at: &Path) -> io::Result<bool>;
    /// All mounts, in the kernel's order.
    fn mounts(&self) -> io::Result<Vec<Mount>>;
    /// The device mapper's device with this number.
    fn mapped(&self, device: u64) -> Option<Mapped>;
    /// Whether we have the rights to do any of this.
    fn is_root(&self) -> bool;
}

/// The machine itself.
pub(super) struct Machine {
    /// How long one program may take.
    pub(super) time_max: Duration,
}

impl System for Machine {
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError> {
        program::run(program, arguments, self.time_max)
    }

    fn mount(&self, source: &Path, at: &Path, filesystem: &str, access: Access, options: &str) -> io::Result<()> {
        let mut flags = MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
        flags.set(MountFlags::RDONLY, access == Access::ReadOnly);
        let options = std::ffi::CString::new(options).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(rustix::mount::mount(source, at, filesystem, flags, options.as_c_str())?)
    }

    fn unmount(&self, at: &Path) -> io::Result<bool> {
        match rustix::mount::unmount(at, UnmountFlags::NOFOLLOW) {
            Ok(()) => Ok(true),
            // Nothing is mounted there, or the place itself is gone.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        Ok(Mounts::read()?.iter().cloned().collect())
    }

    fn mapped(&self, device: u64) -> Option<Mapped> {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/dm"));
        let read = |name| Some(std::fs::read_to_string(folder.join(name)).ok()?.trim().to_owned());
        Some(Mapped { name: read("name")?, uuid: read("uuid")? })
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}
