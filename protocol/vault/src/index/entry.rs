//! What a run holds: the first half of an id, and where the blob lies.
//!
//! **Invariant**: entries sort by key first, so that all copies of a blob are neighbours.

use crate::id::BlobId;

/// The first half of an id.
///
/// Half an id is 128 bits: among 10^10 chunks two share it with a chance below 10^-18, and the full id is compared
/// when content is read.
pub(crate) type Key = [u8; 16];

/// Bytes of an entry at rest.
pub(crate) const ENTRY_BYTES: usize = 28;

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

/// A blob and one place where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) place: Location,
}

pub(crate) fn key(id: &BlobId) -> Key {
    first_half(&id.0)
}

pub(crate) fn first_half(bytes: &[u8; 32]) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&bytes[..16]);
    key
}

/// The first eight bytes of a key as a number that sorts like the key: what filters and fences hold.
pub(crate) fn head(key: &Key) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&key[..8]);
    u64::from_be_bytes(head)
}

impl Entry {
    pub(crate) fn write(&self, out: &mut [u8]) {
        out[..16].copy_from_slice(&self.key);
        out[16..20].copy_from_slice(&self.place.pack.to_le_bytes());
        out[20..24].copy_from_slice(&self.place.block.to_le_bytes());
        out[24..28].copy_from_slice(&self.place.member.to_le_bytes());
    }

    /// Reads an entry from [`ENTRY_BYTES`] bytes.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&bytes[..16]);
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { key, place: Location { pack: number(16), block: number(20), member: number(24) } }
    }
}
