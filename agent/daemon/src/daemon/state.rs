//! What the daemon remembers of its jobs, in one file that is replaced whole.
//!
//! Invariant: a report and the change it tells of are saved together: the file holds the reports that are being handed
//! to the outbox, and a restart hands over those that did not get there, none twice.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, NaiveDate, Utc};
use nightkeep_rules::schedule::{RunRecord, clock_was_put_back, redated};
use nightkeep_rules::span::{CLOCK_TOLERANCE, Span};
use nightkeep_rules::status::RunResult;
use nightkeep_wire::control::LastRun;
use nightkeep_wire::report::{ErrorClass, JobResult, Outcome, ReportBody};
use nightkeep_wire::{CommandId, IncarnationId, MachineId, PlanId, RecoveryPointId};
use serde::{Deserialize, Serialize};

use crate::job::Job;

/// Runs remembered per plan: more than a month of daily ones.
const RUNS_MAX: usize = 80;
/// Commands remembered, so that none is carried out twice.
const COMMANDS_MAX: usize = 500;
/// Stretches of time on-line that are remembered.
const ONLINE_MAX: usize = 200;
/// A gap longer than this between two signs of life ends a stretch: the machine slept or the daemon was off.
const ONLINE_GAP: Duration = Duration::minutes(15);

/// Everything that outlives the process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AgentState {
    /// The machine it is about; another enrolment begins anew.
    pub(crate) machine: Option<MachineId>,
    /// Jobs that wait for their turn.
    pub(crate) queue: VecDeque<Job>,
    /// The job that runs; found at a start it tells that the process was killed.
    pub(crate) running: Option<Job>,
    /// What happened to each plan.
    pub(crate) plans: BTreeMap<PlanId, PlanMemory>,
    /// The pause that goes on or was the last one.
    pub(crate) pause: Option<PauseMemory>,
    /// When people without administrator's rights paused; the last days.
    pub(crate) user_pauses: VecDeque<DateTime<Utc>>,
    /// Commands that were dealt with.
    pub(crate) commands: VecDeque<CommandId>,
    /// Hash of the machine's description that the host has.
    pub(crate) facts_told: Option<String>,
    /// When the daemon was alive.
    pub(crate) online: VecDeque<(DateTime<Utc>, DateTime<Utc>)>,
    /// Reports on their way to the outbox.
    pub(crate) intents: Intents,
}

/// Reports on their way to the outbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Intents {
    /// The life of the numbering they were meant for.
    pub(crate) incarnation: Option<IncarnationId>,
    /// The number the first of them gets.
    pub(crate) from: u64,
    /// In order.
    pub(crate) reports: VecDeque<(DateTime<Utc>, ReportBody)>,
}

impl Intents {
    /// Those that the outbox does not have: a crash came between saving them and recording them.
    pub(crate) fn unrecorded(mut self, incarnation: IncarnationId, next: u64) -> VecDeque<(DateTime<Utc>, ReportBody)> {
        let recorded = match self.incarnation {
            Some(meant) if meant == incarnation => {
                usize::try_from(next.saturating_sub(self.from)).unwrap_or(usize::MAX)
            }
            // The numbering began anew, which takes what waits along; what did not wait was recorded and acknowledged.
            Some(_) | None => usize::MAX,
        };
        self.reports.drain(..recorded.min(self.reports.len()));
        self.reports
    }
}

/// What happened to one plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PlanMemory {
    /// Runs that ended, oldest first.
    pub(crate) runs: VecDeque<RunMemory>,
    /// The revision the host was told about, and whether it was accepted.
    pub(crate) told: Option<(u64, bool)>,
    /// Occurrences up to this one were judged as served or missed.
    pub(crate) judged_through: Option<DateTime<Utc>>,
}

/// A run that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunMemory {
    pub(crate) started: DateTime<Utc>,
    pub(crate) finished: DateTime<Utc>,
    /// The scheduled time it served.
    #[serde(default)]
    pub(crate) occurrence: Option<DateTime<Utc>>,
    pub(crate) outcome: Outcome,
    pub(crate) recovery_point: Option<RecoveryPointId>,
    /// The local date that decided its set.
    pub(crate) date: Option<NaiveDate>,
    pub(crate) finding_count: u64,
    pub(crate) error: Option<String>,
    pub(crate) error_class: Option<ErrorClass>,
    pub(crate) message: String,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PauseMemory {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
    pub(crate) by: String,
    /// Whether an administrator ordered it: then only an administrator ends it early.
    pub(crate) by_administrator: bool,
}

