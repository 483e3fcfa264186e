//! A collector, from its survey to its deletions (FORMAT.md, "Collection").

use crate::Collection;
use crate::merging::Merging;
use crate::moves::Move;
use crate::properties::is_bad;
use crate::state::{Collector, Generation, Packs, PointState, Seen, Sessions, State, Survey, WriterStep, own};
use crate::writer::{chain, usable};

/// What a collector does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectorAction {
    /// Takes up a generation that has no decision yet, whoever published it.
    Help,
    /// Takes up a decision whose packs still lie there.
    Resume,
    /// Lists sessions, packs and points, to tombstone all garbage.
    Survey,
    /// The same, to tombstone one pack of it.
    SurveyForOne,
    /// The same, to tombstone nothing.
    SurveyForNone,
    /// The same, to tombstone one pack that is needed, and is to be copied first.
    SurveyToMove,
    /// Puts the copy.
    Copy,
    /// Puts the segment that lists the copy.
    ListCopy,
    /// The same, to merge the segments of sessions that are over, and to tombstone nothing.
    SurveyToMerge,
    /// Puts the merged segment.
    PutMerged,
    /// Puts the next generation; the first one wins.
    Publish,
    /// Lists the sessions.
    ListSessions,
    /// Puts its fence.
    Fence,
    /// Lists the points again.
    ListAgain,
    /// Puts the decision; the first one wins, and this collector follows it.
    Decide,
    /// Deletes one pack.
    Delete,
}

pub(crate) fn actions(model: &Collection, state: &State, number: u8, mut push: impl FnMut(CollectorAction)) {
    match state.collectors[usize::from(number)] {
        Collector::Idle => idle_actions(model, state, push),
        Collector::Surveyed(survey) => push(next_of(model, state, &survey)),
        Collector::Published { .. } => push(CollectorAction::ListSessions),
        Collector::Listed { .. } => push(CollectorAction::Fence),
        Collector::Fenced { .. } => push(CollectorAction::ListAgain),
        Collector::Chose { .. } => push(CollectorAction::Decide),
        Collector::Decided { .. } => push(CollectorAction::Delete),
    }
}

/// What a collector does next towards the generation its survey asks for.
fn next_of(model: &Collection, state: &State, survey: &Survey) -> CollectorAction {
    match (survey.moved, survey.merging) {
        (Some(Move { copy: 0, .. }), _) if model.rules.copies_first => CollectorAction::Copy,
        (Some(Move { copy, .. }), _) if copy & !state.segments != 0 && model.rules.lists_copies_first => {
            CollectorAction::ListCopy
        }
        (_, Merging::Chosen(_)) => CollectorAction::PutMerged,
        _ => CollectorAction::Publish,
    }
}

fn idle_actions(model: &Collection, state: &State, mut push: impl FnMut(CollectorAction)) {
    let newest = &state.generations[usize::from(state.newest)];
    let is_undecided = state.newest > 0 && newest.decision.is_none();
    if is_undecided && model.rules.one_decision {
        push(CollectorAction::Help);
    } else if state.newest < model.scope.generations {
        let garbage = garbage(model, state);
        if garbage != 0 {
            push(CollectorAction::Survey);
        }
        if model.scope.moods && garbage != lowest(garbage) {
            push(CollectorAction::SurveyForOne);
        }
        if model.scope.moods {
            push(CollectorAction::SurveyForNone);
        }
        if model.scope.merges && mergeable(model, state) != 0 {
            push(CollectorAction::SurveyToMerge);
        }
        if model.scope.moves && state.has_room_for_a_copy() && movable(model, state) != 0 {
            push(CollectorAction::SurveyToMove);
        }
    }
    if newest.decision.is_some_and(|packs| packs & state.stored != 0) {
        push(CollectorAction::Resume);
    }
}

