//! A machine as its owner treats it, with the agent's queue on it: one job at a time, the oldest occurrence first.

use chrono::{DateTime, Duration, Utc};
use chrono_tz::Tz;
use nightkeep_rules::schedule::{
    NextAction, RunRecord, StartHistory, Timetable, clock_was_put_back, next_action, redated, start_delay,
};
use nightkeep_rules::span::Span;
use nightkeep_wire::MachineId;
use nightkeep_wire::plan::Plan;
use nightkeep_wire::report::Outcome;

use crate::random::Random;

/// A shorter break is none for the agent.
const BREAK: Duration = Duration::minutes(15);
/// The agent looks this often at least.
const LOOK_AGAIN: Duration = Duration::minutes(60);

/// A run, by the true time.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) plan: usize,
    pub(crate) occurrence: DateTime<Utc>,
    pub(crate) queued: DateTime<Utc>,
    pub(crate) truth: DateTime<Utc>,
    pub(crate) ended: Option<DateTime<Utc>>,
    pub(crate) outcome: Option<Outcome>,
    /// Not one that goes on with an interrupted or failed one.
    pub(crate) is_first: bool,
    /// Grows with each time the clock is put back far.
    pub(crate) epoch: usize,
}

struct Planned {
    plan: Plan,
    timetable: Timetable,
    history: StartHistory,
}

struct Waiting {
    occurrence: DateTime<Utc>,
    plan: usize,
    queued: DateTime<Utc>,
}

struct Running {
    plan: usize,
    occurrence: DateTime<Utc>,
    /// By the machine's clock.
    started: DateTime<Utc>,
    /// By the true time; grows with sleep.
    ends: DateTime<Utc>,
    outcome: Outcome,
    start: usize,
}

/// The machine.
pub(crate) struct Machine {
    random: Random,
    plans: Vec<Planned>,
    pub(crate) delays: Vec<Duration>,
    truth: DateTime<Utc>,
    /// What its clock is ahead of the truth.
    offset: Duration,
    last_seen: DateTime<Utc>,
    up_since: DateTime<Utc>,
    queue: Vec<Waiting>,
    running: Option<Running>,
    epoch: usize,
    pub(crate) starts: Vec<Start>,
    pub(crate) ups: Vec<Span>,
    pub(crate) wrong: Vec<Span>,
    pub(crate) clock_changes: usize,
}

