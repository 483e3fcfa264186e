//! A run: entries sorted and written once, looked up page by page.
//!
//! File `<number>.run`: pages of [`super::page::PAGE_BYTES`], each with [`PAGE_ENTRIES`] entries of
//! [`super::entry::ENTRY_BYTES`] (key (16), then pack, block and member as u32, little-endian), zero bytes, and its
//! checksum. Beside it lies `<number>.filter` ([`super::filter`]).
//!
//! **Invariant**: no two entries of a run are equal, and a run never changes once it is written.

use super::IndexError;
use super::entry::{ENTRY_BYTES, Entry, Key, Location, head};
use super::filter::{Filter, FilterWriter};
use super::home::{Home, Output, Stamp};
use super::page::{self, PAGE_BYTES, PAGE_ROOM, Page, PageCache, PagedFile};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;

/// Entries of a page.
pub(crate) const PAGE_ENTRIES: usize = PAGE_ROOM / ENTRY_BYTES;
/// Pages that a scan reads at once.
const SCAN_PAGES: usize = 8;

/// What of a run the manifest keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunInfo {
    /// The number of its files.
    pub(crate) file: u32,
    /// How many entries it holds; not zero.
    pub(crate) entries: u64,
}

/// A run that can be asked.
#[derive(Debug)]
pub(crate) struct Run {
    file: PagedFile,
    entries: u64,
    /// None while a long build goes on; then a look-up bisects the pages.
    filter: Option<Filter>,
    pub(crate) is_synced: bool,
}

