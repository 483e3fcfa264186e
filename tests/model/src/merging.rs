//! Segments that a collector merges, and which packs count as listed then.
//!
//! A pack's own segment comes after the pack, and may never come, or when the pack was given up long ago. Merging takes every
//! segment of sessions that are over at once.

use crate::rules::Rules;
use crate::state::{Packs, Sessions, State};

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
        self.segments & !generation.replaced | generation.merged | self.written
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
    /// segment that lists it, and stays dead when none did so far.
    pub(crate) fn dead_after(&self, rules: &Rules, generation: u8, replaced: Packs) -> Packs {
        let before = &self.generations[usize::from(generation)];
        let never_listed = if rules.minds_late_segments { 0 } else { !self.segments };
        (before.dead | before.decision.unwrap_or(0)) & !((replaced | never_listed) & !self.stored)
    }

    /// Packs that no segment lists, as a survey notes them, with the sessions that may still list them. Noted ones stay until
    /// those sessions are over.
    pub(crate) fn unlisted_now(&self) -> (Packs, Sessions) {
        if self.theirs & self.at_work() != 0 {
            return (self.unlisted, self.theirs);
        }
        let unlisted = self.stored & !self.listed(self.newest);
        (unlisted, if unlisted == 0 { 0 } else { self.at_work() })
    }

    /// Packs that no segment lists and that nobody will list any more.
    pub(crate) fn abandoned(&self, rules: &Rules) -> Packs {
        let gone = self.dead(rules, self.newest) | self.generations[usize::from(self.newest)].decision.unwrap_or(0);
        match self.theirs & self.at_work() {
            spared if spared != 0 && rules.waits_for_segments => 0,
            _ => self.unlisted & self.stored & !self.listed(self.newest) & !gone,
        }
    }
}
