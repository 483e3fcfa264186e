//! Linux: `getdents64` in large batches, then `statx` relative to the directory's handle.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, StatxFlags};
use rustix::io::Errno;

use super::{DirEntry, FileKind, FileMeta, Timestamp, component};

/// Room for about a thousand entries a call: a directory of a million names costs a thousand calls, not 30,000.
const GETDENTS_BYTES: usize = 64 * 1024;

/// So many entries are looked at together, in the order of their inodes, which keeps a disk's head moving one way.
const STAT_WINDOW: usize = 8192;

#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

/// Names of a directory: all text in one piece, as a million small allocations would cost more than the names.
#[derive(Debug)]
pub(crate) struct Listing {
    text: Vec<u8>,
    names: Vec<Name>,
    next: usize,
}

#[derive(Debug)]
struct Name {
    inode: u64,
    start: u32,
    bytes: u32,
}

impl Name {
    fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.bytes) as usize
    }
}

impl Listing {
    fn push(&mut self, inode: u64, name: &[u8]) -> io::Result<()> {
        let too_many = || io::Error::new(io::ErrorKind::FileTooLarge, "more than 4 GiB of names in one directory");
        let end = u32::try_from(self.text.len() + name.len()).map_err(|_| too_many())?;
        let bytes = name.len() as u32;
        self.names.push(Name { inode, start: end - bytes, bytes });
        self.text.extend_from_slice(name);
        Ok(())
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|known| self.text[known.range()].cmp(name)).is_ok()
    }
}

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
        let mut listing = Listing { text: Vec::new(), names: Vec::new(), next: 0 };
        while let Some(entry) = batch.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                listing.push(entry.ino(), name)?;
            }
        }
        let Listing { text, names, .. } = &mut listing;
        names.sort_unstable_by(|a, b| text[a.range()].cmp(&text[b.range()]));
        Ok(listing)
    }

    pub(crate) fn next_entries(&self, listing: &mut Listing) -> Option<Vec<DirEntry>> {
        let window = listing.names.get(listing.next..).filter(|rest| !rest.is_empty())?;
        let window = &window[..window.len().min(STAT_WINDOW)];
        let mut by_inode: Vec<(u64, usize)> = window.iter().map(|name| name.inode).zip(0..).collect();
        by_inode.sort_unstable();
        let mut entries: Vec<Option<DirEntry>> = Vec::new();
        entries.resize_with(window.len(), || None);
        for (_, at) in by_inode {
            let name = listing.text[window[at].range()].to_vec();
            entries[at] = match statx(&self.0, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => None,
                result => Some(DirEntry { name, meta: result.map_err(io::Error::from) }),
            };
        }
        listing.next += entries.len();
        Some(entries.into_iter().flatten().collect())
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

pub(super) fn next_data(file: &File, from: u64, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) if start < bytes => start,
        // Nothing but a hole up to the end, or the file became shorter.
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((from, bytes))),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok(Some((start, end.min(bytes)))),
        Ok(_) | Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
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

fn kind(file_type: FileType) -> Result<FileKind, Errno> {
    Ok(match file_type {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => return Err(Errno::INVAL),
    })
}

fn timestamp(time: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}
