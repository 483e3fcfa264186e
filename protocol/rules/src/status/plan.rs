//! From facts to the verdict on one plan of a machine.
//!
//! Invariant: OK needs a fresh restorable point; a good last result alone is not enough.

use chrono::{DateTime, Duration, Utc};
use nightkeep_wire::report::Outcome;
use nightkeep_wire::status::Bucket;

use super::facts::{Facts, PlanFacts, RunResult};
use super::judge::{errors_in_a_row, last_decisive};
use super::verdict::PlanVerdict;
use crate::schedule::{Timetable, missed_in_a_row, missed_occurrences};
use crate::span::{CLOCK_TOLERANCE, Span, covered, online_dates};
use crate::thresholds::Freshness;
use crate::words;

/// Occurrences looked back at: more than two weeks of a run every hour.
const OCCURRENCES_MAX: usize = 400;
/// Occurrences older than this are no longer judged.
const LOOK_BACK: Duration = Duration::days(40);

type Judged = (Bucket, String);

pub(super) fn judge_plan(facts: &Facts<'_>, plan: &PlanFacts<'_>, now: DateTime<Utc>) -> PlanVerdict {
    let failure = last_decisive(&plan.results).filter(|r| r.outcome == Outcome::Error);
    let mut verdict = PlanVerdict {
        plan: plan.id(),
        bucket: Bucket::Error,
        reason: String::new(),
        awaits_first_backup: false,
        missed_in_a_row: 0,
        errors_in_a_row: errors_in_a_row(&plan.results),
        error_class: failure.and_then(|r| r.error_class),
    };
    if let Some(refused) = &plan.refused {
        verdict.reason = format!("the agent cannot run the plan: {refused}");
        return verdict;
    }
    let timetable = match Timetable::new(&plan.plan.schedule, facts.zone) {
        Ok(timetable) => timetable,
        Err(error) => {
            verdict.reason = format!("the plan's schedule cannot be used: {error}");
            return verdict;
        }
    };
    let due = timetable.due(plan.applied_at.max(now - LOOK_BACK), now, OCCURRENCES_MAX);
    verdict.missed_in_a_row = count_missed(facts, plan, &due, now);
    verdict.awaits_first_backup = awaits_first_backup(facts, plan, &due, now);
    (verdict.bucket, verdict.reason) = match plan.newest_point {
        None => (Bucket::NotProtected, without_point(plan, verdict.awaits_first_backup, now)),
        Some(point) => with_point(facts, plan, point, &due, &timetable, now),
    };
    verdict
}

fn count_missed(facts: &Facts<'_>, plan: &PlanFacts<'_>, due: &[DateTime<Utc>], now: DateTime<Utc>) -> u32 {
    let rule = &facts.thresholds.missed;
    let runs: Vec<_> = plan.runs().into_iter().filter(|run| !was_cancelled(run.ended)).collect();
    let exempt: Vec<Span> = facts.maintenance.iter().copied().chain(allowed_pause(facts)).collect();
    let others = facts.plans.iter().filter(|other| other.id() != plan.id()).flat_map(PlanFacts::runs);
    let busy: Vec<Span> = others.map(|run| Span::new(run.started, run.ended.map_or(now, |(at, _)| at))).collect();
    let missed = missed_occurrences(due, &runs, &exempt, &busy, &facts.online, rule, now);
    u32::try_from(missed_in_a_row(due, &missed, &runs)).unwrap_or(u32::MAX)
}

/// A run that a person stopped has not served its occurrence (A-INT 10).
fn was_cancelled(ended: Option<(DateTime<Utc>, Outcome)>) -> bool {
    ended.is_some_and(|(_, outcome)| outcome == Outcome::Cancelled)
}

/// The part of a pause that policy allows.
fn allowed_pause(facts: &Facts<'_>) -> Option<Span> {
    let pause = facts.pause?;
    let longest = pause.from + Duration::seconds(facts.thresholds.pause_seconds_max.into());
    Some(Span::new(pause.from, pause.until.map_or(longest, |until| until.min(longest))))
}

/// No point yet, and that is no trouble so far: nothing was due, or the first backup makes progress, or it could not have
/// run for long enough. A failure ends the wait.
fn awaits_first_backup(facts: &Facts<'_>, plan: &PlanFacts<'_>, due: &[DateTime<Utc>], now: DateTime<Utc>) -> bool {
    if plan.newest_point.is_some() || errors_in_a_row(&plan.results) > 0 || had_point(plan) {
        return false;
    }
    let stalled = Duration::seconds(facts.thresholds.first_backup_stalled_seconds.into());
    let waiting_since = match (plan.running, due.first()) {
        (Some(running), _) => running.progressed_at,
        (None, Some(first_due)) => plan.results.iter().map(|r| r.finished).fold(*first_due, DateTime::max),
        (None, None) => return true,
    };
    covered(&facts.online, &Span::new(waiting_since, now)) < stalled
}

fn had_point(plan: &PlanFacts<'_>) -> bool {
    plan.results.iter().any(|r| matches!(r.outcome, Outcome::Ok | Outcome::Warning))
}

