//! Disks of a test's own, in files: btrfs, and volume groups of LVM.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted volume and all that lies below it, gone with its value.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    device: String,
    group: Option<String>,
}

/// A volume group of 1 GiB, and the volume in it.
const DISK_BYTES: u64 = 1 << 30;
const VOLUME: &str = "data";

impl Disk {
    /// btrfs on a disk.
    pub(crate) fn btrfs() -> io::Result<Self> {
        let disk = Self::new()?;
        run("mkfs.btrfs", &["-q", &disk.device])?;
        run("mount", &[&disk.device, disk.text()])?;
        Ok(disk)
    }

    /// A plain filesystem on a disk.
    pub(crate) fn plain(filesystem: &str) -> io::Result<Self> {
        let disk = Self::new()?;
        run(&format!("mkfs.{filesystem}"), &["-q", &disk.device])?;
        run("mount", &[&disk.device, disk.text()])?;
        Ok(disk)
    }

    /// A logical volume of 400 MiB beside `free_mib` that are free.
    pub(crate) fn thick(filesystem: &str, free_mib: u64) -> io::Result<Self> {
        let mut disk = Self::new()?;
        let group = disk.group()?;
        run("lvcreate", &["--yes", "--monitor", "n", "-L", "400M", "-n", VOLUME, &group])?;
        let free = output("lvs", &["--noheadings", "--nosuffix", "--units", "m", "-o", "vg_free", &group])?;
        let free: f64 = free.trim().parse().map_err(io::Error::other)?;
        let rest = format!("{:.0}M", free - free_mib as f64);
        run("lvcreate", &["--yes", "--monitor", "n", "-L", &rest, "-n", "other", &group])?;
        disk.mount_volume(filesystem)
    }

    /// A thin volume of 400 MiB in a pool of 500.
    pub(crate) fn thin(filesystem: &str) -> io::Result<Self> {
        let mut disk = Self::new()?;
        let group = disk.group()?;
        let pool = ["--type", "thin-pool", "--monitor", "n", "-L", "500M", "-n", "pool", &group];
        run("lvcreate", &[&["--yes"], pool.as_slice()].concat())?;
        run("lvcreate", &["--yes", "--thin", "--monitor", "n", "-V", "400M", "-n", VOLUME, &format!("{group}/pool")])?;
        disk.mount_volume(filesystem)
    }

    /// Where the volume is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The volume group.
    pub(crate) fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }

    fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().with_extension("image");
        std::fs::File::create(&image)?.set_len(DISK_BYTES)?;
        let device = output("losetup", &["--find", "--show", &image.to_string_lossy()])?.trim().to_owned();
        // The device holds it open; nobody else needs to find it.
        std::fs::remove_file(&image)?;
        Ok(Self { folder, device, group: None })
    }

    fn group(&mut self) -> io::Result<String> {
        let group = format!("test{}", self.device.trim_start_matches("/dev/loop"));
        run("pvcreate", &["--yes", &self.device])?;
        run("vgcreate", &["--yes", &group, &self.device])?;
        self.group = Some(group.clone());
        Ok(group)
    }

    fn mount_volume(self, filesystem: &str) -> io::Result<Self> {
        let device = format!("/dev/{}/{VOLUME}", self.group_name());
        run(&format!("mkfs.{filesystem}"), &["-q", &device])?;
        run("mount", &[&device, self.text()])?;
        Ok(self)
    }

    fn text(&self) -> &str {
        self.folder.path().to_str().unwrap_or_default()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What cannot be taken away stays, and the next test has a disk of its own.
        let _ = run("umount", &["-R", "-l", self.text()]);
        if let Some(group) = &self.group {
            let _ = run("vgremove", &["--yes", "--force", group]);
            let _ = run("pvremove", &["--yes", "--force", &self.device]);
        }
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// Runs a program of the system; its words are the error's when it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    output(program, arguments).map(drop)
}

/// What a program of the system writes.
pub(crate) fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LVM_SUPPRESS_FD_WARNINGS", "1").env("LC_ALL", "C");
    let output = command.output().map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let failed = || io::Error::other(format!("{program} {arguments:?} (this test needs root): {words}"));
    if output.status.success() { Ok(String::from_utf8_lossy(&output.stdout).into_owned()) } else { Err(failed()) }
}

/// Everything mounted, by place.
pub(crate) fn mounts() -> io::Result<Vec<PathBuf>> {
    let mounts = nightkeep_platform::mounts::Mounts::read()?;
    Ok(mounts.iter().map(|mount| String::from_utf8_lossy(&mount.mount_point).into_owned().into()).collect())
}