pub(crate) fn step(model: &Collection, state: &mut State, number: u8, action: CollectorAction) {
    let here = state.collectors[usize::from(number)];
    let next = match (action, here) {
        (CollectorAction::Help, _) => Collector::Published { generation: state.newest },
        (CollectorAction::Resume, _) => {
            let packs = state.generations[usize::from(state.newest)].decision.unwrap_or(0);
            Collector::Decided { packs: packs & state.stored }
        }
        (CollectorAction::Survey | CollectorAction::SurveyForOne | CollectorAction::SurveyForNone, _) => {
            let all = garbage(model, state);
            let tombstones = if action == CollectorAction::Survey { all } else { lowest(all) };
            let tombstones = if action == CollectorAction::SurveyForNone { 0 } else { tombstones };
            state.took_running |= tombstones & packs_of_backups(model, state) != 0;
            survey(model, state, tombstones, None, Merging::Nothing)
        }
        (CollectorAction::SurveyToMove, _) => {
            let old = lowest(movable(model, state));
            state.took_running |= old & packs_of_backups(model, state) != 0;
            survey(model, state, old, Some(Move { old, copy: 0 }), Merging::Nothing)
        }
        (CollectorAction::SurveyToMerge, _) => survey(model, state, 0, None, Merging::Chosen(mergeable(model, state))),
        (CollectorAction::PutMerged, Collector::Surveyed(survey)) => put_merged(model, state, survey),
        (CollectorAction::Copy, Collector::Surveyed(survey)) => copy(model, state, survey),
        (CollectorAction::ListCopy, Collector::Surveyed(Survey { moved, .. })) => {
            state.segments |= moved.map_or(0, |moved| moved.copy);
            here
        }
        (CollectorAction::Publish, Collector::Surveyed(survey)) if state.newest != survey.on => Collector::Idle,
        (CollectorAction::Publish, Collector::Surveyed(survey)) => publish(model, state, survey),
        (CollectorAction::ListSessions, Collector::Published { generation }) => {
            Collector::Listed { generation, sessions: to_fence(model, state) }
        }
        (CollectorAction::Fence, Collector::Listed { generation, sessions }) => {
            state.generations[usize::from(generation)].fenced |= sessions;
            Collector::Fenced { generation }
        }
        (CollectorAction::ListAgain, Collector::Fenced { generation }) => {
            let tombstones = state.generations[usize::from(generation)].tombstones;
            let roots = if model.rules.lists_twice { needed(model, state, generation) } else { 0 };
            Collector::Chose { generation, packs: tombstones & !roots }
        }
        (CollectorAction::Decide, Collector::Chose { generation, packs }) => decide(model, state, generation, packs),
        (CollectorAction::Delete, Collector::Decided { packs }) => delete_one(state, packs),
        (_, here) => here,
    };
    state.collectors[usize::from(number)] = next;
}

/// What a survey tombstones: stored, not yet given up by an earlier decision, needed by nobody, of no open session.
fn garbage(model: &Collection, state: &State) -> Packs {
    (free(model, state) | state.abandoned(&model.rules)) & !needed(model, state, state.newest)
}

/// What may be copied and then go: the same, but needed by somebody.
fn movable(model: &Collection, state: &State) -> Packs {
    free(model, state) & needed(model, state, state.newest)
}

/// What points and partials need, where a generation's forwards lead.
fn needed(model: &Collection, state: &State, generation: u8) -> Packs {
    let named = state.roots(model.rules.roots_partials);
    if model.rules.follows_forwards { state.followed(generation, named) } else { named }
}

/// Stored, not yet given up by an earlier decision, of no open session.
fn free(model: &Collection, state: &State) -> Packs {
    let live = state.stored & usable(model, state, state.newest, 0);
    let spared = match (model.rules.spares_open, model.rules.spares_fenced) {
        (true, true) => state.at_work(),
        (true, false) => state.at_work() & !state.fenced(),
        (false, _) => 0,
    };
    // Who wrote it does not show any more of what a merged segment lists.
    live & !(packs_of(model, spared) & !state.generations[usize::from(state.newest)].merged)
}

/// What is listed by segments of sessions that closed.
fn mergeable(model: &Collection, state: &State) -> Packs {
    // Also one that is over and never closed may put its segment again.
    let at_work = if model.rules.merges_what_is_over { state.registered & !state.closed } else { 0 };
    state.listed(state.newest) & !packs_of(model, at_work)
}

fn survey(model: &Collection, state: &State, tombstones: Packs, moved: Option<Move>, merging: Merging) -> Collector {
    let named = state.roots(model.rules.roots_partials);
    let forwards = if model.rules.keeps_forwards { state.forwards_from(state.newest, named) } else { 0 };
    let (unlisted, theirs) = state.unlisted_now();
    let (on, seen) = (state.newest, see(model, state));
    Collector::Surveyed(Survey { on, tombstones, seen, moved, forwards, merging, unlisted, theirs })
}

