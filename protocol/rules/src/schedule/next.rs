//! What the agent does next for one plan.
//!
//! Invariant: an occurrence is served at most once, and a manual run that starts after it serves it too. A machine that
//! slept through many occurrences catches up once, a little after it came up. Clocks that jump forward are times that pass
//! at once; clocks that are put back take what was dated in the future with them ([`redated`]).

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::plan::{CatchUp, Plan, Retries, Schedule};
use nightkeep_wire::report::{Cause, Outcome};

use super::{Timetable, catch_up_delay};
use crate::span::{CLOCK_TOLERANCE, sane};

/// Up to this late a start is still the scheduled one.
const PUNCTUAL: Duration = Duration::minutes(10);
/// How late a plan without catch-up and without a start window may still start.
const LATE_WITHOUT_CATCH_UP: Duration = Duration::hours(1);
/// An interrupted run is taken up again after this, doubled each time up to an hour.
const RESUME_AFTER: Duration = Duration::minutes(1);
const RESUMES_MAX: usize = 20;

/// A run as the schedule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRecord {
    /// When it started.
    pub started: DateTime<Utc>,
    /// When it ended, and how; none while it runs.
    pub ended: Option<(DateTime<Utc>, Outcome)>,
    /// The scheduled time it was started for, where that is known. It serves this one whatever the clock did meanwhile.
    pub occurrence: Option<DateTime<Utc>>,
}

impl RunRecord {
    /// A run of which only its times are known.
    pub const fn of(started: DateTime<Utc>, ended: Option<(DateTime<Utc>, Outcome)>) -> Self {
        Self { started, ended, occurrence: None }
    }
}

/// What has happened to a plan on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartHistory {
    /// When the plan was applied; earlier occurrences are nobody's.
    pub applied_at: DateTime<Utc>,
    /// Runs in any order; those before the last occurrence but one do not matter.
    pub runs: Vec<RunRecord>,
    /// End of a pause.
    pub paused_until: Option<DateTime<Utc>>,
    /// Since when the machine has been up without a break; none where that is not known.
    pub up_since: Option<DateTime<Utc>>,
}

/// Whether a clock that showed `before` was since put back further than clocks are usually corrected.
pub fn clock_was_put_back(before: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    sane(now) + CLOCK_TOLERANCE < sane(before)
}

