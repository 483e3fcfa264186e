//! Running a check and following a trace.

use crate::{Action, Collection, State};
use stateright::{Checker, HasDiscoveries, Model};
use std::fmt::Write;
use std::time::Instant;

/// What a check found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different states seen.
    pub states: usize,
    /// How long it took.
    pub seconds: f64,
    /// The property that was violated first, with the shortest way there.
    pub violation: Option<(&'static str, Vec<Action>)>,
    /// Properties of the kind "possible" that were not met.
    pub never_met: Vec<&'static str>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} states in {:.1} s", self.states, self.seconds)?;
        let Some((property, actions)) = &self.violation else { return Ok(()) };
        write!(f, "; violated: {property}, after {} steps:", actions.len())?;
        actions.iter().try_for_each(|action| write!(f, "\n  {action:?}"))
    }
}

/// Looks at every state, or stops at the first violation.
pub fn check(model: Collection, threads: usize) -> Outcome {
    let begin = Instant::now();
    let checker = model.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut violation = None;
    let mut never_met = Vec::new();
    for property in model.properties() {
        let is_failure = property.expectation.discovery_is_failure();
        match discoveries.get(property.name) {
            Some(path) if is_failure => violation = Some((property.name, path.clone().into_actions())),
            None if !is_failure => never_met.push(property.name),
            Some(_) | None => {}
        }
    }
    Outcome { states: checker.unique_state_count(), seconds: begin.elapsed().as_secs_f64(), violation, never_met }
}

/// Takes the actions in turn; an action that is not possible where it stands is told with the state.
pub fn follow(model: &Collection, actions: &[Action]) -> Result<State, String> {
    let mut state = State::new(&model.scope);
    for (number, action) in actions.iter().enumerate() {
        let mut possible = Vec::new();
        model.actions(&state, &mut possible);
        if !possible.contains(action) {
            let mut story = String::new();
            let _ = write!(story, "step {number}: {action:?} is none of {possible:?} in {state:#?}");
            return Err(story);
        }
        state = model.next_state(&state, *action).unwrap_or(state);
    }
    Ok(state)
}

/// The properties that do not hold in a state.
pub fn holds(model: &Collection, state: &State) -> Vec<&'static str> {
    let failures = model.properties().into_iter().filter(|property| property.expectation.discovery_is_failure());
    failures.filter(|property| !(property.condition)(model, state)).map(|property| property.name).collect()
}
