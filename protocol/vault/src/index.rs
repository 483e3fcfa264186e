//! Which pack holds a chunk. Built from index segments; a cache of what the packs' own footers say.
//!
//! **Invariant**: an id found here was read from a segment whose signature was checked, so its pack was durable before.

use crate::id::{BlobId, PackId};
use crate::pack::{Area, BlockType};
use crate::record::segment::SegmentPack;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The pack, by its number in the index.
    pub pack: u32,
    /// The block within the pack.
    pub block: u32,
    /// The member within the block.
    pub member: u32,
}

/// A pack that the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedPack {
    /// With data or with metadata.
    pub area: Area,
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Takes the first eight bytes of a key as its hash: ids are uniform already.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (n, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * n);
        }
    }
}

type Key = [u8; 16];
type IdMap<V> = HashMap<Key, V, BuildHasherDefault<IdHasher>>;

/// Chunks and metadata blobs by the first half of their ids.
///
/// Half an id is 128 bits: among 10^10 chunks two share it with a chance below 10^-18, and the full id is compared
/// when content is read.
#[derive(Default)]
pub struct Index {
    packs: Vec<IndexedPack>,
    data: IdMap<Location>,
    meta: IdMap<Location>,
}

fn key(id: &BlobId) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&id.0[..16]);
    key
}

impl Index {
    /// An index that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a pack; answers its number. A blob that is known already keeps its place.
    pub fn add_pack(&mut self, pack: &SegmentPack) -> u32 {
        let number = self.packs.len() as u32;
        self.packs.push(IndexedPack { area: pack.area, id: pack.id, bytes: pack.bytes });
        for (block, info) in pack.footer.blocks.iter().enumerate() {
            let map = match (pack.area, info.block_type) {
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
                let location = Location { pack: number, block: block as u32, member: member as u32 };
                map.entry(key(&content.id)).or_insert(location);
            }
        }
        number
    }

    /// Where a chunk lies.
    pub fn chunk(&self, id: &BlobId) -> Option<Location> {
        self.data.get(&key(id)).copied()
    }

    /// Where a catalogue or references blob lies.
    pub fn meta(&self, id: &BlobId) -> Option<Location> {
        self.meta.get(&key(id)).copied()
    }

    /// The pack with this number.
    pub fn pack(&self, number: u32) -> IndexedPack {
        self.packs[number as usize]
    }

    /// Every pack.
    pub fn packs(&self) -> &[IndexedPack] {
        &self.packs
    }

    /// How many chunks are known.
    pub fn chunks(&self) -> usize {
        self.data.len()
    }
}
