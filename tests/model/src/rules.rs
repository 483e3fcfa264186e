//! The rules a variant of the protocol keeps, and the size of a check.

use crate::state::{GENERATIONS_MAX, SESSIONS_MAX};

/// The rules of the protocol; a weakened variant drops one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A writer registers before it reads the newest generation.
    pub registers_first: bool,
    /// After its commit a writer reads the fences that name it.
    pub reads_fences: bool,
    /// A fenced writer counts what was tombstoned as lost, also while it still exists.
    pub believes_tombstones: bool,
    /// A writer that some generation fenced counts the tombstones of all generations since its base.
    pub counts_all_tombstones: bool,
    /// Where fences of generations after the base are kept no more, writers and readers act as if there had been one.
    pub minds_horizon: bool,
    /// A tombstoned pack stays out of use until the decision that spares it exists.
    pub awaits_decisions: bool,
    /// A session whose commit is in doubt is not closed.
    pub leaves_doubt_open: bool,
    /// A collector fences the open sessions before it decides.
    pub fences: bool,
    /// A session is fenced although its machine committed a newer point meanwhile.
    pub fences_by_session: bool,
    /// A collector lists the points again after the fence.
    pub lists_twice: bool,
    /// Every collector executes the one decision that was created first, and starts nothing before it exists.
    pub one_decision: bool,
    /// Packs of open sessions are not tombstoned.
    pub spares_open: bool,
    /// Nor those of sessions that are fenced, until they were silent for long.
    pub spares_fenced: bool,
    /// The records of a silent session go only when a fence after its base names it.
    pub sweeps_what_is_minded: bool,
    /// A successor closes the session before it only when it closes itself, so that the packs pass to it.
    pub inherits: bool,
    /// Partial points are roots as points are.
    pub roots_partials: bool,
    /// A copy is durable before a generation says that its original may go.
    pub copies_first: bool,
    /// A collector looks for what points need where the forwards lead.
    pub follows_forwards: bool,
    /// A generation carries on the forwards that lead on from what points name.
    pub keeps_forwards: bool,
    /// Only segments of sessions that are over are merged.
    pub merges_what_is_over: bool,
    /// A merged segment counts only when the generation lists it.
    pub counts_merged_by_generation: bool,
    /// A cache lets go of packs that no segment lists any more.
    pub lets_go: bool,
    /// A writer's segment is durable before it sends its point.
    pub lists_first: bool,
    /// The same of a collector's copy and the generation that leads to it.
    pub lists_copies_first: bool,
    /// Packs that no segment lists stay until every session is over that may list them.
    pub waits_for_segments: bool,
    /// A dead pack that no segment listed so far stays dead, as one may come late.
    pub minds_late_segments: bool,
}

impl Rules {
    /// The protocol as it is.
    pub const ALL: Self = Self {
        registers_first: true,
        reads_fences: true,
        believes_tombstones: true,
        counts_all_tombstones: true,
        minds_horizon: true,
        awaits_decisions: true,
        leaves_doubt_open: true,
        fences: true,
        fences_by_session: true,
        lists_twice: true,
        one_decision: true,
        spares_open: true,
        spares_fenced: true,
        sweeps_what_is_minded: true,
        inherits: true,
        roots_partials: true,
        copies_first: true,
        follows_forwards: true,
        keeps_forwards: true,
        merges_what_is_over: true,
        counts_merged_by_generation: true,
        lets_go: true,
        lists_first: true,
        lists_copies_first: true,
        waits_for_segments: true,
        minds_late_segments: true,
    };
}

/// How many of everything a check has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Writers, each with a machine of its own unless a rule says otherwise.
    pub writers: u8,
    /// How often a writer may open a session.
    pub attempts: u8,
    /// Collectors.
    pub collectors: u8,
    /// The newest generation a collector may publish.
    pub generations: u8,
    /// How many generations before the newest keep their fences and decisions; 16 in a vault.
    pub kept: u8,
    /// Packs that nobody references at the start, and that every writer would like to use.
    pub orphans: u8,
    /// Whether a point stands at the start that holds one more pack, and may be forgotten.
    pub old_point: bool,
    /// Whether writers put partial points, which may expire.
    pub partials: bool,
    /// Whether writers may stop of their own will, and may notice a fence before they commit.
    pub renewals: bool,
    /// Whether a writer may die and its machine begin anew, knowing nothing of what it had in doubt.
    pub restarts: bool,
    /// Whether fenced sessions may fall silent, which ends the protection of their packs.
    pub silences: bool,
    /// Whether a collector may tombstone one pack or nothing though there is more.
    pub moods: bool,
    /// Whether a collector may copy a pack that is needed, so that it can go.
    pub moves: bool,
    /// Whether a collector may merge segments.
    pub merges: bool,
    /// Whether a pack and the segment that lists it are two steps, of writers and of collectors.
    pub late_segments: bool,
    /// Whether processes keep their numbers, so that a written trace can be followed.
    pub is_trace: bool,
}

impl Scope {
    /// One writer, one collector, one contested pack, two generations.
    pub const SMALLEST: Self = Self {
        writers: 1,
        attempts: 2,
        collectors: 1,
        generations: 2,
        kept: 16,
        orphans: 1,
        old_point: false,
        partials: false,
        renewals: false,
        restarts: false,
        silences: false,
        moods: false,
        moves: false,
        merges: false,
        late_segments: false,
        is_trace: false,
    };

    /// Every session that can ever be.
    pub fn sessions(&self) -> u8 {
        let sessions = self.writers * self.attempts;
        debug_assert!(usize::from(sessions) <= SESSIONS_MAX && usize::from(self.generations) <= GENERATIONS_MAX);
        sessions
    }

    /// The session of a writer's attempt.
    pub fn session(&self, writer: u8, attempt: u8) -> u8 {
        writer * self.attempts + attempt
    }

    /// The writer of a session.
    pub fn writer(&self, session: u8) -> u8 {
        session / self.attempts
    }

    /// The sessions of a writer, up to one of its attempts.
    pub fn sessions_of(&self, writer: u8, attempt: u8) -> std::ops::RangeInclusive<u8> {
        self.session(writer, 0)..=self.session(writer, attempt)
    }
}