/// Makes the merged segment durable.
fn put_merged(model: &Collection, state: &mut State, survey: Survey) -> Collector {
    let Merging::Chosen(replaced) = survey.merging else { return Collector::Surveyed(survey) };
    let gone = state.generations[usize::from(survey.on)];
    let merged = replaced & !(gone.dead | gone.decision.unwrap_or(0));
    if !model.rules.counts_merged_by_generation {
        state.written |= merged;
    }
    Collector::Surveyed(Survey { merging: Merging::Written { replaced, merged }, ..survey })
}

/// Makes the copy durable; without room for it nothing is moved.
fn copy(model: &Collection, state: &mut State, survey: Survey) -> Collector {
    let Some(Move { old, .. }) = survey.moved else { return Collector::Surveyed(survey) };
    Collector::Surveyed(match state.copy(old) {
        0 => Survey { moved: None, tombstones: 0, ..survey },
        copy => {
            state.segments |= if model.scope.late_segments { 0 } else { copy };
            Survey { moved: Some(Move { old, copy }), ..survey }
        }
    })
}

fn packs_of(model: &Collection, sessions: Sessions) -> Packs {
    (0..model.scope.sessions()).filter(|session| sessions & 1 << session != 0).fold(0, |all, s| all | own(s))
}

/// What the backups that run now, and were never silent for long, uploaded in their sessions.
fn packs_of_backups(model: &Collection, state: &State) -> Packs {
    let sessions = (0..model.scope.writers).map(|number| {
        let sessions = chain(model, state, number);
        let current = 1 << model.scope.session(number, state.writers[usize::from(number)].attempt);
        let runs = state.writers[usize::from(number)].step != WriterStep::Ended && state.registered & current != 0;
        if runs && sessions & state.silent == 0 { sessions } else { 0 }
    });
    packs_of(model, sessions.fold(0, |all, sessions| all | sessions))
}

fn see(model: &Collection, state: &State) -> Seen {
    let mut seen = Seen::default();
    for writer in 0..model.scope.writers {
        seen.heads[usize::from(writer)] = state.head(&model.scope, writer);
    }
    let bad = (0..model.scope.sessions()).filter(|&session| is_bad(model, state, session));
    seen.bad = bad.fold(0, |all, session| all | 1 << session);
    seen
}

fn publish(model: &Collection, state: &mut State, survey: Survey) -> Collector {
    let before = state.generations[usize::from(survey.on)];
    let (parts, merged) = match survey.merging {
        Merging::Written { replaced, merged } => (replaced, merged),
        Merging::Nothing | Merging::Chosen(_) => (0, before.merged),
    };
    let number = survey.on + 1;
    let own = if survey.moved.is_some() { 1 << number } else { 0 };
    let generation = Generation {
        tombstones: survey.tombstones,
        fenced: 0,
        decision: None,
        seen: survey.seen,
        moved: survey.moved,
        forwards: survey.forwards | own,
        dead: state.dead_after(&model.rules, survey.on, parts),
        replaced: before.replaced | parts,
        merged,
    };
    (state.unlisted, state.theirs) = (survey.unlisted, survey.theirs);
    state.newest = number;
    state.generations[usize::from(number)] = generation;
    Collector::Published { generation: number }
}

fn to_fence(model: &Collection, state: &State) -> Sessions {
    let is_visible = |session: &u8| state.points[usize::from(*session)].state >= PointState::Visible;
    // Duplicacy's rule: all writers are one client, and its newer backup vouches for the older ones.
    let is_vouched_for = !model.rules.fences_by_session && (0..model.scope.sessions()).any(|s| is_visible(&s));
    if !model.rules.fences || is_vouched_for {
        return 0;
    }
    state.open()
}

fn decide(model: &Collection, state: &mut State, generation: u8, packs: Packs) -> Collector {
    let decision = &mut state.generations[usize::from(generation)].decision;
    let winner = *decision.get_or_insert(packs);
    Collector::Decided { packs: if model.rules.one_decision { winner } else { packs } }
}

/// Deletes the lowest pack that is left.
fn delete_one(state: &mut State, packs: Packs) -> Collector {
    let left = packs & state.stored;
    let lowest = lowest(left);
    state.stored &= !lowest;
    state.deleted |= lowest;
    if left == lowest { Collector::Idle } else { Collector::Decided { packs: left & !lowest } }
}

fn lowest(packs: Packs) -> Packs {
    packs & packs.wrapping_neg()
}
