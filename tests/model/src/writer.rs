//! A backup, from its registration to its close (FORMAT.md, "Write order").

use crate::Collection;
use crate::state::{Generation, Packs, PointState, Sessions, State, Writer, WriterStep, own};

/// What a writer does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterAction {
    /// Puts its session record.
    Register,
    /// Reads the newest generation.
    ReadGeneration,
    /// Uploads what it cannot reuse.
    Upload,
    /// Puts the segment that lists what it uploaded.
    PutSegment,
    /// Puts a partial point.
    PutPartial,
    /// Stops, and closes its session.
    Stop,
    /// Sees that it is fenced, and goes on as its own successor.
    Renew,
    /// Died, and its machine begins anew.
    Restart,
    /// Sends its point.
    Send,
    /// Hears that the point is durable.
    Hear,
    /// Hears that its sequence is taken.
    HearTaken,
    /// Gives up waiting, and closes its session all the same; against the rules.
    CloseInDoubt,
    /// Reads the fences; trusts its point, or begins again.
    ReadFences,
    /// Closes its session.
    Close,
}

pub(crate) fn actions(model: &Collection, state: &State, number: u8, mut push: impl FnMut(WriterAction)) {
    let writer = &state.writers[usize::from(number)];
    let session = model.scope.session(number, writer.attempt);
    let may_go_on = writer.attempt + 1 < model.scope.attempts;
    let dies = matches!(writer.step, WriterStep::Unlisted | WriterStep::Uploaded | WriterStep::Sent);
    if model.scope.restarts && may_go_on && dies {
        push(WriterAction::Restart);
    }
    let (first, second) = match model.rules.registers_first {
        true => (WriterAction::Register, WriterAction::ReadGeneration),
        false => (WriterAction::ReadGeneration, WriterAction::Register),
    };
    match writer.step {
        WriterStep::Starts => push(first),
        WriterStep::HalfOpen => push(second),
        WriterStep::Open => push(WriterAction::Upload),
        WriterStep::Unlisted => push(WriterAction::PutSegment),
        WriterStep::Uploaded => {
            push(WriterAction::Send);
            if model.scope.partials && state.partials & 1 << session == 0 {
                push(WriterAction::PutPartial);
            }
            if model.scope.renewals {
                push(WriterAction::Stop);
                if may_go_on && state.is_fenced_after(&model.scope, session, writer.base) {
                    push(WriterAction::Renew);
                }
            }
        }
        WriterStep::Sent if state.points[usize::from(session)].state == PointState::Visible => {
            push(WriterAction::Hear);
        }
        WriterStep::Sent if state.points[usize::from(session)].state == PointState::Refused => {
            push(WriterAction::HearTaken);
        }
        WriterStep::Sent if !model.rules.leaves_doubt_open => push(WriterAction::CloseInDoubt),
        WriterStep::Sent | WriterStep::Ended => {}
        WriterStep::Committed => push(WriterAction::ReadFences),
        WriterStep::Trusts => push(WriterAction::Close),
    }
}

pub(crate) fn step(model: &Collection, state: &mut State, number: u8, action: WriterAction) {
    let attempt = state.writers[usize::from(number)].attempt;
    let session = model.scope.session(number, attempt);
    let half = |step| if step == WriterStep::Starts { WriterStep::HalfOpen } else { WriterStep::Open };
    match action {
        WriterAction::Register => {
            state.registered |= 1 << session;
            if !model.rules.inherits && state.successors & 1 << session != 0 {
                state.closed |= 1 << (session - 1);
            }
            let writer = &mut state.writers[usize::from(number)];
            writer.step = half(writer.step);
        }
        WriterAction::ReadGeneration => {
            let newest = state.newest;
            state.based |= 1 << session;
            state.points[usize::from(session)].base = newest;
            if !model.rules.lets_go {
                state.cached[usize::from(number)] |= state.listed(newest);
            }
            let writer = &mut state.writers[usize::from(number)];
            (writer.base, writer.step) = (newest, half(writer.step));
        }
        WriterAction::Upload => upload(model, state, number, session),
        WriterAction::PutSegment => {
            state.segments |= own(session);
            state.writers[usize::from(number)].step = WriterStep::Uploaded;
        }
        WriterAction::PutPartial => {
            state.partials |= 1 << session;
            note_point(state, number, session, PointState::None);
        }
        WriterAction::Stop => end(model, state, number),
        WriterAction::Renew => succeed(model, state, number),
        WriterAction::Restart => begin_again(state, number),
        WriterAction::HearTaken => state.writers[usize::from(number)].step = WriterStep::Uploaded,
        WriterAction::Send => {
            note_point(state, number, session, PointState::Sent);
            state.points[usize::from(session)].sequence = state.head(&model.scope, number) + 1;
            state.writers[usize::from(number)].step = WriterStep::Sent;
        }
        WriterAction::Hear => state.writers[usize::from(number)].step = WriterStep::Committed,
        WriterAction::ReadFences => read_fences(model, state, number, session),
        WriterAction::CloseInDoubt | WriterAction::Close => end(model, state, number),
    }
}

