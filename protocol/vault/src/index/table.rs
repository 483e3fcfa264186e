//! The newest entries, in memory.
//!
//! **Invariant**: bounded by whoever inserts; the hash is seeded, so ids that somebody chose cannot make it slow.

use super::entry::{Entry, Key, Location};
use crate::crypto::random;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};

/// Entries that were not written to a run yet.
#[derive(Debug, Default)]
pub(crate) struct Table {
    first: HashMap<Key, Location, Seeded>,
    /// Further places of the same blobs; rare.
    more: BTreeSet<Entry>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        let first = *self.first.entry(entry.key).or_insert(entry.place);
        if first != entry.place {
            self.more.insert(entry);
        }
    }

    /// Shows `visit` every place of a key until it says true; answers whether it did.
    pub(crate) fn visit(&self, key: &Key, visit: &mut dyn FnMut(Location) -> bool) -> bool {
        let Some(first) = self.first.get(key) else { return false };
        if visit(*first) {
            return true;
        }
        let from = Entry { key: *key, place: Location { pack: 0, block: 0, member: 0 } };
        self.more.range(from..).take_while(|entry| entry.key == *key).any(|entry| visit(entry.place))
    }

    /// Every entry, in order.
    pub(crate) fn sorted(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.len());
        entries.extend(self.first.iter().map(|(key, place)| Entry { key: *key, place: *place }));
        entries.extend(&self.more);
        entries.sort_unstable();
        entries
    }
}

/// Makes hashers of keys, with a seed of their own.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(u64, u64);

impl Default for Seeded {
    fn default() -> Self {
        let seed = |bytes| u64::from_le_bytes(bytes) | 1;
        Self(seed(random()), seed(random()))
    }
}

impl BuildHasher for Seeded {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { seed: self.clone(), hash: 0 }
    }
}

/// Folds both halves of a key by a multiplication with the seed.
pub(crate) struct KeyHasher {
    seed: Seeded,
    hash: u64,
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let product = u128::from(u64::from_le_bytes(word) ^ self.seed.0) * u128::from(self.hash ^ self.seed.1);
            self.hash = product as u64 ^ (product >> 64) as u64;
        }
    }

    // The length in front of a fixed array tells nothing.
    fn write_usize(&mut self, _: usize) {}
}