impl PlanMemory {
    /// Notes a run that ended.
    pub(crate) fn note(&mut self, result: &JobResult, message: String) {
        self.runs.push_back(RunMemory {
            started: result.started,
            finished: result.finished,
            // The clock was put back while it ran: that time is still to come, and to be served then.
            occurrence: result.occurrence.filter(|at| *at <= result.finished + CLOCK_TOLERANCE),
            outcome: result.outcome,
            recovery_point: result.recovery_point.clone(),
            date: result.civil.as_ref().map(|civil| civil.date),
            finding_count: result.finding_count,
            error: result.error.clone(),
            error_class: result.error_class,
            message,
        });
        while self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
    }

    /// As the schedule sees them.
    pub(crate) fn records(&self) -> Vec<RunRecord> {
        self.runs.iter().map(RunMemory::record).collect()
    }

    /// The clock was put back: what happened did not happen in the future.
    fn redate(&mut self, before: DateTime<Utc>, now: DateTime<Utc>) {
        for run in &mut self.runs {
            let RunRecord { started, ended, occurrence } = redated(run.record(), before, now);
            run.started = started;
            run.finished = ended.map_or(run.finished, |(at, _)| at);
            run.occurrence = occurrence;
        }
        self.judged_through = self.judged_through.map(|at| at.min(now));
    }

    /// As the status sees them.
    pub(crate) fn results(&self) -> Vec<RunResult> {
        let result = |run: &RunMemory| RunResult {
            started: run.started,
            finished: run.finished,
            outcome: run.outcome,
            finding_count: run.finding_count,
            error: run.error.clone(),
            error_class: run.error_class,
        };
        self.runs.iter().map(result).collect()
    }

    /// The dates on which it made points; none when nothing is remembered.
    pub(crate) fn set_dates(&self) -> Option<Vec<NaiveDate>> {
        if self.runs.is_empty() {
            return None;
        }
        let made = self.runs.iter().filter(|run| run.recovery_point.is_some());
        Some(made.filter_map(|run| run.date).collect())
    }

    /// Start of the run that made the newest point.
    pub(crate) fn newest_point(&self) -> Option<DateTime<Utc>> {
        self.runs.iter().filter(|run| run.recovery_point.is_some()).map(|run| run.started).max()
    }

    /// The last run for the status page.
    pub(crate) fn last(&self) -> Option<LastRun> {
        self.runs.back().map(|run| LastRun {
            finished: run.finished,
            outcome: run.outcome,
            recovery_point: run.recovery_point.clone(),
            message: run.message.clone(),
        })
    }
}

impl RunMemory {
    fn record(&self) -> RunRecord {
        RunRecord { started: self.started, ended: Some((self.finished, self.outcome)), occurrence: self.occurrence }
    }
}

impl AgentState {
    /// Whether a command was dealt with.
    pub(crate) fn knows_command(&self, command: CommandId) -> bool {
        self.commands.contains(&command)
    }

    /// Notes that a command was dealt with.
    pub(crate) fn note_command(&mut self, command: CommandId) {
        self.commands.push_back(command);
        while self.commands.len() > COMMANDS_MAX {
            self.commands.pop_front();
        }
    }