impl Run {
    /// Opens a run that a manifest names.
    pub(crate) fn open(home: &Home, info: RunInfo) -> Result<Self, IndexError> {
        let stamp = Stamp { cache: home.id, file: info.file };
        let path = home.path(info.file, "run");
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) =
            opened.map_err(|source| IndexError::Io { operation: "open", path: path.clone(), source })?;
        let file = PagedFile::new(file, path, stamp);
        let pages = info.entries.div_ceil(PAGE_ENTRIES as u64);
        let Some(pages) = u32::try_from(pages).ok().filter(|n| u64::from(*n) * PAGE_BYTES as u64 <= bytes) else {
            return Err(file.damaged("it is too short"));
        };
        let filter = Filter::read(&home.path(info.file, "filter"), &stamp, pages)?;
        Ok(Self { file, entries: info.entries, filter: Some(filter), is_synced: true })
    }

    pub(crate) fn info(&self) -> RunInfo {
        RunInfo { file: self.file.stamp().file, entries: self.entries }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn stamp(&self) -> &Stamp {
        self.file.stamp()
    }

    fn pages(&self) -> u32 {
        self.entries.div_ceil(PAGE_ENTRIES as u64) as u32
    }

    fn entries_on(&self, page: u32) -> usize {
        (self.entries - u64::from(page) * PAGE_ENTRIES as u64).min(PAGE_ENTRIES as u64) as usize
    }

    /// Shows `visit` every place of a key until it says true; answers whether it did.
    pub(crate) fn visit(
        &self,
        pages: &PageCache,
        key: &Key,
        visit: &mut dyn FnMut(Location) -> bool,
    ) -> Result<bool, IndexError> {
        let head = head(key);
        let first = match &self.filter {
            Some(filter) if !filter.may_hold(head) => return Ok(false),
            Some(filter) => filter.first_page(head),
            None => self.bisect(pages, key)?,
        };
        for number in first..self.pages() {
            if self.filter.as_ref().and_then(|filter| filter.fence(number)).is_some_and(|fence| fence > head) {
                break;
            }
            let page = pages.read(&self.file, number)?;
            let count = self.entries_on(number);
            let start = lower_bound(&page, count, key);
            for at in start..count {
                let entry = entry_of(&*page, at);
                if entry.key != *key {
                    return Ok(false);
                }
                if visit(entry.place) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The last page whose first key is below `key`.
    fn bisect(&self, pages: &PageCache, key: &Key) -> Result<u32, IndexError> {
        let (mut from, mut to) = (0, self.pages());
        while from < to {
            let middle = from + (to - from) / 2;
            if entry_of(&*pages.read(&self.file, middle)?, 0).key < *key {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from.saturating_sub(1))
    }

    /// Its entries in order, past the page cache.
    pub(crate) fn scan(&self) -> Scan<'_> {
        Scan { run: self, buffer: Vec::new(), next: 0, at: 0 }
    }

    /// Writes the filter of a run that was built without.
    pub(crate) fn add_filter(&mut self, home: &Home) -> Result<(), IndexError> {
        if self.filter.is_some() {
            return Ok(());
        }
        let mut writer = FilterWriter::create(home, *self.stamp())?;
        let mut fences = Vec::with_capacity(self.pages() as usize);
        let mut scan = self.scan();
        while let Some(entry) = scan.next_entry()? {
            if (scan.next - 1).is_multiple_of(PAGE_ENTRIES as u64) {
                fences.push(head(&entry.key));
            }
            writer.push(head(&entry.key))?;
        }
        writer.finish(&fences)?;
        self.filter = Some(Filter::read(&home.path(self.stamp().file, "filter"), self.stamp(), self.pages())?);
        Ok(())
    }

    /// Makes both files durable.
    pub(crate) fn sync(&mut self, home: &Home) -> Result<(), IndexError> {
        if !self.is_synced {
            home.sync(self.file.file(), self.file.path())?;
            let path = home.path(self.stamp().file, "filter");
            let filter = File::options().write(true).open(&path);
            let filter = filter.map_err(|source| IndexError::Io { operation: "open", path: path.clone(), source })?;
            home.sync(&filter, &path)?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Removes the files of a run that was merged, unless the published manifest names it.
    pub(crate) fn discard(self, home: &Home) {
        if self.stamp().cache == home.id {
            for extension in ["run", "filter"] {
                home.discard(self.stamp(), &home.path(self.stamp().file, extension));
            }
        }
    }
}

fn entry_of(page: &[u8], at: usize) -> Entry {
    Entry::read(&page[at * ENTRY_BYTES..(at + 1) * ENTRY_BYTES])
}

/// The first of `count` entries whose key is not below `key`.
fn lower_bound(page: &Page, count: usize, key: &Key) -> usize {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from + (to - from) / 2;
        if page[middle * ENTRY_BYTES..middle * ENTRY_BYTES + 16] < key[..] {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from
}

/// Reads a run from its beginning to its end.
pub(crate) struct Scan<'a> {
    run: &'a Run,
    buffer: Vec<u8>,
    /// The entry that comes next, counted over the run.
    next: u64,
    /// The next entry's place in the buffer.
    at: usize,
}

impl Scan<'_> {
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, IndexError> {
        if self.next == self.run.entries {
            return Ok(None);
        }
        if self.next.is_multiple_of((SCAN_PAGES * PAGE_ENTRIES) as u64) {
            let page = (self.next / PAGE_ENTRIES as u64) as u32;
            let count = (self.run.pages() - page).min(SCAN_PAGES as u32);
            self.buffer.resize(count as usize * PAGE_BYTES, 0);
            self.run.file.read(page, &mut self.buffer)?;
            self.at = 0;
        }
        let (page, entry) = (self.at / PAGE_ENTRIES, self.at % PAGE_ENTRIES);
        self.next += 1;
        self.at += 1;
        Ok(Some(entry_of(&self.buffer[page * PAGE_BYTES..(page + 1) * PAGE_BYTES], entry)))
    }
}

/// Whether a run gets its filter at once, or at the end of a long build in which nothing is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filters {
    Now,
    Later,
}

/// Writes a run from entries in order.
pub(crate) struct RunWriter {
    out: Output,
    filter: Option<FilterWriter>,
    stamp: Stamp,
    page: Page,
    used: usize,
    pages: u32,
    entries: u64,
    fences: Vec<u64>,
    last: Option<Entry>,
}

impl RunWriter {
    pub(crate) fn create(home: &mut Home, filters: Filters) -> Result<Self, IndexError> {
        let stamp = home.take_number();
        let filter = match filters {
            Filters::Now => Some(FilterWriter::create(home, stamp)?),
            Filters::Later => None,
        };
        let out = home.create(&home.path(stamp.file, "run"))?;
        let (page, fences) = ([0; PAGE_BYTES], Vec::new());
        Ok(Self { out, filter, stamp, page, used: 0, pages: 0, entries: 0, fences, last: None })
    }

    /// Takes the next entry; equal ones are kept once.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<(), IndexError> {
        if self.last.replace(*entry) == Some(*entry) {
            return Ok(());
        }
        if self.used == PAGE_ENTRIES {
            self.end_page()?;
        }
        if let Some(filter) = &mut self.filter {
            if self.used == 0 {
                self.fences.push(head(&entry.key));
            }
            filter.push(head(&entry.key))?;
        }
        entry.write(&mut self.page[self.used * ENTRY_BYTES..(self.used + 1) * ENTRY_BYTES]);
        self.used += 1;
        self.entries += 1;
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), IndexError> {
        page::seal(&mut self.page, &self.stamp, self.pages);
        self.out.write(&self.page)?;
        (self.page, self.used) = ([0; PAGE_BYTES], 0);
        self.pages += 1;
        Ok(())
    }

    /// Ends the run. It must hold at least one entry.
    pub(crate) fn finish(mut self, home: &Home) -> Result<Run, IndexError> {
        self.end_page()?;
        let path = self.out.path().to_path_buf();
        let file = PagedFile::new(self.out.finish()?, path, self.stamp);
        let filter = match self.filter {
            Some(filter) => {
                filter.finish(&self.fences)?;
                Some(Filter::read(&home.path(self.stamp.file, "filter"), &self.stamp, self.pages)?)
            }
            None => None,
        };
        Ok(Run { file, entries: self.entries, filter, is_synced: false })
    }
}

/// Merges runs into one.
pub(crate) fn merge(home: &mut Home, runs: &[Run], filters: Filters) -> Result<Run, IndexError> {
    let mut writer = RunWriter::create(home, filters)?;
    let mut scans: Vec<Scan<'_>> = runs.iter().map(Run::scan).collect();
    let mut next = BinaryHeap::with_capacity(scans.len());
    for (n, scan) in scans.iter_mut().enumerate() {
        next.extend(scan.next_entry()?.map(|entry| Reverse((entry, n))));
    }
    while let Some(Reverse((entry, n))) = next.pop() {
        writer.push(&entry)?;
        next.extend(scans[n].next_entry()?.map(|entry| Reverse((entry, n))));
    }
    writer.finish(home)
}
