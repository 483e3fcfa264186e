//! What lies in the store, and where every process stands.
//!
//! **Invariant**: small enough to copy, and ordered, so that equal situations have one canonical form.

use crate::merging::Merging;
use crate::moves::{COPIES_MAX, Move};
use crate::rules::{Rules, Scope};

/// A set of packs, one bit each: first the contested ones, from [`OWN`] on what each session uploaded, then copies.
pub type Packs = u16;
/// A set of sessions, one bit each.
pub(crate) type Sessions = u8;

/// The bit of the pack that session 0 uploads.
pub(crate) const OWN: u8 = 3;
/// Sessions a state has room for.
pub(crate) const SESSIONS_MAX: usize = 6;
/// Generations a state has room for, not counting generation 0.
pub(crate) const GENERATIONS_MAX: usize = 3;
const WRITERS_MAX: usize = 3;
const COLLECTORS_MAX: usize = 2;

/// The pack a session uploads.
pub(crate) fn own(session: u8) -> Packs {
    1 << (OWN + session)
}

/// A recovery point of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Point {
    /// Whether it was sent, arrived, or is trusted.
    pub state: PointState,
    /// Its number among the points of its machine, from 1.
    pub sequence: u8,
    /// The generation it was built on.
    pub base: u8,
    /// The packs it needs.
    pub packs: Packs,
}

/// How far a point came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PointState {
    /// Never sent.
    #[default]
    None,
    /// Arrived when another point of its machine had its sequence.
    Refused,
    /// Sent, and in doubt: it may arrive at any time, or never.
    Sent,
    /// In the store.
    Visible,
    /// In the store, and its writer found it whole.
    Trusted,
}

/// A generation with its fences and its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation {
    /// What may be deleted.
    pub tombstones: Packs,
    /// Every session its fences name.
    pub fenced: Sessions,
    /// What is to be deleted, once decided.
    pub decision: Option<Packs>,
    /// What the survey before it saw of every machine.
    pub seen: Seen,
    /// What it moved.
    pub moved: Option<Move>,
    /// The generations, one bit each, whose moves it says are to be followed.
    pub forwards: u8,
    /// What earlier decisions took, as far as a segment still lists it.
    pub dead: Packs,
    /// Packs whose own segments count no more.
    pub replaced: Packs,
    /// What its merged segments list.
    pub merged: Packs,
}

/// The points a survey saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seen {
    /// The last sequence of each machine.
    pub heads: [u8; WRITERS_MAX],
    /// Sessions whose points are bad.
    pub bad: Sessions,
}

/// Where a writer stands in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Writer {
    /// Which of its sessions this is.
    pub attempt: u8,
    /// The next thing it does.
    pub step: WriterStep,
    /// The generation it read.
    pub base: u8,
    /// The packs its point will need.
    pub packs: Packs,
}

/// What a writer did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum WriterStep {
    /// Nothing yet.
    #[default]
    Starts,
    /// Registered, or read the generation, whichever its rules put first.
    HalfOpen,
    /// Registered and knows its base.
    Open,
    /// Its packs are durable, but no segment lists them.
    Unlisted,
    /// Its packs and segments are durable.
    Uploaded,
    /// Sent its point.
    Sent,
    /// Knows that the point is durable.
    Committed,
    /// Found the point whole.
    Trusts,
    /// Nothing more to do.
    Ended,
}

/// What a collector saw and would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Survey {
    /// The newest generation then.
    pub on: u8,
    /// Unreferenced packs.
    pub tombstones: Packs,
    /// The points.
    pub seen: Seen,
    /// A pack that is needed and may go once it is copied.
    pub moved: Option<Move>,
    /// Earlier generations whose moves must still be followed.
    pub forwards: u8,
    /// The segments that are to be merged.
    pub merging: Merging,
    /// Packs that no segment lists.
    pub unlisted: Packs,
    /// The sessions that may still list them.
    pub theirs: Sessions,
}

/// What a collector did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Collector {
    /// Nothing, or everything.
    #[default]
    Idle,
    /// Listed points and sessions of generation `on`; would tombstone these.
    Surveyed(Survey),
    /// The generation exists, by this collector or another.
    Published {
        /// Its number.
        generation: u8,
    },
    /// Knows the open sessions.
    Listed {
        /// The generation.
        generation: u8,
        /// Those to fence.
        sessions: Sessions,
    },
    /// Its fence exists.
    Fenced {
        /// The generation.
        generation: u8,
    },
    /// Listed the points again.
    Chose {
        /// The generation.
        generation: u8,
        /// What it would delete.
        packs: Packs,
    },
    /// The decision exists; these are being deleted.
    Decided {
        /// What to delete.
        packs: Packs,
    },
}

