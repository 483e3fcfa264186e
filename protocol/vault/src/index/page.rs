//! Files of pages, each with its checksum, read by position and kept in a small cache.
//!
//! **Invariant**: a page is used only when its checksum, which covers the cache's id, the file's number and the page's
//! own, matches: torn, flipped and misplaced pages are all told from good ones.

use super::IndexError;
use super::home::Stamp;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a page. A look-up of what is there reads and checks one page, which a fence key names: eight bytes of memory
/// for each page, so that pages can be small.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes of a page before its checksum.
pub(crate) const PAGE_ROOM: usize = PAGE_BYTES - 4;

/// A page of a file.
pub(crate) type Page = [u8; PAGE_BYTES];

fn checksum(stamp: &Stamp, number: u32, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&stamp.bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &number.to_le_bytes()), content)
}

/// Puts the checksum at the end of a page.
pub(crate) fn seal(page: &mut Page, stamp: &Stamp, number: u32) {
    let crc = checksum(stamp, number, &page[..PAGE_ROOM]);
    page[PAGE_ROOM..].copy_from_slice(&crc.to_le_bytes());
}

/// Whether a page is the one that was sealed.
pub(crate) fn is_sound(page: &[u8], stamp: &Stamp, number: u32) -> bool {
    page.len() == PAGE_BYTES && checksum(stamp, number, &page[..PAGE_ROOM]).to_le_bytes() == page[PAGE_ROOM..]
}

/// A file of pages that is read by position.
#[derive(Debug)]
pub(crate) struct PagedFile {
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

impl PagedFile {
    pub(crate) fn new(file: File, path: PathBuf, stamp: Stamp) -> Self {
        Self { file, path, stamp }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Reads whole pages from page `number` on and checks each.
    pub(crate) fn read(&self, number: u32, pages: &mut [u8]) -> Result<(), IndexError> {
        let read = read_exact_at(&self.file, pages, u64::from(number) * PAGE_BYTES as u64);
        read.map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                return self.damaged("it is too short");
            }
            IndexError::Io { operation: "read", path: self.path.clone(), source }
        })?;
        let sound = |(n, page): (usize, &[u8])| is_sound(page, &self.stamp, number + n as u32);
        if pages.chunks(PAGE_BYTES).enumerate().all(sound) {
            Ok(())
        } else {
            Err(self.damaged("the checksum of a page differs"))
        }
    }

    pub(crate) fn damaged(&self, what: &'static str) -> IndexError {
        IndexError::Damaged { path: self.path.clone(), what }
    }
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}

/// The pages read last, by a clock: a page that was used since the hand passed stays for another round.
#[derive(Debug)]
pub(crate) struct PageCache {
    inner: Mutex<Clock>,
    pages_max: usize,
}

#[derive(Debug, Default)]
struct Clock {
    slots: Vec<Slot>,
    by_page: HashMap<(Stamp, u32), usize>,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    of: (Stamp, u32),
    page: Arc<Page>,
    used: bool,
}

impl PageCache {
    /// A cache of at most `bytes` bytes of pages.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { inner: Mutex::default(), pages_max: (bytes / PAGE_BYTES).max(1) }
    }

    /// A page of a file, from memory or from disk.
    pub(crate) fn read(&self, file: &PagedFile, number: u32) -> Result<Arc<Page>, IndexError> {
        let of = (file.stamp, number);
        if let Some(page) = self.remembered(&of) {
            return Ok(page);
        }
        let mut page: Page = [0; PAGE_BYTES];
        file.read(number, &mut page)?;
        let page = Arc::new(page);
        self.remember(of, page.clone());
        Ok(page)
    }

    fn remembered(&self, of: &(Stamp, u32)) -> Option<Arc<Page>> {
        let mut clock = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let at = *clock.by_page.get(of)?;
        let slot = clock.slots.get_mut(at)?;
        slot.used = true;
        Some(slot.page.clone())
    }

    fn remember(&self, of: (Stamp, u32), page: Arc<Page>) {
        let mut clock = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if clock.by_page.contains_key(&of) {
            return;
        }
        let slot = Slot { of, page, used: false };
        let at = if clock.slots.len() < self.pages_max {
            clock.slots.push(slot);
            clock.slots.len() - 1
        } else {
            let at = clock.next_victim();
            let gone = std::mem::replace(&mut clock.slots[at], slot).of;
            clock.by_page.remove(&gone);
            at
        };
        clock.by_page.insert(of, at);
    }
}

impl Clock {
    /// Ends after at most two rounds: the first clears every mark.
    fn next_victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
    }
}
