//! Occurrences that nobody served.
//!
//! Invariant: a run that starts before the next occurrence serves this one, however late; a running backup, an allowed
//! pause and maintenance never make a miss, nor does the wait for another plan's backup.

use chrono::{DateTime, Duration, Utc};

use crate::span::{Span, covered};
use crate::thresholds::MissedRule;

use super::RunRecord;

/// An occurrence that nobody served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedOccurrence {
    /// Its scheduled time.
    pub occurrence: DateTime<Utc>,
    /// How long the machine was online until the next one, or until now.
    pub online: Duration,
}

/// Which of these occurrences were missed, as of now. `occurrences` ascend, all after the plan was applied and none after
/// now; `exempt` are allowed pauses and maintenance; `busy` is when the machine backed up by other plans, of which one runs
/// at a time; `online` is when the machine was heard.
pub fn missed_occurrences(
    occurrences: &[DateTime<Utc>],
    runs: &[RunRecord],
    exempt: &[Span],
    busy: &[Span],
    online: &[Span],
    rule: &MissedRule,
    now: DateTime<Utc>,
) -> Vec<MissedOccurrence> {
    let ends = occurrences.iter().skip(1).copied().map(Some).chain([None]);
    let windows = occurrences.iter().zip(ends).map(|(from, end)| (Span::new(*from, end.unwrap_or(now)), end.is_some()));
    let missed = windows.filter(|(window, passed)| {
        let could_run = window.length() - covered(busy, window);
        let judged = *passed || (!rule.needs_next && could_run >= rule.grace());
        judged && !served(window, *passed, runs) && !is_exempt(window, exempt)
    });
    let missed =
        missed.map(|(window, _)| MissedOccurrence { occurrence: window.from, online: covered(online, &window) });
    missed.filter(|missed| missed.online >= rule.online_min()).collect()
}

/// How many of the latest occurrences were missed without one between them that was served.
pub fn missed_in_a_row(occurrences: &[DateTime<Utc>], missed: &[MissedOccurrence], runs: &[RunRecord]) -> usize {
    let last_served = occurrences
        .iter()
        .enumerate()
        .rev()
        .find(|(i, from)| {
            let end = occurrences.get(i + 1);
            let window = Span::new(**from, end.copied().unwrap_or(DateTime::<Utc>::MAX_UTC));
            served(&window, end.is_some(), runs)
        })
        .map(|(_, from)| *from);
    missed.iter().filter(|m| last_served.is_none_or(|served| m.occurrence > served)).count()
}

/// A run that starts in the window serves it; one that was going on at its start does too, and one that was started for it.
fn served(window: &Span, bounded: bool, runs: &[RunRecord]) -> bool {
    runs.iter().any(|run| {
        let starts_inside = run.started >= window.from && (!bounded || run.started < window.until);
        let goes_on = run.started < window.from && run.ended.is_none_or(|(at, _)| at > window.from);
        starts_inside || goes_on || run.occurrence == Some(window.from)
    })
}

fn is_exempt(window: &Span, exempt: &[Span]) -> bool {
    exempt.iter().any(|span| span.contains(window.from))
}
