//! Linux: `getdents64` in large batches, then `statx` relative to the directory's handle.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, StatxFlags};
use rustix::io::Errno;

pub(crate) use super::unix::Listing;
use super::unix::kind;
pub(super) use super::unix::next_data;
use super::{DirEntry, FileMeta, Timestamp, component};

/// Room for about a thousand entries a call: a directory of a million names costs a thousand calls, not 30,000.
const GETDENTS_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open_quietly(rustix::fs::CWD, path, OFlags::DIRECTORY)?))
    }

    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(open_quietly(&self.0, component(name)?, OFlags::DIRECTORY | OFlags::NOFOLLOW)?))
    }

    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let fd = open_quietly(&self.0, component(name)?, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        Ok(File::from(fd))
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        rustix::fs::seek(&self.0, SeekFrom::Start(0))?;
        let mut buffer = vec![MaybeUninit::uninit(); GETDENTS_BYTES];
        let mut batch = RawDir::new(&self.0, &mut buffer);
        let mut listing = Listing::default();
        while let Some(entry) = batch.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                listing.push(entry.ino(), name)?;
            }
        }
        listing.sort();
        Ok(listing)
    }

    pub(crate) fn next_entries(&self, listing: &mut Listing) -> Option<Vec<DirEntry>> {
        listing.next_entries(|name| match statx(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            result => Some(result.map_err(io::Error::from)),
        })
    }

    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, component(name)?, Vec::new())?.into_bytes())
    }

    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<FileMeta> {
        Ok(statx(&self.0, component(name)?, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn self_meta(&self) -> io::Result<FileMeta> {
        Ok(statx(&self.0, c"", AtFlags::EMPTY_PATH)?)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        // A fresh open, not a duplicate, which would share the read position.
        match open_quietly(&self.0, c".", OFlags::DIRECTORY) {
            Ok(fd) => Ok(Self(fd)),
            // Readable but not searchable: the duplicate is better than nothing.
            Err(Errno::ACCESS) => Ok(Self(self.0.try_clone()?)),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn file_meta(file: &File) -> io::Result<FileMeta> {
    meta_of(file)
}

/// Metadata of whatever an open handle stands for.
pub(crate) fn meta_of(handle: impl AsFd) -> io::Result<FileMeta> {
    Ok(statx(handle, c"", AtFlags::EMPTY_PATH)?)
}

/// Opens for reading without touching the access time, which only the owner and root may ask for.
fn open_quietly<P: rustix::path::Arg + Copy>(dir: impl AsFd, path: P, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(&dir, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&dir, path, flags, Mode::empty()),
        result => result,
    }
}

fn statx<P: rustix::path::Arg>(dir: impl AsFd, path: P, flags: AtFlags) -> Result<FileMeta, Errno> {
    // Neither does a stat trigger an automount, nor does it wait for a network server to be asked again.
    let flags = flags | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(dir, path, flags, StatxFlags::BASIC_STATS)?;
    Ok(FileMeta {
        kind: kind(FileType::from_raw_mode(stat.stx_mode.into()))?,
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        bytes: stat.stx_size,
        modified: timestamp(stat.stx_mtime),
        changed: timestamp(stat.stx_ctime),
        inode: stat.stx_ino,
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        links: stat.stx_nlink.into(),
        device_number: (stat.stx_rdev_major, stat.stx_rdev_minor),
        blocks_512: stat.stx_blocks,
    })
}

fn timestamp(time: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}
