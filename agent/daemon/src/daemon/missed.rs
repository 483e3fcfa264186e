//! Occurrences that nobody served, told once each, with the reason as far as this machine knows it.

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::schedule::{RunRecord, Timetable, missed_occurrences};
use nightkeep_rules::span::Span;
use nightkeep_rules::thresholds::MissedRule;
use nightkeep_wire::desired::AppliedPlan;
use nightkeep_wire::report::{Missed, MissedReason, Outcome, ReportBody};

use super::state::{AgentState, PlanMemory};
use crate::job::Job;

/// Occurrences looked at at once; a machine that was off for a year tells of the last of them.
const LOOK_BACK: usize = 40;

/// Less time alive than this until the next occurrence counts as off.
const HARDLY_ON: Duration = Duration::minutes(10);

/// An occurrence is judged when the next one has come.
const RULE: MissedRule = MissedRule { in_a_row: 1, grace_seconds: 0, online_seconds_min: 0, needs_next: true };

/// Judges the occurrences that have passed since the last look.
pub(super) fn judge(
    state: &mut AgentState,
    applied: &AppliedPlan,
    machine_zone: &str,
    now: DateTime<Utc>,
) -> impl Iterator<Item = ReportBody> + use<> {
    let plan = applied.plan.id;
    let missed = judge_plan(state, applied, machine_zone, now).unwrap_or_default();
    missed.into_iter().map(move |(occurrence, reason, online)| {
        let online_seconds = u64::try_from(online.num_seconds()).unwrap_or(0);
        ReportBody::Missed(Missed { plan, occurrence, reason, online_seconds })
    })
}

fn judge_plan(
    state: &mut AgentState,
    applied: &AppliedPlan,
    machine_zone: &str,
    now: DateTime<Utc>,
) -> Option<Vec<(DateTime<Utc>, MissedReason, Duration)>> {
    let timetable = Timetable::new(&applied.plan.schedule, machine_zone).ok()?;
    let memory = state.plans.entry(applied.plan.id).or_default();
    // The plan may have been applied long before this state began to remember: nothing is known about that time.
    let judged = memory.judged_through.unwrap_or_else(|| applied.applied_at.max(now - Duration::minutes(1)));
    // The last one that was looked at was judged only when the one after it had come.
    let due = timetable.due(judged - Duration::nanoseconds(1), now, LOOK_BACK);
    let last_judged = due.len().checked_sub(2).map(|n| due[n]);
    memory.judged_through = Some(due.last().copied().unwrap_or(judged).max(judged));
    last_judged?;
    let exempt: Vec<Span> = state.pause.iter().map(|pause| Span::new(pause.from, pause.until)).collect();
    let online = state.online_spans();
    let memory = state.plans.get(&applied.plan.id)?;
    let mut runs = memory.records();
    let own = |job: &&Job| job.plan == applied.plan.id;
    // What waits for its turn is not missed, however long those before it take.
    let waiting = state.queue.iter().filter(own).filter_map(|job| job.occurrence);
    runs.extend(waiting.map(|at| RunRecord { occurrence: Some(at), ..RunRecord::of(at, None) }));
    let running = state.running.iter().filter(own).filter_map(|job| Some((job.started?, job.occurrence)));
    runs.extend(running.map(|(started, occurrence)| RunRecord { started, ended: None, occurrence }));
    let missed = missed_occurrences(&due, &runs, &exempt, &[], &online, &RULE, now);
    let after_applied = missed.into_iter().filter(|missed| missed.occurrence > applied.applied_at);
    Some(after_applied.map(|missed| (missed.occurrence, reason(memory, missed.online), missed.online)).collect())
}

fn reason(memory: &PlanMemory, online: Duration) -> MissedReason {
    if online < HARDLY_ON {
        return MissedReason::MachineOff;
    }
    match memory.runs.back().map(|run| run.outcome) {
        Some(Outcome::Interrupted) => MissedReason::Interrupted,
        Some(Outcome::Ok | Outcome::Warning | Outcome::Error | Outcome::Cancelled) | None => MissedReason::Conditions,
    }
}
