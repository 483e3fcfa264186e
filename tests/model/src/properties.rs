//! What must hold in every situation, and what must be possible in some.

use crate::Collection;
use crate::state::{Point, PointState, State, WriterStep};
use stateright::Property;

/// A point its writer found whole has all its packs.
pub const TRUSTED: &str = "a trusted point never loses a pack";
/// The reader rule: whoever reads a point that lost a pack knows it from the fences and decisions.
pub const FLAGGED: &str = "a visible point that lost a pack is recognised";
/// What a running backup uploaded is never tombstoned.
pub const GREEDY: &str = "a survey takes nothing a running backup uploaded";

pub(crate) fn all() -> Vec<Property<Collection>> {
    vec![
        Property::always(TRUSTED, |_, state| trusted_points_are_whole(state)),
        Property::always(FLAGGED, damaged_points_are_recognised),
        Property::always(GREEDY, |_, state: &State| !state.took_running),
        Property::sometimes("garbage goes while a point stays", |_, state: &State| {
            state.deleted != 0 && state.points.iter().any(|point| point.state == PointState::Trusted)
        }),
        Property::sometimes("what a point names is gone, and its copy is there", |_, state: &State| {
            state.old_point.is_some_and(|named| named & state.deleted != 0 && !state.missing(named))
        }),
        Property::sometimes(
            "what went is mentioned no more, and a later point stands",
            |model: &Collection, state: &State| {
                let decided = state.generations[usize::from(state.newest)].decision.unwrap_or(0);
                let dead = state.dead(&model.rules, state.newest) | decided;
                let forgotten = state.deleted & state.segments & !state.listed(state.newest) & !dead;
                let stands = |point: &Point| point.state == PointState::Trusted && point.base == state.newest;
                forgotten != 0 && state.points.iter().any(stands)
            },
        ),
        Property::sometimes("a pack that no segment ever listed goes", |_, state: &State| {
            state.deleted & !state.segments != 0
        }),
        Property::sometimes("a fenced backup ends trusted in its second session", |_, state: &State| {
            state.writers.iter().any(|writer| writer.attempt == 1 && writer.step == WriterStep::Trusts)
        }),
        Property::sometimes("a late point lost a pack, and its reader knows", |model: &Collection, state: &State| {
            (0..model.scope.sessions()).any(|session| lacks(state, session) && is_bad(model, state, session))
        }),
    ]
}

fn trusted_points_are_whole(state: &State) -> bool {
    let is_whole = |point: &Point| point.state != PointState::Trusted || !state.missing(point.packs);
    state.points.iter().all(is_whole) && state.old_point.is_none_or(|packs| !state.missing(packs))
}

fn damaged_points_are_recognised(model: &Collection, state: &State) -> bool {
    let is_visible = |session: &u8| state.points[usize::from(*session)].state >= PointState::Visible;
    (0..model.scope.sessions())
        .filter(is_visible)
        .all(|session| !lacks(state, session) || is_bad(model, state, session))
}

fn lacks(state: &State, session: u8) -> bool {
    state.missing(state.points[usize::from(session)].packs)
}

/// The reader rule of FORMAT.md, "Collection".
pub(crate) fn is_bad(model: &Collection, state: &State, session: u8) -> bool {
    let point = &state.points[usize::from(session)];
    let newest = &state.generations[usize::from(state.newest)];
    if point.state < PointState::Visible || newest.seen.bad & 1 << session != 0 {
        return point.state >= PointState::Visible;
    }
    let is_new = point.sequence > newest.seen.heads[usize::from(model.scope.writer(session))];
    let is_below = model.rules.minds_horizon && point.base + 1 < state.horizon(&model.scope);
    let is_suspect = state.is_fenced_after(&model.scope, session, point.base) || is_below && is_new;
    is_suspect
        && state.followed(state.newest, point.packs)
            & (state.lost(&model.rules, state.newest) | newest.decision.unwrap_or(0))
            != 0
}
