//! Chunks that a running session sends: where each lies, in bounded memory however many there are.
//!
//! **Invariant**: nothing here outlives the session; the next one learns of its chunks from its index segments.

use super::entry::{Entry, key};
use super::ground::Ground;
use super::levels::Levels;
use super::packs::PackTable;
use super::page::PageCache;
use super::run::Filters;
use super::{IndexError, IndexedPack, Location};
use crate::id::{BlobId, PackId};
use crate::pack::Area;
use std::collections::BTreeMap;

/// Entries in memory at most.
const TABLE_MAX: usize = 57_344;
/// Pages of runs kept in memory.
const PAGES_BYTES: usize = 1 << 20;

/// The chunks and packs of a session.
#[derive(Debug)]
pub struct SessionChunks {
    places: Levels,
    packs: PackTable,
    /// Packs that were begun and are not in the table yet, because they, or one before them, have no name.
    begun: BTreeMap<u32, Option<PackId>>,
    next: u32,
    pages: PageCache,
    ground: Ground,
}

impl Default for SessionChunks {
    fn default() -> Self {
        Self {
            places: Levels::new(TABLE_MAX),
            packs: PackTable::default(),
            begun: BTreeMap::new(),
            next: 0,
            pages: PageCache::new(PAGES_BYTES),
            ground: Ground::default(),
        }
    }
}

impl SessionChunks {
    /// Of a session that has sent nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A number for the next pack.
    pub fn begin_pack(&mut self) -> u32 {
        self.begun.insert(self.next, None);
        self.next += 1;
        self.next - 1
    }

    /// A pack got its name.
    pub fn name_pack(&mut self, number: u32, id: PackId) {
        if let Some(name) = self.begun.get_mut(&number) {
            *name = Some(id);
        }
        while let Some((number, Some(id))) = self.begun.first_key_value().map(|(number, id)| (*number, *id)) {
            self.begun.remove(&number);
            self.packs.push(IndexedPack { area: Area::Data, id, bytes: 0 }, &mut self.ground);
        }
    }

    /// The name of a pack; none while it is on its way.
    pub fn pack(&self, number: u32) -> Result<Option<PackId>, IndexError> {
        match self.begun.get(&number) {
            Some(name) => Ok(*name),
            None => self.packs.get(&self.pages, number).map(|pack| Some(pack.id)),
        }
    }

    /// A chunk got its place.
    pub fn place(&mut self, id: &BlobId, place: Location) -> Result<(), IndexError> {
        self.places.insert(Entry { key: key(id), place }, &mut self.ground, Filters::Now)
    }

    /// Where a chunk lies, if this session placed it.
    pub fn chunk(&self, id: &BlobId) -> Result<Option<Location>, IndexError> {
        let mut found = None;
        let mut note = |place| {
            found = Some(place);
            true
        };
        self.places.visit(&self.pages, &key(id), &mut note)?;
        Ok(found)
    }
}
