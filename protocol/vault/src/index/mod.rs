//! Which pack holds a chunk. Built from index segments; a cache of what the packs' own footers say.
//!
//! The index is a small log-structured merge tree of our own: a bounded [`table`] in memory, sorted [`run`]s on disk with
//! a [`filter`] each in memory, merged in tiers ([`levels`]). Data and metadata are apart, and a third tree finds packs by
//! id. Runs are read by position, never mapped, one page for each id that is there; an id that is not there is answered
//! by the filters alone, but for one in 256.
//!
//! Where the caller names a folder it is a **cache** ([`builder`]): `STATE_DIR/cache/<vault id>/index-<reader>/` holds
//! `manifest` ([`manifest`]), `lock`, and numbered files: `.run`, `.filter`, `.packs`. It names the vault, the reader, and
//! every segment taken in with its hash, why it counted, and its packs. A segment that was replaced is let go, with the
//! packs that no other one lists; whatever else does not match, or is damaged, drops the whole cache, which is then built
//! anew from the segments. A second process at the same time works in a private folder; so does one without a folder, once
//! its table is full, and with no room on any disk the table grows up to a bound.
//!
//! **Invariant**: an id found here was read from a segment whose signature was checked, so its pack was durable before.

mod builder;
mod entry;
mod filter;
mod ground;
mod home;
mod levels;
mod manifest;
mod numbers;
mod packs;
mod page;
mod run;
mod session;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use builder::{IndexBuilder, TakenSegment};
pub use entry::Location;
pub(crate) use manifest::TakenAs;
pub use packs::IndexedPack;
pub use session::SessionChunks;

use crate::id::{BlobId, PackId};
use crate::pack::{Area, BlockType};
use crate::record::segment::SegmentPack;
use entry::{Entry, Key, first_half, key};
use ground::Ground;
use levels::Levels;
use packs::PackTable;
use page::PageCache;
use run::Filters;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Data entries in memory at most: the most that a hash table of two MiB holds.
const DATA_TABLE_MAX: usize = 57_344;
/// Metadata entries, and packs by id, in memory at most.
const SMALL_TABLE_MAX: usize = 14_336;
/// Pages of runs kept in memory.
const PAGES_BYTES: usize = 8 << 20;

/// Why the index cannot answer. The vault is not affected.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file of the index is not what was written.
    #[error("{path} is damaged ({what}); it is a cache and is dropped: run again and it is built anew from the vault")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        what: &'static str,
    },
    /// The folder of the index failed.
    #[error("failed to {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No folder takes the index, and memory is at its bound.
    #[error("no room for an index of {entries} chunks; free space where --state-dir or the temporary folder lies")]
    NoRoom {
        /// How many were known by then.
        entries: u64,
    },
    /// A pack of another index was asked for.
    #[error("the index knows no pack number {number}")]
    NoPack {
        /// The number.
        number: u32,
    },
}

/// Chunks and metadata blobs by the first half of their ids, and the packs that hold them.
#[derive(Debug)]
pub struct Index {
    data: Levels,
    meta: Levels,
    by_id: Levels,
    packs: PackTable,
    /// One bit for each pack: set when writers must not see it.
    hidden: Vec<u64>,
    /// One bit for each pack: set when no segment lists it any more.
    buried: Vec<u64>,
    pages: PageCache,
    ground: Ground,
    filters: Filters,
    /// Damage was found.
    is_dropped: AtomicBool,
}

impl Default for Index {
    fn default() -> Self {
        Self::on(Ground::default())
    }
}

impl Index {
    /// An index that knows nothing and leaves nothing behind.
    pub fn new() -> Self {
        Self::default()
    }

    fn on(ground: Ground) -> Self {
        Self {
            data: Levels::new(DATA_TABLE_MAX),
            meta: Levels::new(SMALL_TABLE_MAX),
            by_id: Levels::new(SMALL_TABLE_MAX),
            packs: PackTable::default(),
            hidden: Vec::new(),
            buried: Vec::new(),
            pages: PageCache::new(PAGES_BYTES),
            ground,
            filters: Filters::Later,
            is_dropped: AtomicBool::new(false),
        }
    }

    /// Learns a pack; answers its number. A pack that is known keeps its number, and a blob may have several places.
    pub fn add_pack(&mut self, pack: &SegmentPack) -> Result<u32, IndexError> {
        let indexed = IndexedPack { area: pack.area, id: pack.id, bytes: pack.bytes };
        let number = match self.number_of(|known| *known == indexed, &pack.id)? {
            Some(number) => number,
            None => {
                let number = self.packs.push(indexed, &mut self.ground);
                let place = Location { pack: number, block: 0, member: 0 };
                let entry = Entry { key: first_half(&pack.id.0), place };
                self.by_id.insert(entry, &mut self.ground, Filters::Now)?;
                number
            }
        };
        for (block, info) in pack.footer.blocks.iter().enumerate() {
            let levels = match (pack.area, info.block_type) {
                (Area::Data, BlockType::Chunk | BlockType::Bundle) => &mut self.data,
                (
                    Area::Meta,
                    BlockType::Hunk
                    | BlockType::HunkList
                    | BlockType::ContentList
                    | BlockType::ReferencesLeaf
                    | BlockType::ReferencesRoot,
                ) => &mut self.meta,
                // A chunk in a metadata pack was never verified: a liar could offer it to others.
                (Area::Data | Area::Meta, _) => continue,
            };
            for (member, content) in info.members.iter().enumerate() {
                let place = Location { pack: number, block: block as u32, member: member as u32 };
                levels.insert(Entry { key: key(&content.id), place }, &mut self.ground, self.filters)?;
            }
        }
        Ok(number)
    }

