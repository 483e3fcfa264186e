//! Where blocks went that a collection moved out of packs of which little was needed.
//!
//! **Invariant**: following forwards ends: every one leads to a pack that was made after the one it leads from.

use super::generation::Generation;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::PackId;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Blocks of a pack that were copied into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The pack they were in.
    pub old: PackId,
    /// The pack they are in.
    pub new: PackId,
    /// The place of the first one in the new pack; the others follow in their order.
    pub first: u32,
    /// Which blocks of the old pack moved, as in a references leaf.
    pub moved: Vec<u8>,
}

impl Forward {
    /// Where a block of the old pack is now; none when it did not move.
    pub fn block(&self, old: u32) -> Option<u32> {
        if !bit(&self.moved, old) {
            return None;
        }
        let before = (0..old).filter(|n| bit(&self.moved, *n)).count() as u32;
        self.first.checked_add(before)
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.raw(self.old.as_bytes()).raw(self.new.as_bytes()).varint(self.first.into());
        w.varint(self.moved.len() as u64 * 8).raw(&self.moved);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (old, new) = (PackId(r.array()?), PackId(r.array()?));
        let first = r.varint_max(65_536)? as u32;
        let bits = r.varint_max(65_536)? as usize;
        Ok(Self { old, new, first, moved: r.take(bits.div_ceil(8))?.to_vec() })
    }
}

/// Whether bit `n`, from the lowest, is set.
fn bit(bitmap: &[u8], n: u32) -> bool {
    bitmap.get(n as usize / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1)
}

/// The forwards of a generation, to be followed from where a recovery point says that a block is.
#[derive(Debug, Clone, Default)]
pub struct Forwards {
    by_old: HashMap<PackId, Vec<Forward>>,
}

impl Forwards {
    /// Those of a generation.
    pub fn of(generation: &Generation) -> Self {
        Self::new(&generation.forwards)
    }

    pub(crate) fn new(forwards: &[Forward]) -> Self {
        let mut by_old: HashMap<PackId, Vec<Forward>> = HashMap::new();
        for forward in forwards {
            by_old.entry(forward.old).or_default().push(forward.clone());
        }
        Self { by_old }
    }

    /// Whether any block of a pack moved.
    pub(crate) fn leave(&self, pack: PackId) -> bool {
        self.by_old.contains_key(&pack)
    }

    /// Where a block is now: where it was, when it never moved.
    pub fn follow(&self, mut pack: PackId, mut block: u32) -> (PackId, u32) {
        // A generation that leads in a circle can only be forged; its end is as good as any other.
        for _ in 0..=self.by_old.len() {
            let forwards = self.by_old.get(&pack).map_or(&[][..], Vec::as_slice);
            let Some(next) = forwards.iter().find_map(|f| Some((f.new, f.block(block)?))) else { break };
            (pack, block) = next;
        }
        (pack, block)
    }

    /// Every pack that is met on the way from `packs`, themselves included.
    pub(crate) fn met_from(&self, packs: impl IntoIterator<Item = PackId>) -> HashSet<PackId> {
        let (mut met, mut left) = (HashSet::new(), packs.into_iter().collect::<BTreeSet<_>>());
        while let Some(pack) = left.pop_first() {
            if met.insert(pack) {
                left.extend(self.by_old.get(&pack).into_iter().flatten().map(|forward| forward.new));
            }
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(old: u8, new: u8, first: u32, moved: u8) -> Forward {
        Forward { old: PackId([old; 32]), new: PackId([new; 32]), first, moved: vec![moved] }
    }

    #[test]
    fn a_block_is_followed_through_every_move_and_stays_where_it_did_not_move() {
        let forwards = Forwards::new(&[forward(1, 2, 4, 0b101), forward(2, 3, 0, 0b10_0000), forward(1, 4, 9, 0b10)]);
        let follow = |block| {
            let (pack, block) = forwards.follow(PackId([1; 32]), block);
            (pack.0[0], block)
        };
        assert_eq!([0, 1, 2, 3].map(follow), [(2, 4), (4, 9), (3, 0), (1, 3)]);
        assert_eq!(forwards.follow(PackId([7; 32]), 5), (PackId([7; 32]), 5));
        let met = forwards.met_from([PackId([1; 32]), PackId([7; 32])]);
        assert_eq!(met, [1, 2, 3, 4, 7].map(|n| PackId([n; 32])).into());
    }

    #[test]
    fn a_circle_ends() {
        let forwards = Forwards::new(&[forward(1, 2, 0, 1), forward(2, 1, 0, 1)]);
        forwards.follow(PackId([1; 32]), 0);
        assert_eq!(forwards.met_from([PackId([1; 32])]).len(), 2);
    }
}
