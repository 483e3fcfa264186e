//! Packs whose content a collector copied, so that they can go, and where a point's content is found then.

use crate::state::{GENERATIONS_MAX, Packs, State};

/// The bit of the first copy.
pub(crate) const COPY: u8 = 9;
/// Copies a state has room for.
pub(crate) const COPIES_MAX: usize = 2;

/// A pack that gave way to a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Move {
    /// The pack.
    pub old: Packs,
    /// The copy; none while it is not made.
    pub copy: Packs,
}

impl State {
    /// Packs as the forwards of a generation lead on from them.
    pub(crate) fn followed(&self, generation: u8, mut packs: Packs) -> Packs {
        let carried = self.generations[usize::from(generation)].forwards;
        // A copy is younger than what it was made of, so one pass in the order of generations is enough.
        for number in (1..=GENERATIONS_MAX).filter(|number| carried & 1 << number != 0) {
            if let Some(Move { old, copy }) = self.generations[number].moved
                && packs & old != 0
            {
                packs = packs & !old | copy;
            }
        }
        packs
    }

    /// The forwards of a generation that lead on from a pack that is named.
    pub(crate) fn forwards_from(&self, generation: u8, named: Packs) -> u8 {
        let carried = self.generations[usize::from(generation)].forwards;
        let (mut met, mut kept) = (named, 0);
        for number in (1..=GENERATIONS_MAX).filter(|number| carried & 1 << number != 0) {
            if let Some(Move { old, copy }) = self.generations[number].moved
                && met & old != 0
            {
                (met, kept) = (met | copy, kept | 1 << number);
            }
        }
        kept
    }

    /// Packs of a point that are neither where it says nor where the newest forwards lead, or that no segment tells of.
    pub(crate) fn missing(&self, packs: Packs) -> bool {
        let found = self.stored & self.listed(self.newest);
        let mut each = (0..Packs::BITS).map(|bit| 1 << bit).filter(|bit: &Packs| packs & bit != 0);
        each.any(|pack| (pack | self.followed(self.newest, pack)) & found == 0)
    }

    /// Makes a copy of a pack; its bit, or 0 when there is no room for it.
    pub(crate) fn copy(&mut self, old: Packs) -> Packs {
        let content = self.contents(old);
        let Some(free) = self.copies.iter_mut().position(|copy| *copy == 0) else { return 0 };
        self.copies[free] = content;
        let copy = 1 << (COPY + free as u8);
        self.stored |= copy;
        copy
    }

    /// Whether another copy can be made.
    pub(crate) fn has_room_for_a_copy(&self) -> bool {
        self.copies.contains(&0)
    }

    /// The packs that these were first, copies taken for what they are copies of.
    pub(crate) fn contents(&self, packs: Packs) -> Packs {
        let first = packs & ((1 << COPY) - 1);
        let copied =
            (0..COPIES_MAX).filter(|copy| packs & 1 << (COPY + *copy as u8) != 0).map(|copy| self.copies[copy]);
        copied.fold(first, |all, content| all | content)
    }

    /// Copies of what `wanted` holds.
    pub(crate) fn copies_of(&self, wanted: Packs) -> Packs {
        let of_wanted = (0..COPIES_MAX).filter(|copy| self.copies[*copy] & wanted != 0);
        of_wanted.fold(0, |all, copy| all | 1 << (COPY + copy as u8))
    }
}