    /// Ends a long build: merges what is to be merged, and gives every run its filter.
    pub fn settle(&mut self) -> Result<(), IndexError> {
        for levels in [&mut self.data, &mut self.meta, &mut self.by_id] {
            levels.settle(&mut self.ground, Filters::Now)?;
            levels.add_filters(&self.ground)?;
        }
        self.filters = Filters::Now;
        Ok(())
    }

    /// Hides packs from [`Index::chunk`], [`Index::meta`] and [`Index::holds`], in addition to those hidden before:
    /// writers must not reuse what a collector is about to delete, readers avoid what is quarantined.
    pub fn hide<'a>(&mut self, packs: impl IntoIterator<Item = &'a PackId>) -> Result<(), IndexError> {
        for id in packs {
            let mut numbers = Vec::new();
            let mut note = |place: Location| {
                numbers.push(place.pack);
                false
            };
            self.by_id.visit(&self.pages, &first_half(&id.0), &mut note)?;
            for number in numbers {
                if self.pack(number)?.id == *id {
                    set(&mut self.hidden, number);
                }
            }
        }
        Ok(())
    }

    /// A pack that no segment lists any more: it is shown to nobody.
    pub(crate) fn bury(&mut self, number: u32) {
        set(&mut self.buried, number);
    }

    /// Whether a segment still lists a pack.
    pub fn is_listed(&self, number: u32) -> bool {
        !is_set(&self.buried, number)
    }

    /// Whether a pack is hidden, or listed no more.
    pub fn is_hidden(&self, number: u32) -> bool {
        is_set(&self.hidden, number) || is_set(&self.buried, number)
    }

    /// Where a chunk lies: one of its places that are not hidden.
    pub fn chunk(&self, id: &BlobId) -> Result<Option<Location>, IndexError> {
        self.visible(&self.data, &key(id))
    }

    /// Where a catalogue or references blob lies.
    pub fn meta(&self, id: &BlobId) -> Result<Option<Location>, IndexError> {
        self.visible(&self.meta, &key(id))
    }

    /// Every place of a chunk, those not hidden first: where one cannot be read, another may.
    pub fn places(&self, id: &BlobId) -> Result<Vec<Location>, IndexError> {
        let mut places = Vec::new();
        let mut note = |place: Location| {
            places.extend(self.is_listed(place.pack).then_some(place));
            false
        };
        self.sound(self.data.visit(&self.pages, &key(id), &mut note))?;
        places.sort_unstable_by_key(|place| (self.is_hidden(place.pack), *place));
        places.dedup();
        Ok(places)
    }

    fn visible(&self, levels: &Levels, key: &Key) -> Result<Option<Location>, IndexError> {
        let mut found = None;
        let mut choose = |place: Location| {
            let is_visible = !self.is_hidden(place.pack);
            if is_visible {
                found = Some(place);
            }
            is_visible
        };
        self.sound(levels.visit(&self.pages, key, &mut choose))?;
        Ok(found)
    }

    /// Whether a pack is known and not hidden.
    pub fn holds(&self, area: Area, id: &PackId) -> Result<bool, IndexError> {
        Ok(self
            .number_of(|pack| (pack.area, pack.id) == (area, *id), id)?
            .is_some_and(|number| !self.is_hidden(number)))
    }

    fn number_of(&self, is_it: impl Fn(&IndexedPack) -> bool, id: &PackId) -> Result<Option<u32>, IndexError> {
        let mut candidates = Vec::new();
        let mut note = |place: Location| {
            candidates.push(place.pack);
            false
        };
        self.sound(self.by_id.visit(&self.pages, &first_half(&id.0), &mut note))?;
        for number in candidates {
            if is_it(&self.pack(number)?) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The pack with this number.
    pub fn pack(&self, number: u32) -> Result<IndexedPack, IndexError> {
        self.sound(self.packs.get(&self.pages, number))
    }

    /// Every pack in the order of the numbers, hidden ones too.
    pub fn packs(&self) -> impl Iterator<Item = Result<IndexedPack, IndexError>> + '_ {
        (0..self.pack_count()).map(|number| self.pack(number))
    }

    /// How many packs are known; their numbers are below this.
    pub fn pack_count(&self) -> u32 {
        self.packs.len()
    }

    /// How many places of chunks are known; one that several packs hold counts as often.
    pub fn chunks(&self) -> u64 {
        self.data.len()
    }

    /// A cache that turns out to be damaged is dropped, so that the next run builds it anew.
    fn sound<T>(&self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        result.inspect_err(|error| {
            if let IndexError::Damaged { .. } = error
                && !self.is_dropped.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%error, "The index cache is dropped");
                self.ground.forget_cache();
            }
        })
    }
}

fn set(bits: &mut Vec<u64>, number: u32) {
    let word = number as usize / 64;
    bits.resize(bits.len().max(word + 1), 0);
    bits[word] |= 1 << (number % 64);
}

fn is_set(bits: &[u64], number: u32) -> bool {
    bits.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}
