//! From facts to the verdict on a machine.

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::report::Outcome;
use nightkeep_wire::status::{Bucket, Overlay};

use super::facts::{Agent, Facts, RunResult};
use super::plan::judge_plan;
use super::sane::sane_facts;
use super::verdict::{PlanVerdict, Silence, Verdict};
use crate::words;

/// Every machine is heard at least every six minutes; two of these and a little.
const OFFLINE_AFTER: Duration = Duration::minutes(15);

/// Judges a machine as of `now`.
pub fn judge(facts: &Facts<'_>, now: DateTime<Utc>) -> Verdict {
    let facts = &sane_facts(facts, now);
    let plans: Vec<PlanVerdict> = facts.plans.iter().map(|plan| judge_plan(facts, plan, now)).collect();
    let (bucket, reason) = bucket_of(facts, &plans, now);
    let last = facts.plans.iter().flat_map(|p| &p.results).max_by_key(|r| r.finished);
    let worst_failure = plans.iter().max_by_key(|p| p.errors_in_a_row);
    let missed_in_a_row = plans.iter().map(|p| p.missed_in_a_row).max().unwrap_or(0);
    let awaits_first_backup = bucket == Bucket::NotProtected && plans.iter().any(|p| p.awaits_first_backup);
    Verdict {
        overlays: overlays(facts, awaits_first_backup, now),
        last_backup: last.map(|r| r.finished),
        last_outcome: last.map(|r| r.outcome),
        next_backup: facts.plans.iter().filter_map(|p| p.next_start).min(),
        newest_point: facts.plans.iter().filter_map(|p| p.newest_point).max(),
        missed_in_a_row,
        missed_alarm: missed_in_a_row >= facts.thresholds.missed.in_a_row,
        errors_in_a_row: worst_failure.map_or(0, |p| p.errors_in_a_row),
        error_class: worst_failure.and_then(|p| p.error_class),
        awaits_first_backup,
        silence: silence(facts, now),
        bucket,
        reason,
        plans,
    }
}

fn bucket_of(facts: &Facts<'_>, plans: &[PlanVerdict], now: DateTime<Utc>) -> (Bucket, String) {
    match facts.agent {
        Agent::Absent => return (Bucket::WithoutAgent, "no agent is installed".to_owned()),
        Agent::Unregistered | Agent::Enrolled { .. } if plans.is_empty() => {
            return (Bucket::WithoutPlan, "no plan is applied".to_owned());
        }
        Agent::Unregistered => {
            return (Bucket::NotProtected, "the agent is not registered; enrol it again".to_owned());
        }
        Agent::Enrolled { .. } => {}
    }
    if facts.plans.iter().all(|p| !p.plan.schedule.enabled) {
        return (Bucket::NotProtected, "every plan's schedule is switched off".to_owned());
    }
    let (bucket, reason) = worst(plans);
    match pause_warning(facts, now) {
        Some(text) if bucket == Bucket::Ok => (Bucket::Warning, text),
        Some(_) | None => (bucket, reason),
    }
}

/// The worst plan speaks for the machine. A plan whose first backup is pending is no news beside one that has points.
fn worst(plans: &[PlanVerdict]) -> (Bucket, String) {
    let settled = plans.iter().filter(|p| !p.awaits_first_backup).min_by_key(|p| p.bucket);
    let verdict = settled.or_else(|| plans.first());
    verdict.map_or((Bucket::WithoutPlan, "no plan is applied".to_owned()), |p| (p.bucket, p.reason.clone()))
}

fn pause_warning(facts: &Facts<'_>, now: DateTime<Utc>) -> Option<String> {
    let pause = facts.pause.filter(|p| p.from <= now && p.until.is_none_or(|until| now < until))?;
    let limit = Duration::seconds(facts.thresholds.pause_seconds_max.into());
    let asked = pause.until.map_or(now - pause.from, |until| until - pause.from);
    (asked > limit)
        .then(|| format!("backups are paused for {}, allowed are {}", words::span(asked), words::span(limit)))
}

fn overlays(facts: &Facts<'_>, awaits_first_backup: bool, now: DateTime<Utc>) -> Vec<Overlay> {
    let mut overlays = Vec::new();
    let running = facts.plans.iter().filter_map(|p| p.running).max_by_key(|r| r.progressed_at);
    if let Some(running) = running {
        overlays.push(Overlay::BackingUp { percent: running.percent });
    }
    if awaits_first_backup {
        overlays.push(Overlay::FirstBackup { ready_about: running.and_then(|r| r.ready_about) });
    }
    if let Some(pause) = facts.pause.filter(|p| p.from <= now && p.until.is_none_or(|until| now < until)) {
        overlays.push(Overlay::Paused { until: pause.until });
    }
    if let Agent::Enrolled { at, last_heard } = facts.agent
        && now - last_heard.unwrap_or(at) > OFFLINE_AFTER
    {
        overlays.push(Overlay::Offline { last_heard });
    }
    overlays
}

fn silence(facts: &Facts<'_>, now: DateTime<Utc>) -> Option<Silence> {
    let Agent::Enrolled { at, last_heard } = facts.agent else { return None };
    let days = u32::try_from((now - last_heard.unwrap_or(at)).num_days()).unwrap_or(0);
    if days >= facts.thresholds.silent_ticket_days {
        Some(Silence::ChaseOrRetire { days })
    } else if days >= facts.thresholds.silent_listed_days {
        Some(Silence::Listed { days })
    } else {
        None
    }
}

/// The last result that says something about protection: a person's stop and an interruption do not.
pub(super) fn last_decisive(results: &[RunResult]) -> Option<&RunResult> {
    results.iter().filter(|r| is_decisive(r.outcome)).max_by_key(|r| r.finished)
}

/// Failed runs since the last that made a point.
pub(super) fn errors_in_a_row(results: &[RunResult]) -> u32 {
    let mut decisive: Vec<_> = results.iter().filter(|r| is_decisive(r.outcome)).collect();
    decisive.sort_by_key(|r| std::cmp::Reverse(r.finished));
    let failed = decisive.iter().take_while(|r| r.outcome == Outcome::Error).count();
    u32::try_from(failed).unwrap_or(u32::MAX)
}

fn is_decisive(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok | Outcome::Warning | Outcome::Error => true,
        Outcome::Cancelled | Outcome::Interrupted => false,
    }
}