/// The whole situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct State {
    /// The writers.
    pub writers: [Writer; WRITERS_MAX],
    /// The collectors.
    pub collectors: [Collector; COLLECTORS_MAX],
    /// The newest generation's number.
    pub newest: u8,
    /// Generations 0 to the newest.
    pub generations: [Generation; GENERATIONS_MAX + 1],
    /// The packs in the store.
    pub stored: Packs,
    /// Packs whose own segment is in the store, or was until it was merged.
    pub segments: Packs,
    /// Packs that were ever deleted; only to ask about.
    pub deleted: Packs,
    /// Sessions that registered.
    pub registered: Sessions,
    /// Sessions that closed.
    pub closed: Sessions,
    /// Sessions whose opening record names the one before.
    pub successors: Sessions,
    /// Fenced sessions that were silent for so long that they are over.
    pub silent: Sessions,
    /// Those of them whose records are swept, so that no later fence names them.
    pub swept: Sessions,
    /// Sessions that know their base, which then stands in their point.
    pub based: Sessions,
    /// Sessions whose partial point is in the store.
    pub partials: Sessions,
    /// The point of each session.
    pub points: [Point; SESSIONS_MAX],
    /// What each copy is a copy of.
    pub copies: [Packs; COPIES_MAX],
    /// What the old point needs, until it is forgotten.
    pub old_point: Option<Packs>,
    /// What merged segments in the store list that count whoever wrote them; against the rules.
    pub written: Packs,
    /// What each machine's cache ever took in and does not let go; against the rules.
    pub cached: [Packs; WRITERS_MAX],
    /// Packs that no segment listed at some survey, as the newest generation notes them.
    pub unlisted: Packs,
    /// The sessions that were not over then: one of them may still list such a pack.
    pub theirs: Sessions,
    /// Whether a survey ever took a running backup's own packs; only to ask about.
    pub took_running: bool,
}

impl State {
    /// The start: contested packs of a session that closed long ago.
    pub(crate) fn new(scope: &Scope) -> Self {
        let orphans = (1 << scope.orphans) - 1;
        let held = 1 << scope.orphans;
        debug_assert!(scope.orphans < OWN);
        let old_point = scope.old_point.then_some(held);
        let stored = orphans | old_point.unwrap_or(0);
        Self { stored, segments: stored, old_point, ..Self::default() }
    }

    /// Sessions that may still put something, as far as anybody waits for it.
    pub(crate) fn at_work(&self) -> Sessions {
        self.open() & !self.silent
    }

    /// Every contested pack there ever was.
    pub(crate) fn contested(&self, scope: &Scope) -> Packs {
        (1 << (scope.orphans + u8::from(scope.old_point))) - 1
    }

    /// The sessions some fence names.
    pub(crate) fn fenced(&self) -> Sessions {
        self.generations.iter().fold(0, |all, generation| all | generation.fenced)
    }

    /// Sessions with a record, but none that closes them.
    pub(crate) fn open(&self) -> Sessions {
        self.registered & !self.closed & !self.swept
    }

    /// Whether the session's records may go: a fence that its writer and every reader will mind names it.
    pub(crate) fn is_sweepable(&self, rules: &Rules, scope: &Scope, session: u8) -> bool {
        let base = self.points[usize::from(session)].base;
        let is_minded = self.based & 1 << session != 0 && self.is_fenced_after(scope, session, base);
        self.silent & !self.swept & 1 << session != 0 && (is_minded || !rules.sweeps_what_is_minded)
    }

    /// The oldest generation whose fences and decision are kept.
    pub(crate) fn horizon(&self, scope: &Scope) -> u8 {
        self.newest.saturating_sub(scope.kept)
    }

    /// The generations after `base` whose fences are kept.
    pub(crate) fn later(&self, scope: &Scope, base: u8) -> &[Generation] {
        let first = (base + 1).max(self.horizon(scope));
        self.generations.get(usize::from(first)..=usize::from(self.newest)).unwrap_or_default()
    }

    /// Whether a kept fence after `base` names the session.
    pub(crate) fn is_fenced_after(&self, scope: &Scope, session: u8, base: u8) -> bool {
        self.later(scope, base).iter().any(|generation| generation.fenced & 1 << session != 0)
    }

    /// The last sequence of a machine.
    pub(crate) fn head(&self, scope: &Scope, writer: u8) -> u8 {
        let sessions = scope.sessions_of(writer, scope.attempts - 1).map(|session| &self.points[usize::from(session)]);
        sessions.filter(|point| point.state >= PointState::Visible).map(|point| point.sequence).max().unwrap_or(0)
    }

