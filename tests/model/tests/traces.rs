//! Traces that broke others, followed step by step here: what breaks them holds.
#![expect(clippy::unwrap_used, reason = "a step that is not possible fails the test with its story")]

use nightkeep_model::CollectorAction::{
    Decide, Delete, Fence, Help, ListAgain, ListSessions, Publish, Survey, SurveyForOne,
};
use nightkeep_model::WriterAction::{Close, Hear, ReadFences, ReadGeneration, Register, Send, Upload};
use nightkeep_model::{Action, Collection, PointState, Rules, Scope, State, follow, holds};

fn model(scope: Scope) -> Collection {
    Collection { rules: Rules::ALL, scope: Scope { is_trace: true, ..scope } }
}

fn writer(number: u8, actions: &[nightkeep_model::WriterAction]) -> Vec<Action> {
    actions.iter().map(|action| Action::Writer(number, *action)).collect()
}

fn collector(number: u8, actions: &[nightkeep_model::CollectorAction]) -> Vec<Action> {
    actions.iter().map(|action| Action::Collector(number, *action)).collect()
}

fn end_of(model: &Collection, trace: &[Vec<Action>]) -> State {
    let state = follow(model, &trace.concat()).unwrap();
    assert_eq!(holds(model, &state), Vec::<&str>::new());
    state
}

const UP_TO_SENDING: &[nightkeep_model::WriterAction] = &[Register, ReadGeneration, Upload, Send];

/// Duplicacy 8985, <https://forum.duplicacy.com/t/8985>: two backups run when a collection begins; the first one ends
/// and vouches for the client, so the chunk that only the second one reuses is deleted, and the second ends damaged.
///
/// Here the fence names the second session itself: its first point is flagged, it sends again, and ends whole.
#[test]
fn scenario_08_the_slower_of_two_backups_learns_what_was_deleted_and_ends_whole() {
    let model = model(Scope { writers: 2, ..Scope::SMALLEST });
    let state = end_of(
        &model,
        &[
            writer(1, &[Register, ReadGeneration, Upload]),
            collector(0, &[Survey, Publish]),
            writer(0, UP_TO_SENDING),
            vec![Action::Arrives(0)],
            writer(0, &[Hear, ReadFences, Close]),
            collector(0, &[ListSessions, Fence, ListAgain, Decide, Delete]),
            writer(1, &[Send]),
            vec![Action::Arrives(2)],
            writer(1, &[Hear, ReadFences]),
            writer(1, UP_TO_SENDING),
            vec![Action::Arrives(3)],
            writer(1, &[Hear, ReadFences, Close]),
        ],
    );
    assert_eq!([0, 2, 3].map(|session| state.points[session].state), {
        use PointState::{Trusted, Visible};
        [Trusted, Visible, Trusted]
    });
    assert_ne!(state.points[2].packs & !state.stored, 0, "the first point lost what it had reused");
}

/// Duplicacy 9500, <https://forum.duplicacy.com/t/9500>: a collection stalls before it deletes; a second one collects
/// what was put meanwhile; the first one wakes and deletes what a backup found alive between the two.
///
/// Here a decision names packs, names never come back, and the second collection is a generation of its own.
#[test]
fn scenario_09_a_collection_that_stalled_deletes_only_what_its_own_decision_names() {
    let scope = Scope { writers: 2, collectors: 2, orphans: 1, old_point: true, ..Scope::SMALLEST };
    let model = model(scope);
    let state = end_of(
        &model,
        &[
            collector(0, &[Survey, Publish, ListSessions, Fence, ListAgain, Decide]),
            writer(0, UP_TO_SENDING),
            vec![Action::Arrives(0)],
            writer(0, &[Hear, ReadFences, Close]),
            // A backup that found the old point's pack alive, and a collector that finds the point forgotten.
            writer(1, &[Register, ReadGeneration, Upload]),
            vec![Action::Forget],
            // The first collector wakes only now.
            collector(0, &[Delete]),
            writer(1, &[Send]),
            vec![Action::Arrives(2)],
            writer(1, &[Hear, ReadFences, Close]),
        ],
    );
    assert_eq!(state.deleted, 1, "the pack of its own decision and no other");
    assert_eq!(state.points[2].state, PointState::Trusted);
}

/// Two collectors at once: whoever publishes second begins again and helps, and there is one decision.
#[test]
fn scenario_09_of_two_collectors_one_generation_wins_and_the_other_helps() {
    let model = model(Scope { collectors: 2, orphans: 2, moods: true, ..Scope::SMALLEST });
    let state = end_of(
        &model,
        &[
            collector(0, &[Survey]),
            collector(1, &[SurveyForOne, Publish]),
            collector(0, &[Publish, Help, ListSessions, Fence, ListAgain]),
            collector(1, &[ListSessions, Fence, ListAgain, Decide]),
            collector(0, &[Decide, Delete]),
        ],
    );
    assert_eq!((state.newest, state.deleted), (1, 1));
}

/// Killed after any step, the next collector takes over and ends the same way.
#[test]
fn scenario_10_a_collection_that_was_killed_is_ended_by_the_next_collector() {
    let steps = [Survey, Publish, ListSessions, Fence, ListAgain, Decide];
    for done in 0..=steps.len() {
        let model = model(Scope { collectors: 2, ..Scope::SMALLEST });
        let rest: &[_] = match done {
            0 | 1 => &[Survey, Publish, ListSessions, Fence, ListAgain, Decide, Delete],
            2..=5 => &[Help, ListSessions, Fence, ListAgain, Decide, Delete],
            _ => &[nightkeep_model::CollectorAction::Resume, Delete],
        };
        let state = end_of(&model, &[collector(0, &steps[..done]), collector(1, rest)]);
        assert_eq!((state.newest, state.deleted), (1, 1), "killed after {done} steps");
    }
}

/// A laptop sleeps with its point in doubt while its session is fenced and two collections pass.
#[test]
fn scenario_05_a_point_that_arrives_days_later_is_flagged_and_its_machine_sends_again() {
    let model = model(Scope { generations: 2, old_point: true, ..Scope::SMALLEST });
    let collection = [Survey, Publish, ListSessions, Fence, ListAgain, Decide, Delete];
    let state = end_of(
        &model,
        &[
            writer(0, UP_TO_SENDING),
            collector(0, &collection),
            vec![Action::Forget],
            collector(0, &collection),
            vec![Action::Arrives(0)],
            writer(0, &[Hear, ReadFences]),
            writer(0, UP_TO_SENDING),
            vec![Action::Arrives(1)],
            writer(0, &[Hear, ReadFences, Close]),
        ],
    );
    assert_eq!([0, 1].map(|session| state.points[session].state), [PointState::Visible, PointState::Trusted]);
}