/// A run as it is to be remembered once a clock that showed `before` was put back: it happened, but not in the future. It is
/// moved by as much as the clock was, to when it really ran; else a run from three days in a wrong future would pass for the
/// one of those days when they come. What is past stays as it is.
pub fn redated(run: RunRecord, before: DateTime<Utc>, now: DateTime<Utc>) -> RunRecord {
    let latest = sane(run.ended.map_or(run.started, |(at, _)| at.max(run.started)));
    let (before, now) = (sane(before), sane(now));
    if latest <= now {
        return run;
    }
    let back = before.max(latest) - now;
    let earlier = |at: DateTime<Utc>| sane(at) - back;
    RunRecord {
        started: earlier(run.started),
        ended: run.ended.map(|(at, outcome)| (earlier(at), outcome)),
        // A scheduled time that was still to come when it really ran is to be served by itself.
        occurrence: run.occurrence.filter(|at| *at <= earlier(run.started) + CLOCK_TOLERANCE),
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// A run is going on.
    Running,
    /// Start now.
    Start {
        /// The occurrence the run serves.
        occurrence: DateTime<Utc>,
        /// Whether it is on time.
        cause: Cause,
    },
    /// Nothing before then.
    WaitUntil {
        /// When to ask again; also the real minute of the next start, unless a pause reaches beyond it.
        start: DateTime<Utc>,
        /// The occurrence that will be served.
        occurrence: DateTime<Utc>,
    },
    /// The schedule is off, or has no occurrence left.
    Never,
}

/// Decides what to do for a plan. `delay` is [`super::start_delay`] of this machine and plan.
pub fn next_action(
    plan: &Plan,
    timetable: &Timetable,
    delay: Duration,
    history: &StartHistory,
    now: DateTime<Utc>,
) -> NextAction {
    if history.runs.iter().any(|run| run.ended.is_none()) {
        return NextAction::Running;
    }
    let history = &without_future(history, now);
    let due = timetable.latest(now).filter(|occurrence| *occurrence > history.applied_at);
    let start = due.and_then(|occurrence| start_of(occurrence, plan, delay, history, now).map(|at| (occurrence, at)));
    match start {
        Some((occurrence, at)) if at <= now => start_now(occurrence, delay, history, now),
        // Another try of this one, unless the next one comes first.
        Some((occurrence, at)) => {
            let next = upcoming(timetable, delay, history, now);
            let is_before = matches!(next, NextAction::WaitUntil { start, .. } if start < at);
            if is_before { next } else { NextAction::WaitUntil { start: at, occurrence } }
        }
        None => upcoming(timetable, delay, history, now),
    }
}

fn without_future(history: &StartHistory, now: DateTime<Utc>) -> StartHistory {
    let runs = history.runs.iter().filter(|run| run.started <= now + CLOCK_TOLERANCE);
    let runs = runs.map(|run| RunRecord {
        started: sane(run.started),
        ended: run.ended.map(|(at, outcome)| (sane(at), outcome)),
        ..*run
    });
    StartHistory { runs: runs.collect(), ..history.clone() }
}

/// When the due occurrence shall be served; none when it was, or when it is too late for it.
fn start_of(
    occurrence: DateTime<Utc>,
    plan: &Plan,
    delay: Duration,
    history: &StartHistory,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let planned = occurrence + delay;
    let again = match serving(occurrence, &history.runs).as_slice() {
        // It was down at the time: it is not the only one that came up just now.
        [] => match history.up_since.filter(|up| *up > planned) {
            Some(up) => up + catch_up_delay(delay),
            None => planned,
        },
        attempts => retry_at(attempts, &plan.options.task_failure)?,
    };
    let at = again.max(history.paused_until.unwrap_or(again));
    let too_late = latest_start(&plan.schedule).is_some_and(|late| now.max(at) > planned + late);
    (!too_late).then_some(at)
}

/// Runs that serve the occurrence: those that started at or after it, one that was going on, and one that was started for it
/// before the clock was put back a little. In order of start.
fn serving(occurrence: DateTime<Utc>, runs: &[RunRecord]) -> Vec<RunRecord> {
    let over = |run: &RunRecord| {
        let before = run.started < occurrence && run.ended.is_some_and(|(at, _)| at <= occurrence);
        before && run.occurrence.is_none_or(|meant| meant < occurrence)
    };
    let mut serving: Vec<_> = runs.iter().copied().filter(|run| !over(run)).collect();
    serving.sort_by_key(|run| run.started);
    serving
}

/// When an occurrence that was tried is tried again; none when it was served or no try is left.
fn retry_at(attempts: &[RunRecord], failure: &Retries) -> Option<DateTime<Utc>> {
    let (ended, outcome) = attempts.last()?.ended?;
    let count = |wanted: Outcome| attempts.iter().filter(|run| run.ended.is_some_and(|(_, o)| o == wanted)).count();
    match outcome {
        Outcome::Ok | Outcome::Warning | Outcome::Cancelled => None,
        Outcome::Interrupted => {
            let tries = count(Outcome::Interrupted);
            let doubled = RESUME_AFTER * (1 << tries.saturating_sub(1).min(6));
            (tries <= RESUMES_MAX).then(|| ended + doubled.min(Duration::hours(1)))
        }
        Outcome::Error => {
            let left = failure.enabled && count(Outcome::Error) <= usize::try_from(failure.tries).unwrap_or(usize::MAX);
            left.then(|| ended + Duration::seconds(failure.interval_seconds.into()))
        }
    }
}

/// How long after its planned start an occurrence may still be served; none means until the next one.
fn latest_start(schedule: &Schedule) -> Option<Duration> {
    match (schedule.catch_up, schedule.start_window_seconds) {
        (CatchUp::WhenPossible, _) => None,
        (CatchUp::Never, Some(window)) => Some(Duration::seconds(window.into())),
        (CatchUp::Never, None) => Some(LATE_WITHOUT_CATCH_UP),
    }
}

fn start_now(occurrence: DateTime<Utc>, delay: Duration, history: &StartHistory, now: DateTime<Utc>) -> NextAction {
    let first = serving(occurrence, &history.runs).is_empty();
    let cause = if first && now <= occurrence + delay + PUNCTUAL { Cause::Schedule } else { Cause::CatchUp };
    NextAction::Start { occurrence, cause }
}

fn upcoming(timetable: &Timetable, delay: Duration, history: &StartHistory, now: DateTime<Utc>) -> NextAction {
    let from = now.max(history.applied_at);
    let Some(occurrence) = timetable.after(from).next() else { return NextAction::Never };
    let planned = occurrence + delay;
    NextAction::WaitUntil { start: planned.max(history.paused_until.unwrap_or(planned)), occurrence }
}