fn without_point(plan: &PlanFacts<'_>, awaits: bool, now: DateTime<Utc>) -> String {
    if let Some(running) = plan.running.filter(|_| awaits) {
        return match running.percent {
            Some(percent) => format!("the first backup is running, {percent} % done"),
            None => "the first backup is running".to_owned(),
        };
    }
    if awaits {
        return match plan.next_start.filter(|at| *at > now) {
            Some(at) => format!("the first backup starts in {}", words::span(at - now)),
            None => "the first backup is pending".to_owned(),
        };
    }
    if had_point(plan) {
        return "no recovery point is left that could be restored".to_owned();
    }
    match last_decisive(&plan.results) {
        Some(failed) => format!("no backup has succeeded yet; {}", failure_text(failed, now)),
        None if plan.running.is_some() => "the first backup makes no progress".to_owned(),
        None => format!("no backup in {} since the plan was applied", words::span(now - plan.applied_at)),
    }
}

fn with_point(
    facts: &Facts<'_>,
    plan: &PlanFacts<'_>,
    point: DateTime<Utc>,
    due: &[DateTime<Utc>],
    timetable: &Timetable,
    now: DateTime<Utc>,
) -> Judged {
    if point > now + CLOCK_TOLERANCE {
        let ahead = words::span(point - now);
        return (
            Bucket::Warning,
            format!("the newest recovery point is dated {ahead} ahead; check the machine's clock"),
        );
    }
    let uncovered: Vec<DateTime<Utc>> = due.iter().copied().filter(|at| *at > point).collect();
    let age = match facts.thresholds.freshness {
        Freshness::Clock { late_after_seconds, error_after_occurrences, not_protected_after_days } => {
            let late_after = Duration::seconds(late_after_seconds.into());
            let late: Vec<_> = uncovered.iter().filter(|at| **at + late_after <= now).collect();
            by_clock(&late, point, error_after_occurrences, Duration::days(not_protected_after_days.into()), now)
        }
        Freshness::OnlineDays { warning_after_days, not_protected_after_days } => {
            let dates = online_dates(&facts.online, &Span::new(point, now), timetable.zone());
            // The day of the point itself is covered by it.
            let day_of_point = point.with_timezone(&timetable.zone()).date_naive();
            let days = dates.range(day_of_point..).filter(|d| **d > day_of_point).count();
            let days = u32::try_from(days).unwrap_or(u32::MAX);
            by_online_days(!uncovered.is_empty(), days, point, (warning_after_days, not_protected_after_days), now)
        }
    };
    let result = by_result(last_decisive(&plan.results), point, now);
    // The worse of the two; on a tie the result speaks, because it names the cause.
    if age.0 < result.0 { age } else { result }
}

fn by_clock(
    late: &[&DateTime<Utc>],
    point: DateTime<Utc>,
    error_after: u32,
    not_protected_after: Duration,
    now: DateTime<Utc>,
) -> Judged {
    let Some(first) = late.first() else { return (Bucket::Ok, String::new()) };
    let age = words::span(now - point);
    if now - point >= not_protected_after {
        return (Bucket::NotProtected, format!("the newest recovery point is {age} old"));
    }
    let late_by = words::span(now - **first);
    let count = words::count(late.len() as u64, "backup is", "backups are");
    let reason = format!("{count} overdue for {late_by}; the newest recovery point is {age} old");
    let many = late.len() >= usize::try_from(error_after).unwrap_or(usize::MAX);
    (if many { Bucket::Error } else { Bucket::Warning }, reason)
}

fn by_online_days(
    due: bool,
    days: u32,
    point: DateTime<Utc>,
    (warning_after, not_protected_after): (u32, u32),
    now: DateTime<Utc>,
) -> Judged {
    let age = words::span(now - point);
    let reason = format!("online on {days} days without a backup; the newest recovery point is {age} old");
    match days {
        _ if !due => (Bucket::Ok, String::new()),
        n if n >= not_protected_after => (Bucket::NotProtected, reason),
        n if n > warning_after => (Bucket::Warning, reason),
        _ => (Bucket::Ok, String::new()),
    }
}

fn by_result(last: Option<&RunResult>, point: DateTime<Utc>, now: DateTime<Utc>) -> Judged {
    let age = words::span(now - point);
    let Some(last) = last else { return (Bucket::Ok, format!("the newest recovery point is {age} old")) };
    match last.outcome {
        Outcome::Error => {
            (Bucket::Error, format!("{}; the newest recovery point is {age} old", failure_text(last, now)))
        }
        Outcome::Warning => {
            let findings = words::count(last.finding_count, "finding", "findings");
            (Bucket::Warning, format!("the backup {} ago ended with {findings}", words::span(now - last.finished)))
        }
        Outcome::Ok | Outcome::Cancelled | Outcome::Interrupted => {
            (Bucket::Ok, format!("the newest recovery point is {age} old"))
        }
    }
}

fn failure_text(failed: &RunResult, now: DateTime<Utc>) -> String {
    let ago = words::span(now - failed.finished);
    match &failed.error {
        Some(error) => format!("the backup {ago} ago failed: {error}"),
        None => format!("the backup {ago} ago failed"),
    }
}
