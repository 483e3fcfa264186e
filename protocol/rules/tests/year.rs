//! A year of a machine that sleeps, is switched off and has its clock put forward and back, with several plans, in zones
//! whose clocks change by an hour, by half an hour, at midnight and for a month of fasting.
//!
//! What is claimed, against occurrences that an oracle finds by walking over the minutes of the year:
//! no occurrence is run to its end twice, also across small corrections of the clock; whenever the machine was up with a right
//! clock for four hours, nothing that was due at their begin is left undone; an idle machine starts in the very second;
//! one awakening brings each plan one catch-up; and a plan that does not catch up never starts late.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]
#![expect(clippy::print_stderr, reason = "the figures and seeds of a simulation belong into its output")]

#[path = "year/machine.rs"]
mod machine;
#[path = "year/oracle.rs"]
mod oracle;
#[path = "year/random.rs"]
mod random;

use chrono::{DateTime, Duration, TimeZone as _, Utc};
use chrono_tz::Tz;
use nightkeep_rules::span::Span;
use nightkeep_wire::plan::{CatchUp, Plan, Retries, Schedule};
use nightkeep_wire::report::Outcome;
use nightkeep_wire::{MachineId, PlanId};
use uuid::Uuid;

use machine::{Machine, Start};
use oracle::{CivilRule, occurrences};
use random::Random;

/// All plans in the queue, half an hour each, the delay, and a retry.
const SLACK: Duration = Duration::hours(4);

/// A day of change lies in each of these years: Brazil gave up its summer time in 2019, at midnight.
const ZONES: [(Tz, i32); 8] = [
    (Tz::Europe__Berlin, 2026),
    (Tz::America__New_York, 2026),
    (Tz::Australia__Lord_Howe, 2026),
    (Tz::Africa__Casablanca, 2026),
    (Tz::Asia__Kolkata, 2026),
    (Tz::Pacific__Chatham, 2026),
    (Tz::America__Sao_Paulo, 2018),
    (Tz::UTC, 2028),
];

fn plan(n: u128, cron: &str) -> Plan {
    let schedule = Schedule { random_delay_max_seconds: 1800, ..Schedule::cron(cron) };
    Plan { id: PlanId::from_uuid(Uuid::from_u128(n)), schedule, ..Plan::default_plan() }
}

/// Hours that clocks skip and repeat, working days, every four hours, midnight; one retries, one does not catch up.
fn plans() -> Vec<(Plan, CivilRule)> {
    let mut retries = plan(2, "0 0 23 * * Mon-Fri");
    retries.options.task_failure = Retries { enabled: true, tries: 1, interval_seconds: 3600 };
    let mut never = plan(4, "0 15 1 * * *");
    never.schedule.catch_up = CatchUp::Never;
    vec![
        (plan(1, "0 30 2 * * *"), CivilRule::daily(2, 30)),
        (retries, CivilRule::on_working_days(23, 0)),
        (plan(3, "0 0 */4 * * *"), CivilRule::hours_apart(4)),
        (never, CivilRule::daily(1, 15)),
        (plan(5, "0 10 0 * * *"), CivilRule::daily(0, 10)),
    ]
}

#[test]
fn nothing_is_missed_while_the_machine_is_on_and_nothing_runs_twice_in_a_year_of_any_zone() {
    let fresh = u64::from_le_bytes(Uuid::new_v4().as_bytes()[..8].try_into().unwrap());
    for (zone, year) in ZONES {
        for seed in [1, 2, 3, fresh] {
            let figures = Year::live(zone, year, seed).judge();
            eprintln!("{zone} {year} seed {seed}: {figures}");
        }
    }
}

/// A year as it was lived.
struct Year {
    name: String,
    plans: Vec<(Plan, CivilRule)>,
    machine: Machine,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    zone: Tz,
}

impl Year {
    fn live(zone: Tz, year: i32, seed: u64) -> Self {
        let from = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
        let until = Utc.with_ymd_and_hms(year + 1, 1, 1, 0, 0, 0).unwrap();
        let plans = plans();
        let only_plans: Vec<Plan> = plans.iter().map(|(plan, _)| plan.clone()).collect();
        let id = MachineId::from_uuid(Uuid::from_u128(seed.into()));
        let mut machine = Machine::new(id, only_plans, zone, from, Random::new(seed ^ zone.name().len() as u64));
        machine.live_until(until);
        Self { name: format!("{zone} {year} seed {seed}"), plans, machine, from, until, zone }
    }

    fn starts(&self, plan: usize) -> impl Iterator<Item = &Start> {
        self.machine.starts.iter().filter(move |start| start.plan == plan)
    }

    fn judge(&self) -> String {
        let (mut all, mut punctual) = (0, 0);
        for (index, (plan, rule)) in self.plans.iter().enumerate() {
            // Plans are applied at the begin: what is due then is nobody's.
            let due = occurrences(rule, self.zone, self.from + Duration::minutes(1), self.until);
            all += due.len();
            self.starts_serve_real_occurrences(index, &due);
            self.none_is_run_twice(index);
            self.one_awakening_brings_one_catch_up(index, &due);
            match plan.schedule.catch_up {
                CatchUp::WhenPossible => self.nothing_is_left_undone(index, &due),
                CatchUp::Never => self.never_starts_late(index),
            }
            punctual += self.an_idle_machine_starts_in_the_very_second(index, &due);
        }
        assert!(punctual > 200, "{}: only {punctual} punctual starts judged", self.name);
        let late = self.machine.starts.iter().filter(|start| start.truth > start.occurrence + SLACK).count();
        let Machine { starts, ups, clock_changes, .. } = &self.machine;
        assert!(starts.len() > 300 && late > 20 && *clock_changes > 10, "{}: a dull year", self.name);
        let (starts, ups) = (starts.len(), ups.len());
        format!(
            "{all} occurrences, {starts} runs, {punctual} of them judged to the second, {late} hours late, up {ups} times, clock put {clock_changes} times"
        )
    }