impl Machine {
    pub(crate) fn new(id: MachineId, plans: Vec<Plan>, zone: Tz, from: DateTime<Utc>, random: Random) -> Self {
        let delay = |plan: &Plan| start_delay(id, plan.id, plan.schedule.random_delay_max_seconds);
        let delays = plans.iter().map(delay).collect();
        let planned = |plan: Plan| Planned {
            timetable: Timetable::new(&plan.schedule, zone.name()).unwrap(),
            history: StartHistory { applied_at: from, ..StartHistory::default() },
            plan,
        };
        Self {
            random,
            plans: plans.into_iter().map(planned).collect(),
            delays,
            truth: from,
            offset: Duration::zero(),
            last_seen: from,
            up_since: from,
            queue: Vec::new(),
            running: None,
            epoch: 0,
            starts: Vec::new(),
            ups: Vec::new(),
            wrong: Vec::new(),
            clock_changes: 0,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.truth + self.offset
    }

    pub(crate) fn live_until(&mut self, end: DateTime<Utc>) {
        while self.truth < end {
            let up_for = match self.random.percent(70) {
                true => self.random.span(Duration::minutes(20), Duration::hours(20)),
                false => self.random.span(Duration::hours(20), Duration::hours(90)),
            };
            let from = self.truth;
            self.be_up((from + up_for).min(end));
            self.ups.push(Span::new(from, self.truth));
            let down_for = match self.random.percent(80) {
                true => self.random.span(Duration::minutes(1), Duration::hours(14)),
                false => self.random.span(Duration::hours(14), Duration::hours(80)),
            };
            match self.random.percent(50) {
                true => self.sleep(down_for),
                false => self.power_off(down_for),
            }
        }
    }

    /// Up, with now and then a clock that jumps and is put right again some hours later, or at the end of the stretch.
    fn be_up(&mut self, until: DateTime<Utc>) {
        self.seen();
        if !self.random.percent(15) {
            return self.work_until(until);
        }
        let wait = self.random.span(Duration::zero(), Duration::hours(10));
        self.work_until((self.truth + wait).min(until));
        let from = self.truth;
        let size = match self.random.percent(50) {
            true => self.random.span(Duration::minutes(1), Duration::minutes(59)),
            false => self.random.span(Duration::hours(2), Duration::days(4)),
        };
        let ahead = self.random.percent(50);
        self.put_clock(if ahead { size } else { -size });
        let wait = self.random.span(Duration::minutes(5), Duration::hours(12));
        self.work_until((self.truth + wait).min(until));
        self.put_clock(Duration::zero());
        self.wrong.push(Span::new(from, self.truth));
        self.work_until(until);
    }

    fn put_clock(&mut self, offset: Duration) {
        self.offset = offset;
        self.clock_changes += 1;
        self.seen();
    }

    /// As the daemon notes each sign of life.
    fn seen(&mut self) {
        let now = self.now();
        if clock_was_put_back(self.last_seen, now) {
            self.epoch += 1;
            let before = self.last_seen;
            for planned in &mut self.plans {
                planned.history.runs.iter_mut().for_each(|run| *run = redated(*run, before, now));
            }
            if let Some(running) = &mut self.running {
                running.started = (running.started - (before - now)).min(now);
            }
            self.queue.retain(|waiting| waiting.occurrence <= now);
            self.up_since = now;
        } else if now - self.last_seen > BREAK {
            self.up_since = now;
        }
        self.last_seen = now;
    }

    fn sleep(&mut self, span: Duration) {
        self.truth += span;
        if let Some(running) = &mut self.running {
            running.ends += span;
        }
    }

    fn power_off(&mut self, span: Duration) {
        self.truth += span;
        if let Some(running) = self.running.take() {
            self.end(running, Outcome::Interrupted);
        }
    }

    fn work_until(&mut self, until: DateTime<Utc>) {
        loop {
            let again = self.look();
            let next = again.min(self.running.as_ref().map_or(again, |running| running.ends)).min(until);
            // A moment that is due now is due again a second later.
            self.truth = if next > self.truth { next } else { (self.truth + Duration::seconds(1)).min(until) };
            // Between two of these the daemon looks once a minute, which changes nothing but this.
            self.last_seen = self.now();
            if let Some(running) = self.running.take_if(|running| running.ends <= self.truth) {
                let outcome = running.outcome;
                self.end(running, outcome);
            }
            if self.truth >= until {
                return;
            }
        }
    }

    fn end(&mut self, running: Running, outcome: Outcome) {
        let now = self.now();
        let start = &mut self.starts[running.start];
        (start.ended, start.outcome) = (Some(self.truth), Some(outcome));
        let started = running.started.min(now);
        let occurrence = Some(running.occurrence).filter(|_| start.epoch == self.epoch || running.occurrence <= now);
        let record = RunRecord { started, ended: Some((now, outcome)), occurrence };
        let runs = &mut self.plans[running.plan].history.runs;
        runs.push(record);
        // The daemon forgets as well.
        let forgotten = runs.len().saturating_sub(80);
        runs.drain(..forgotten);
    }

    /// A look at the schedule; answers the true time of the next one.
    fn look(&mut self) -> DateTime<Utc> {
        let now = self.now();
        let mut again = now + LOOK_AGAIN;
        for index in 0..self.plans.len() {
            let busy = self.running.as_ref().is_some_and(|running| running.plan == index);
            if busy || self.queue.iter().any(|waiting| waiting.plan == index) {
                continue;
            }
            let planned = &mut self.plans[index];
            planned.history.up_since = Some(self.up_since);
            match next_action(&planned.plan, &planned.timetable, self.delays[index], &planned.history, now) {
                NextAction::Start { occurrence, .. } => {
                    self.queue.push(Waiting { occurrence, plan: index, queued: self.truth });
                }
                NextAction::WaitUntil { start, .. } => again = again.min(start),
                NextAction::Running | NextAction::Never => {}
            }
        }
        self.start_next();
        again - self.offset
    }

    fn start_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        self.queue.sort_by_key(|waiting| (waiting.occurrence, waiting.plan));
        if self.queue.is_empty() {
            return;
        }
        let Waiting { occurrence, plan, queued } = self.queue.remove(0);
        let before = self.starts.iter().rev().find(|start| start.plan == plan);
        let goes_on = before.is_some_and(|start| start.occurrence == occurrence && start.epoch == self.epoch);
        self.running = Some(Running {
            plan,
            occurrence,
            started: self.now(),
            ends: self.truth + self.random.span(Duration::minutes(3), Duration::minutes(30)),
            outcome: if self.random.percent(8) { Outcome::Error } else { Outcome::Ok },
            start: self.starts.len(),
        });
        self.starts.push(Start {
            plan,
            occurrence,
            queued,
            truth: self.truth,
            ended: None,
            outcome: None,
            is_first: !goes_on,
            epoch: self.epoch,
        });
    }

    /// Stretches in which it was up and its clock was right; not the first hours after a wrong clock, in which what it
    /// brought is worked off.
    pub(crate) fn right_stretches(&self) -> Vec<Span> {
        let mut right = Vec::new();
        for up in &self.ups {
            let mut from = up.from;
            for wrong in self.wrong.iter().filter(|wrong| wrong.until > up.from && wrong.from < up.until) {
                right.push(Span::new(from, wrong.from));
                from = wrong.until;
            }
            right.push(Span::new(from, up.until));
        }
        right.retain(|span| span.from < span.until);
        right
    }
}
