//! macOS: `readdir` and `fstatat` relative to the directory's handle.
//!
//! A file whose contents are in a cloud ("dataless") is an error with its reason: reading it would fetch it, and a backup of
//! the whole machine would fetch everything.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(crate) use super::unix::Listing;
use super::unix::kind;
pub(super) use super::unix::next_data;
use super::{DirEntry, FileMeta, Timestamp, component};

/// sys/stat.h: the contents are elsewhere.
const SF_DATALESS: u32 = 0x4000_0000;

#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open_at(rustix::fs::CWD, path, OFlags::DIRECTORY)?))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(open_at(&self.0, component(name)?, OFlags::DIRECTORY | OFlags::NOFOLLOW)?))
    }

    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let fd = open_at(&self.0, component(name)?, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        is_here(&rustix::fs::fstat(&fd)?)?;
        Ok(File::from(fd))
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        is_here(&rustix::fs::fstat(&self.0)?)?;
        // It opens the directory anew, so nobody shares its position.
        let mut listing = Listing::default();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
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
        listing.next_entries(|name| match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            result => Some(result.and_then(|stat| meta(&stat)).map_err(io::Error::from)),
        })
    }

    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, component(name)?, Vec::new())?.into_bytes())
    }

    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<FileMeta> {
        Ok(meta(&rustix::fs::statat(&self.0, component(name)?, AtFlags::SYMLINK_NOFOLLOW)?)?)
    }

    pub(crate) fn self_meta(&self) -> io::Result<FileMeta> {
        meta_of(&self.0)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        // A fresh open, not a duplicate, which would share the read position.
        match open_at(&self.0, c".", OFlags::DIRECTORY) {
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
    Ok(meta(&rustix::fs::fstat(handle)?)?)
}

/// The device number as [`FileMeta::device`] has it.
pub(crate) fn device(raw: i32) -> u64 {
    u64::from(raw.cast_unsigned())
}

fn is_here(stat: &Stat) -> io::Result<()> {
    if stat.st_flags & SF_DATALESS == 0 {
        return Ok(());
    }
    Err(io::Error::other("its contents are in a cloud only; they are not fetched for a backup"))
}

fn open_at<P: rustix::path::Arg>(dir: impl AsFd, path: P, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn meta(stat: &Stat) -> Result<FileMeta, Errno> {
    Ok(FileMeta {
        kind: kind(FileType::from_raw_mode(stat.st_mode))?,
        mode: u32::from(stat.st_mode) & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        bytes: stat.st_size.cast_unsigned(),
        modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
        changed: timestamp(stat.st_ctime, stat.st_ctime_nsec),
        inode: stat.st_ino,
        device: device(stat.st_dev),
        links: stat.st_nlink.into(),
        device_number: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        blocks_512: stat.st_blocks.cast_unsigned(),
    })
}

fn timestamp(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
}
