//! What Linux and macOS share: the names of a directory, holes, kinds.

use std::fs::File;
use std::io;

use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use super::{DirEntry, FileKind, FileMeta};

/// So many entries are looked at together, in the order of their inodes, which keeps a disk's head moving one way.
const STAT_WINDOW: usize = 8192;

/// Names of a directory: all text in one piece, as a million small allocations would cost more than the names.
#[derive(Debug, Default)]
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
    pub(super) fn push(&mut self, inode: u64, name: &[u8]) -> io::Result<()> {
        let too_many = || io::Error::new(io::ErrorKind::FileTooLarge, "more than 4 GiB of names in one directory");
        let end = u32::try_from(self.text.len() + name.len()).map_err(|_| too_many())?;
        let bytes = name.len() as u32;
        self.names.push(Name { inode, start: end - bytes, bytes });
        self.text.extend_from_slice(name);
        Ok(())
    }

    /// To be called when all names are there.
    pub(super) fn sort(&mut self) {
        let Self { text, names, .. } = self;
        names.sort_unstable_by(|a, b| text[a.range()].cmp(&text[b.range()]));
    }

    /// The next entries by name, each as `look` finds it; none of those it does not find.
    pub(super) fn next_entries(
        &mut self,
        look: impl Fn(&[u8]) -> Option<io::Result<FileMeta>>,
    ) -> Option<Vec<DirEntry>> {
        let window = self.names.get(self.next..).filter(|rest| !rest.is_empty())?;
        let window = &window[..window.len().min(STAT_WINDOW)];
        let mut by_inode: Vec<(u64, usize)> = window.iter().map(|name| name.inode).zip(0..).collect();
        by_inode.sort_unstable();
        let mut entries: Vec<Option<DirEntry>> = Vec::new();
        entries.resize_with(window.len(), || None);
        for (_, at) in by_inode {
            let name = &self.text[window[at].range()];
            entries[at] = look(name).map(|meta| DirEntry { name: name.to_vec(), meta });
        }
        self.next += entries.len();
        Some(entries.into_iter().flatten().collect())
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|known| self.text[known.range()].cmp(name)).is_ok()
    }
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

pub(super) fn kind(file_type: FileType) -> Result<FileKind, Errno> {
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
