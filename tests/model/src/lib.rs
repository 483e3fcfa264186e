//! The collection protocol (FORMAT.md, "Write order" and "Collection") as a model whose every interleaving is checked.
//!
//! **Invariant**: one action is one request to the store and nothing more. A process may stop for good before any of
//! its actions, a put of a recovery point may arrive at any later time, and nobody reads a clock.

mod collector;
mod merging;
mod moves;
mod properties;
mod rules;
mod run;
mod state;
mod writer;

pub use collector::CollectorAction;
pub use merging::Merging;
pub use moves::Move;
pub use properties::{FLAGGED, GREEDY, TRUSTED};
pub use rules::{Rules, Scope};
pub use run::{Outcome, check, follow, holds};
pub use state::{Packs, PointState, State};
pub use writer::WriterAction;

use stateright::{Model, Property};

/// The protocol under `rules`, as large as `scope`.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Which rules hold; all of them in the protocol itself.
    pub rules: Rules,
    /// How many of everything.
    pub scope: Scope,
}

/// One request of one process, or something the world does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A writer's next step.
    Writer(u8, WriterAction),
    /// A collector's next step.
    Collector(u8, CollectorAction),
    /// The put of this session's point arrives, however late.
    Arrives(u8),
    /// The owner forgets the old point.
    Forget,
    /// The partial point of this session expires.
    Expires(u8),
    /// The fenced session was silent for long.
    FallsSilent(u8),
    /// The records of a silent session are deleted.
    Swept(u8),
}

impl Model for Collection {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for writer in 0..self.scope.writers {
            writer::actions(self, state, writer, |action| actions.push(Action::Writer(writer, action)));
        }
        for collector in 0..self.scope.collectors {
            let push = |action| actions.push(Action::Collector(collector, action));
            collector::actions(self, state, collector, push);
        }
        for session in 0..self.scope.sessions() {
            if state.points[usize::from(session)].state == PointState::Sent {
                actions.push(Action::Arrives(session));
            }
            if state.partials & 1 << session != 0 {
                actions.push(Action::Expires(session));
            }
            if self.scope.silences && state.open() & state.fenced() & !state.silent & 1 << session != 0 {
                actions.push(Action::FallsSilent(session));
            }
            if state.is_sweepable(&self.rules, &self.scope, session) {
                actions.push(Action::Swept(session));
            }
        }
        if state.old_point.is_some() {
            actions.push(Action::Forget);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Writer(writer, action) => writer::step(self, &mut next, writer, action),
            Action::Collector(collector, action) => collector::step(self, &mut next, collector, action),
            Action::Arrives(session) => arrive(&self.scope, &mut next, session),
            Action::FallsSilent(session) => next.silent |= 1 << session,
            Action::Swept(session) => next.swept |= 1 << session,
            Action::Forget => next.old_point = None,
            Action::Expires(session) => next.partials &= !(1 << session),
        }
        // States that differ only in which of two equal processes is which are one state.
        Some(if self.scope.is_trace { next } else { next.canonical(&self.scope) })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// A point whose sequence another one took is refused, as every put is create-only.
fn arrive(scope: &Scope, state: &mut State, session: u8) {
    let sequence = state.points[usize::from(session)].sequence;
    let mut others = scope.sessions_of(scope.writer(session), scope.attempts - 1).map(|s| state.points[usize::from(s)]);
    let is_taken = others.any(|point| point.state >= PointState::Visible && point.sequence == sequence);
    state.points[usize::from(session)].state = if is_taken { PointState::Refused } else { PointState::Visible };
}