    /// End of a pause that goes on.
    pub(crate) fn paused_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.pause.as_ref().map(|pause| pause.until).filter(|until| *until > now)
    }

    /// A sign of life.
    pub(crate) fn note_online(&mut self, now: DateTime<Utc>) {
        let before = self.online.back().map(|(_, until)| *until);
        if let Some(before) = before.filter(|before| clock_was_put_back(*before, now)) {
            self.clock_put_back(before, now);
        }
        match self.online.back_mut() {
            Some((_, until)) if now >= *until && now - *until <= ONLINE_GAP => *until = now,
            // The clock was put back: the stretch goes on, it must not end before it began.
            Some((from, until)) if now < *until && now >= *from => {}
            Some(_) | None => self.online.push_back((now, now)),
        }
        while self.online.len() > ONLINE_MAX {
            self.online.pop_front();
        }
    }

    /// What is dated in what has become the future is dated anew; what waits for a time that is still to come waits no more.
    fn clock_put_back(&mut self, before: DateTime<Utc>, now: DateTime<Utc>) {
        tracing::warn!(%now, "The clock was put back; runs that seem to lie in the future are dated anew");
        self.plans.values_mut().for_each(|memory| memory.redate(before, now));
        self.queue.retain(|job| job.occurrence.is_none_or(|at| at <= now));
        if let Some(running) = &mut self.running {
            running.started = running.started.map(|at| (at - (before - now)).min(now));
        }
        self.online.retain(|(from, _)| *from < now);
        if let Some((_, until)) = self.online.back_mut() {
            *until = (*until).min(now);
        }
        // A stretch of its own: whether the machine was up before is not known by this clock.
        self.online.push_back((now, now));
    }

    /// Since when the machine has been up without a break.
    pub(crate) fn up_since(&self) -> Option<DateTime<Utc>> {
        self.online.back().map(|(from, _)| *from)
    }

    /// When the daemon was alive.
    pub(crate) fn online_spans(&self) -> Vec<Span> {
        self.online.iter().map(|(from, until)| Span::new(*from, *until)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightkeep_wire::report::PauseState;
    use uuid::Uuid;

    const LIFE: IncarnationId = IncarnationId::from_uuid(Uuid::from_u128(1));

    fn intents(from: u64, count: usize) -> Intents {
        let body = |n: usize| ReportBody::Pause(PauseState { until: None, by: n.to_string() });
        let reports = (0..count).map(|n| (DateTime::UNIX_EPOCH, body(n))).collect();
        Intents { incarnation: Some(LIFE), from, reports }
    }

    #[test]
    fn a_restart_hands_over_what_the_outbox_did_not_get_and_nothing_twice() {
        for (next, left) in [(5, 3), (6, 2), (7, 1), (8, 0), (90, 0)] {
            assert_eq!(intents(5, 3).unrecorded(LIFE, next).len(), left, "next is {next}");
        }
        let other = IncarnationId::from_uuid(Uuid::from_u128(2));
        assert!(intents(5, 3).unrecorded(other, 1).is_empty());
    }

    #[test]
    fn sleep_ends_a_stretch_online_and_a_clock_put_back_does_not() {
        let at = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let mut state = AgentState::default();
        for minute in [0, 1, 5, 3, 6, 60, 61] {
            state.note_online(at(minute));
        }
        assert_eq!(state.online_spans(), [Span::new(at(0), at(6)), Span::new(at(60), at(61))]);
        assert_eq!(state.up_since(), Some(at(60)));
    }

    #[test]
    fn a_clock_put_back_by_days_takes_runs_and_what_waits_out_of_the_future() {
        let at = |hours| DateTime::UNIX_EPOCH + Duration::hours(hours);
        let (mut state, plan) = (AgentState::default(), PlanId::from_uuid(Uuid::from_u128(1)));
        let job = |hours| Job {
            id: nightkeep_wire::JobId::from_uuid(Uuid::from_u128(2)),
            plan,
            cause: nightkeep_wire::report::Cause::Schedule,
            occurrence: Some(at(hours)),
            started: Some(at(hours)),
        };
        let result = job(71).without_point(Outcome::Ok, None, at(72));
        state.plans.entry(plan).or_default().note(&result, String::new());
        state.plans.entry(plan).or_default().judged_through = Some(at(71));
        state.queue.extend([job(70), job(5)]);
        state.note_online(at(73));
        state.note_online(at(10));
        let record = state.plans[&plan].records()[0];
        assert_eq!((record.started, record.occurrence), (at(8), None));
        assert_eq!(record.ended, Some((at(9), Outcome::Ok)));
        assert_eq!(state.plans[&plan].judged_through, Some(at(10)));
        assert_eq!(state.queue.iter().filter_map(|job| job.occurrence).collect::<Vec<_>>(), [at(5)]);
        assert_eq!(state.online_spans(), [Span::new(at(10), at(10))]);
    }
}
