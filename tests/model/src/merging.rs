//! Segments that a collector merges, and which packs count as listed then.
//!
//! A pack's own segment lists it from its upload on. Merging takes every segment of sessions that are over at once.

use crate::rules::Rules;
use crate::state::{Packs, State};

/// What a collector is about to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Merging {
    /// Nothing.
    #[default]
    Nothing,
    /// These packs are listed by segments of sessions that are over.
    Chosen(Packs),
    /// The merged segment that lists what is left of them is durable.
    Written {
        /// What its parts listed.
        replaced: Packs,
        /// What it lists.
        merged: Packs,
    },
}

impl Merging {
    /// The same with other numbers of packs.
    pub(crate) fn with(self, packs: impl Fn(Packs) -> Packs) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Chosen(set) => Self::Chosen(packs(set)),
            Self::Written { replaced, merged } => Self::Written { replaced: packs(replaced), merged: packs(merged) },
        }
    }
}

impl State {
    /// Packs that a segment lists for who reads by a generation.
    pub(crate) fn listed(&self, generation: u8) -> Packs {
        let generation = &self.generations[usize::from(generation)];
        (self.stored | self.deleted) & !generation.replaced | generation.merged | self.written
    }

    /// What the decisions before a generation took, as far as it tells.
    pub(crate) fn dead(&self, rules: &Rules, generation: u8) -> Packs {
        if rules.one_decision {
            return self.generations[usize::from(generation)].dead;
        }
        let before = &self.generations[..usize::from(generation)];
        before.iter().fold(0, |all, generation| all | generation.decision.unwrap_or(0))
    }

    /// What nobody finds any more by a generation: dead, or in no segment.
    pub(crate) fn lost(&self, rules: &Rules, generation: u8) -> Packs {
        self.dead(rules, generation) | (self.stored | self.deleted) & !self.listed(generation)
    }

    /// The dead of the generation behind this one, which takes these segments away: a dead pack is forgotten with the last
    /// segment that lists it.
    pub(crate) fn dead_after(&self, generation: u8, replaced: Packs) -> Packs {
        let before = &self.generations[usize::from(generation)];
        (before.dead | before.decision.unwrap_or(0)) & !(replaced & !self.stored)
    }
}
