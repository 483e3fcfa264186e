//! Who can write without an event: processes with mapped files, and the kernel itself.
//!
//! A file is mapped for writing only through a descriptor for reading and writing. So the files that may have been written
//! through a mapping, without having been closed since, are those open that way now and those mapped now.
//!
//! **Invariant**: what cannot be looked at is not taken to be harmless: no answer is given instead.
#![expect(unsafe_code, reason = "rustix does not know the ioctl of loop devices")]

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use crate::journal::{JournalError, Lost};

/// The first process namespace has this number on every Linux (`PROC_PID_INIT_INO`).
const FIRST_PROCESSES: &str = "pid:[4026531836]";
/// Since this version overlayfs tells of its writes to the filesystem beneath it (6.5, rounded up).
const OVERLAY_TELLS: (u32, u32) = (6, 6);
/// linux/loop.h.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_INFO64_BYTES: usize = 232;
/// A process that begins while the others are looked at may have got a file from one that ended meanwhile.
const ROUNDS: usize = 4;

/// A container sees its own processes only; others could write unseen.
pub(super) fn sees_all_processes() -> Result<(), JournalError> {
    let failed = |source| JournalError::System { what: "look at the process namespace", source };
    let namespace = fs::read_link("/proc/self/ns/pid").map_err(failed)?;
    if namespace.as_os_str() == FIRST_PROCESSES { Ok(()) } else { Err(JournalError::Container) }
}

/// Inode numbers of the regular files that may be written without an event.
pub(super) fn open_files(overlook: &[String]) -> Result<HashSet<u64>, Lost> {
    kernel_writers()?;
    let failed = |error| Lost::Failed(format!("open files cannot be listed: {error}"));
    let (mut files, mut seen) = (HashSet::new(), HashSet::new());
    loop_files(&mut files).map_err(failed)?;
    for _ in 0..ROUNDS {
        let processes = processes().map_err(failed)?;
        let new: Vec<u32> = processes.into_iter().filter(|process| seen.insert(*process)).collect();
        if new.is_empty() {
            break;
        }
        for process in new {
            if let Err(error) = files_of(process, &mut files) {
                hidden(process, &error, overlook)?;
            }
        }
    }
    Ok(files)
}

/// A process we may not look at may write what it likes, unless somebody vouches for it.
fn hidden(process: u32, error: &io::Error, overlook: &[String]) -> Result<(), Lost> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let name = name.trim_end();
    if overlook.iter().any(|other| other == name) {
        return Ok(());
    }
    Err(Lost::Blind(format!("process {name} ({process}) cannot be looked at and may write unseen: {error}")))
}

/// Parts of the kernel that write to files where no event tells.
fn kernel_writers() -> Result<(), Lost> {
    let overlay = fs::read_to_string("/proc/filesystems").map_err(|error| Lost::Failed(error.to_string()))?;
    if overlay.lines().any(|line| line.ends_with("\toverlay")) && kernel_version() < OVERLAY_TELLS {
        return Err(Lost::Blind("containers (overlayfs) write unseen before Linux 6.6".to_owned()));
    }
    let Ok(exported) = fs::read_dir("/sys/kernel/config/target/core") else { return Ok(()) };
    let mut names = exported.flatten().map(|entry| entry.file_name());
    match names.any(|name| name.as_encoded_bytes().starts_with(b"fileio_")) {
        true => Err(Lost::Blind("the kernel exports files as disks (LIO) and writes to them unseen".to_owned())),
        false => Ok(()),
    }
}

fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The files behind writable loop devices.
fn loop_files(files: &mut HashSet<u64>) -> io::Result<()> {
    let Ok(devices) = fs::read_dir("/sys/block") else { return Ok(()) };
    for device in devices {
        let (name, place) = device.map(|device| (device.file_name(), device.path()))?;
        let attached = name.as_encoded_bytes().starts_with(b"loop") && place.join("loop/backing_file").exists();
        // What is mounted from a package cannot be written.
        if attached && fs::read_to_string(place.join("ro")).map_or(true, |text| text.trim() != "1") {
            files.extend(loop_file(&fs::File::open(std::path::Path::new("/dev").join(&name))?)?);
        }
    }
    Ok(())
}

/// Inode number of the file behind a loop device; none when it was just detached.
fn loop_file(device: &fs::File) -> io::Result<Option<u64>> {
    let mut info = [0_u64; LOOP_INFO64_BYTES / 8];
    // SAFETY: the kernel writes at most a `struct loop_info64`, for which there is room, aligned as it wants.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, info.as_mut_ptr()) };
    if result == 0 {
        // lo_device, lo_inode, ...
        return Ok(Some(info[1]));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) { Ok(None) } else { Err(error) }
}

fn processes() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Adds the files of one process; one that ended meanwhile has none.
fn files_of(process: u32, files: &mut HashSet<u64>) -> io::Result<()> {
    let looked = open_in(process, files).and_then(|()| mapped_in(process, files));
    match looked.as_ref().map_err(io::Error::raw_os_error) {
        Ok(()) | Err(Some(libc::ENOENT | libc::ESRCH)) => Ok(()),
        Err(_) => looked,
    }
}

/// A link in `/proc/N/fd` has the rights of its descriptor: `rw-` is one for reading and writing.
fn open_in(process: u32, files: &mut HashSet<u64>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory: OwnedFd = rustix::fs::openat(CWD, format!("/proc/{process}/fd"), flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        match regular_file(&directory, name) {
            Ok(Some(inode)) => _ = files.insert(inode),
            Ok(None) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Inode number of what a descriptor for reading and writing stands for, when that is a regular file.
fn regular_file(directory: &OwnedFd, name: &std::ffi::CStr) -> Result<Option<u64>, Errno> {
    let link = rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MODE)?;
    if link.stx_mode & 0o600 != 0o600 {
        return Ok(None);
    }
    let quietly = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let file = rustix::fs::statx(directory, name, quietly, StatxFlags::TYPE | StatxFlags::INO);
    let file = match file {
        // Another machine's file that is away is none that we watch.
        Err(Errno::STALE | Errno::IO | Errno::NOTCONN | Errno::HOSTDOWN) => return Ok(None),
        // Nor is one of a user's own FUSE mount. Where we may not look at all, the link cannot be read either.
        Err(Errno::ACCESS) => return rustix::fs::readlinkat(directory, name, Vec::new()).map(|_| None),
        file => file?,
    };
    let regular = FileType::from_raw_mode(file.stx_mode.into()) == FileType::RegularFile;
    Ok(regular.then_some(file.stx_ino))
}

/// Lines of `/proc/N/maps`: `from-to rw-s offset device inode path`.
fn mapped_in(process: u32, files: &mut HashSet<u64>) -> io::Result<()> {
    let maps = fs::read(format!("/proc/{process}/maps"))?;
    for line in maps.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let shared = fields.nth(1).is_some_and(|rights| matches!(rights, [_, b'w', _, b's']));
        if shared && let Some(inode) = fields.nth(2).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok()) {
            files.insert(inode);
        }
    }
    Ok(())
}