    /// Everything that points in the store, and the partial ones asked for, need.
    pub(crate) fn roots(&self, partials: bool) -> Packs {
        let is_root = |session: usize| {
            let visible = matches!(self.points[session].state, PointState::Visible | PointState::Trusted);
            visible || partials && self.partials & 1 << session != 0
        };
        let points = (0..SESSIONS_MAX).filter(|&session| is_root(session)).map(|session| self.points[session].packs);
        points.fold(self.old_point.unwrap_or(0), |all, packs| all | packs)
    }

    /// The least of the situations that differ only by the numbers of equal processes.
    pub(crate) fn canonical(mut self, scope: &Scope) -> Self {
        self.collectors[..usize::from(scope.collectors)].sort_unstable();
        match scope.writers {
            2 => self.min(self.swapped(scope, 0, 1)),
            3 => {
                let (a, b, c) = (self.swapped(scope, 0, 1), self.swapped(scope, 0, 2), self.swapped(scope, 1, 2));
                self.min(a).min(b).min(c).min(a.swapped(scope, 0, 2)).min(a.swapped(scope, 1, 2))
            }
            _ => self,
        }
    }

    /// The same situation with two writers' numbers exchanged.
    fn swapped(&self, scope: &Scope, one: u8, other: u8) -> Self {
        let mut state = *self;
        let (one_machine, other_machine) = (usize::from(one), usize::from(other));
        let sessions = |set: Sessions| swap_bits(set.into(), scope, 0, one, other) as Sessions;
        let packs = |set: Packs| swap_bits(set, scope, OWN, one, other);
        let seen = |mut seen: Seen| {
            seen.heads.swap(one.into(), other.into());
            Seen { bad: sessions(seen.bad), ..seen }
        };
        let swapped_move = |moved: Move| Move { old: packs(moved.old), copy: moved.copy };
        state.writers.swap(one.into(), other.into());
        for writer in &mut state.writers {
            writer.packs = packs(writer.packs);
        }
        for collector in &mut state.collectors {
            *collector = match *collector {
                Collector::Idle => Collector::Idle,
                Collector::Surveyed(survey) => Collector::Surveyed(Survey {
                    on: survey.on,
                    tombstones: packs(survey.tombstones),
                    seen: seen(survey.seen),
                    moved: survey.moved.map(swapped_move),
                    forwards: survey.forwards,
                    merging: survey.merging.with(packs),
                    unlisted: packs(survey.unlisted),
                    theirs: sessions(survey.theirs),
                }),
                Collector::Published { generation } => Collector::Published { generation },
                Collector::Listed { generation, sessions: set } => {
                    Collector::Listed { generation, sessions: sessions(set) }
                }
                Collector::Fenced { generation } => Collector::Fenced { generation },
                Collector::Chose { generation, packs: set } => Collector::Chose { generation, packs: packs(set) },
                Collector::Decided { packs: set } => Collector::Decided { packs: packs(set) },
            };
        }
        state.collectors[..usize::from(scope.collectors)].sort_unstable();
        for generation in &mut state.generations {
            generation.tombstones = packs(generation.tombstones);
            generation.fenced = sessions(generation.fenced);
            generation.decision = generation.decision.map(packs);
            generation.seen = seen(generation.seen);
            generation.moved = generation.moved.map(swapped_move);
            generation.dead = packs(generation.dead);
            generation.replaced = packs(generation.replaced);
            generation.merged = packs(generation.merged);
        }
        for attempt in 0..scope.attempts {
            let (one, other) = (scope.session(one, attempt), scope.session(other, attempt));
            state.points.swap(one.into(), other.into());
        }
        for point in &mut state.points {
            point.packs = packs(point.packs);
        }
        (state.stored, state.deleted) = (packs(state.stored), packs(state.deleted));
        state.segments = packs(state.segments);
        state.written = packs(state.written);
        (state.unlisted, state.theirs) = (packs(state.unlisted), sessions(state.theirs));
        state.cached.swap(one_machine, other_machine);
        state.cached = state.cached.map(packs);
        state.copies = state.copies.map(packs);
        state.registered = sessions(state.registered);
        state.closed = sessions(state.closed);
        state.successors = sessions(state.successors);
        state.silent = sessions(state.silent);
        state.swept = sessions(state.swept);
        state.based = sessions(state.based);
        state.partials = sessions(state.partials);
        state
    }
}

/// Exchanges the bits of two writers' sessions, which begin at `from`.
fn swap_bits(set: u16, scope: &Scope, from: u8, one: u8, other: u8) -> u16 {
    let block = (1 << scope.attempts) - 1;
    let (one, other) = (from + scope.session(one, 0), from + scope.session(other, 0));
    let (left, right) = (set >> one & block, set >> other & block);
    set & !(block << one | block << other) | left << other | right << one
}