/// Reuses what its base lets it use, and uploads the rest as a pack of its own.
fn upload(model: &Collection, state: &mut State, number: u8, session: u8) {
    let writer = state.writers[usize::from(number)];
    let wanted = state.contested(&model.scope);
    let before = model.scope.session(number, 0)..session;
    let inherited = before.fold(0, |all, session| all | own(session));
    let usable = usable(model, state, writer.base, state.cached[usize::from(number)]);
    let reused = (wanted | inherited) & usable;
    // What moved is found by its content, in its copy.
    let reused = reused | state.copies_of((wanted | inherited) & !reused) & usable;
    let is_complete = wanted & !state.contents(reused) == 0 && reused & inherited != 0;
    let uploaded = if is_complete { 0 } else { own(session) };
    state.stored |= uploaded;
    let step = match uploaded != 0 && model.scope.late_segments {
        true if model.rules.lists_first => WriterStep::Unlisted,
        true => WriterStep::Uploaded,
        false => {
            state.segments |= uploaded;
            WriterStep::Uploaded
        }
    };
    let writer = &mut state.writers[usize::from(number)];
    (writer.packs, writer.step) = (reused | uploaded, step);
}

/// The packs that a writer or collector of generation `base` takes for live: what segments list, or a cache that does not let
/// go, but what is dead or may be by that generation.
pub(crate) fn usable(model: &Collection, state: &State, base: u8, cached: Packs) -> Packs {
    let generation = &state.generations[usize::from(base)];
    let at_stake = match generation.decision {
        _ if !model.rules.one_decision => generation.tombstones,
        Some(packs) => packs,
        None if model.rules.awaits_decisions => generation.tombstones,
        None => 0,
    };
    let dead = if model.rules.one_decision { state.dead(&model.rules, base) } else { 0 };
    (state.listed(base) | cached) & !(dead | at_stake)
}

fn note_point(state: &mut State, number: u8, session: u8, to: PointState) {
    let writer = state.writers[usize::from(number)];
    let point = &mut state.points[usize::from(session)];
    (point.state, point.base, point.packs) = (to, writer.base, writer.packs);
}

fn read_fences(model: &Collection, state: &mut State, number: u8, session: u8) {
    let writer = state.writers[usize::from(number)];
    let lost = match (model.rules.reads_fences, model.rules.believes_tombstones) {
        (false, _) => 0,
        (true, true) => writer.packs & tombstoned_since(model, state, session, writer.base),
        (true, false) => writer.packs & tombstoned_since(model, state, session, writer.base) & !state.stored,
    };
    if lost == 0 {
        state.points[usize::from(session)].state = PointState::Trusted;
        state.writers[usize::from(number)].step = WriterStep::Trusts;
    } else if writer.attempt + 1 < model.scope.attempts {
        succeed(model, state, number);
    } else {
        state.writers[usize::from(number)].step = WriterStep::Ended;
    }
}

/// What a fence makes a writer count as lost; nothing when there was none.
fn tombstoned_since(model: &Collection, state: &State, session: u8, base: u8) -> Packs {
    let is_fence = |generation: &&Generation| generation.fenced & 1 << session != 0;
    let later = state.later(&model.scope, base);
    let union = |all: Packs, generation: &Generation| all | generation.tombstones;
    if model.rules.minds_horizon && base + 1 < state.horizon(&model.scope) {
        return later.iter().fold(state.lost(&model.rules, state.newest), union);
    }
    match model.rules.counts_all_tombstones {
        true if later.iter().any(|generation| is_fence(&generation)) => {
            later.iter().fold(state.lost(&model.rules, state.newest), union)
        }
        true => 0,
        false => later.iter().filter(is_fence).fold(0, union),
    }
}

/// Goes on as the successor of the session, which stays open until the successor closes.
fn succeed(model: &Collection, state: &mut State, number: u8) {
    begin_again(state, number);
    state.successors |= 1 << model.scope.session(number, state.writers[usize::from(number)].attempt);
}

fn begin_again(state: &mut State, number: u8) {
    let writer = &mut state.writers[usize::from(number)];
    *writer = Writer { attempt: writer.attempt + 1, ..Writer::default() };
}

/// Closes the session and all those it succeeds.
fn end(model: &Collection, state: &mut State, number: u8) {
    state.closed |= chain(model, state, number);
    let writer = &mut state.writers[usize::from(number)];
    (writer.step, writer.base, writer.packs) = (WriterStep::Ended, 0, 0);
}

/// A writer's session with all those it succeeds.
pub(crate) fn chain(model: &Collection, state: &State, number: u8) -> Sessions {
    let mut session = model.scope.session(number, state.writers[usize::from(number)].attempt);
    let mut chain = 1 << session;
    while state.successors & 1 << session != 0 {
        session -= 1;
        chain |= 1 << session;
    }
    chain
}