    /// With a right clock a start is for a moment that the oracle knows, too.
    fn starts_serve_real_occurrences(&self, plan: usize, due: &[DateTime<Utc>]) {
        for start in self.starts(plan).filter(|start| start.occurrence >= self.from && start.occurrence < self.until) {
            assert!(due.binary_search(&start.occurrence).is_ok(), "{}: {start:?} serves no occurrence", self.name);
        }
    }

    /// A clock that was put back by more than an hour begins another count: the same date comes again.
    fn none_is_run_twice(&self, plan: usize) {
        let mut done = std::collections::BTreeSet::new();
        let mut errors = std::collections::BTreeMap::<_, usize>::new();
        for start in self.starts(plan) {
            let key = (start.epoch, start.occurrence);
            assert!(!done.contains(&key), "{}: {start:?} although it was done", self.name);
            match start.outcome {
                Some(Outcome::Ok | Outcome::Warning | Outcome::Cancelled) => _ = done.insert(key),
                Some(Outcome::Error) => {
                    let failed = errors.entry(key).or_default();
                    *failed += 1;
                    let retries = &self.plans[plan].0.options.task_failure;
                    let tries = 1 + if retries.enabled { retries.tries as usize } else { 0 };
                    assert!(*failed <= tries, "{}: {start:?} is one try too many", self.name);
                    if *failed == tries {
                        done.insert(key);
                    }
                }
                // It is taken up again.
                Some(Outcome::Interrupted) | None => {}
            }
        }
    }

    /// At the end of every stretch with a right clock, whatever was due four hours before has been run since it was due.
    fn nothing_is_left_undone(&self, plan: usize, due: &[DateTime<Utc>]) {
        let mut judged = 0;
        for stretch in self.machine.right_stretches() {
            let mut until = stretch.until;
            while until - SLACK >= stretch.from {
                let deadline = until - SLACK;
                let Some(latest) = due[..due.partition_point(|at| *at <= deadline)].last() else { break };
                let serves = |start: &&Start| {
                    let over = start.ended.is_some_and(|ended| ended <= *latest);
                    let since = start.truth < until && (start.truth >= *latest || !over);
                    // Within an hour a clock is as right as clocks are.
                    let near = start.truth > *latest - Duration::hours(1);
                    // A clock that was wrong from the start until past the occurrence lets nobody know that it was early.
                    let hidden = self.machine.wrong.iter().any(|w| w.contains(start.truth) && w.contains(*latest));
                    let early = start.occurrence == *latest && (near || hidden);
                    let whole = start.outcome != Some(Outcome::Interrupted) || start.ended >= Some(until);
                    whole && (since || early)
                };
                // A run that a broken clock brought at that time counts, whatever it was for.
                let served = self.starts(plan).any(|start| serves(&start));
                assert!(served, "{}: {latest} of plan {plan} was left undone in {stretch:?} until {until}", self.name);
                judged += 1;
                until -= Duration::hours(2);
            }
        }
        assert!(judged > 100, "{}: only {judged} judged", self.name);
    }

    fn one_awakening_brings_one_catch_up(&self, plan: usize, due: &[DateTime<Utc>]) {
        for stretch in self.machine.right_stretches() {
            let inside = due.iter().filter(|at| stretch.contains(**at)).count();
            let first = |start: &&Start| stretch.contains(start.queued) && start.is_first;
            let begun = self.starts(plan).filter(first).count();
            assert!(begun <= inside + 1, "{}: {begun} runs for {inside} occurrences in {stretch:?}", self.name);
        }
    }

    fn never_starts_late(&self, plan: usize) {
        let right = self.machine.right_stretches();
        let is_right = |start: &&Start| start.is_first && right.iter().any(|up| up.contains(start.queued));
        for start in self.starts(plan).filter(is_right) {
            let late = start.queued - start.occurrence;
            assert!(late <= Duration::minutes(90), "{}: {start:?} came {late} late", self.name);
        }
    }

    /// Up since before, nothing running or waiting: the start is at occurrence plus delay.
    fn an_idle_machine_starts_in_the_very_second(&self, plan: usize, due: &[DateTime<Utc>]) -> usize {
        let (delay, mut judged) = (self.machine.delays[plan], 0);
        let stretches = self.machine.right_stretches();
        for occurrence in due {
            let planned = *occurrence + delay;
            let quiet = Span::new(*occurrence - Duration::minutes(1), planned + Duration::minutes(1));
            let is_up = stretches.iter().any(|up| up.from <= quiet.from && up.until >= quiet.until);
            let busy = |start: &Start| start.queued <= planned && start.ended.is_none_or(|ended| ended >= *occurrence);
            let others = self.machine.starts.iter().filter(|start| !(start.plan == plan && start.queued == planned));
            let was_done = |start: &Start| start.occurrence == *occurrence && start.truth < *occurrence;
            if !is_up || others.into_iter().any(busy) || self.starts(plan).any(was_done) {
                continue;
            }
            let punctual = self.starts(plan).any(|start| start.truth == planned && start.occurrence == *occurrence);
            assert!(punctual, "{}: {occurrence} of plan {plan} did not start at {planned}", self.name);
            judged += 1;
        }
        judged
    }
}
