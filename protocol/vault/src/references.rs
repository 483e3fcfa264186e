//! Which blocks of which data packs a recovery point needs, readable without a data key.
//!
//! **Invariant**: a leaf is complete for its hunk or content list, so garbage collection never walks catalogues.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{BlobId, PackId};
use std::collections::{BTreeMap, BTreeSet};

/// The blocks that one hunk or content list needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaf {
    packs: BTreeMap<PackId, Vec<u8>>,
}

impl Leaf {
    /// Adds block number `block` of `pack`.
    pub fn insert(&mut self, pack: PackId, block: u32) {
        let bitmap = self.packs.entry(pack).or_default();
        let byte = block as usize / 8;
        if bitmap.len() <= byte {
            bitmap.resize(byte + 1, 0);
        }
        bitmap[byte] |= 1 << (block % 8);
    }

    /// The packs and the numbers of their needed blocks.
    pub fn iter(&self) -> impl Iterator<Item = (PackId, u32)> {
        self.packs.iter().flat_map(|(pack, bitmap)| {
            (0..bitmap.len() as u32 * 8)
                .filter(|n| bitmap[*n as usize / 8] >> (n % 8) & 1 == 1)
                .map(move |n| (*pack, n))
        })
    }

    /// The packs and which of their blocks are needed, one bit each, from the lowest.
    pub fn bitmaps(&self) -> impl Iterator<Item = (PackId, &[u8])> {
        self.packs.iter().map(|(pack, bitmap)| (*pack, bitmap.as_slice()))
    }

    /// The packs that are needed at all.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.keys().copied()
    }

    /// The leaf at rest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(self.packs.len() as u64);
        for (pack, bitmap) in &self.packs {
            let bits = bitmap.last().map_or(0, |last| bitmap.len() * 8 - last.leading_zeros() as usize);
            out.raw(pack.as_bytes()).varint(bits as u64).raw(bitmap);
        }
        out.finish()
    }

    /// Reads a leaf.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "references leaf");
        let packs = reader.list(|reader| {
            let pack = PackId(reader.array()?);
            let bits = reader.varint_max(65_536)? as usize;
            Ok((pack, reader.take(bits.div_ceil(8))?.to_vec()))
        })?;
        reader.end()?;
        Ok(Self { packs: packs.into_iter().collect() })
    }
}

/// All leaves of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Root {
    /// The ids of the leaves.
    pub leaves: BTreeSet<BlobId>,
}

impl Root {
    /// The root at rest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.varint(self.leaves.len() as u64);
        for leaf in &self.leaves {
            out.raw(leaf.as_bytes());
        }
        out.finish()
    }

    /// Reads a root.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "references root");
        let leaves = reader.list(|reader| Ok(BlobId(reader.array()?)))?;
        reader.end()?;
        Ok(Self { leaves: leaves.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_leaf_comes_back(blocks in prop::collection::btree_set((0u8..4, 0u32..3000), 0..50)) {
            let mut leaf = Leaf::default();
            for (pack, block) in &blocks {
                leaf.insert(PackId([*pack; 32]), *block);
            }
            let back = Leaf::decode(&leaf.encode()).unwrap();
            let found: BTreeSet<(u8, u32)> = back.iter().map(|(pack, block)| (pack.0[0], block)).collect();
            prop_assert_eq!(found, blocks);
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Leaf::decode(&bytes);
            let _ = Root::decode(&bytes);
        }
    }
}
