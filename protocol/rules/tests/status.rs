//! The status as a table of cases, and the sum over all buckets.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::span::Span;
use nightkeep_rules::status::{Agent, Facts, Pause, PlanFacts, RunResult, Running, Silence, Tally, judge};
use nightkeep_rules::thresholds::Thresholds;
use nightkeep_wire::machine::MachineClass::{self, Server, Vm, Workstation};
use nightkeep_wire::plan::{Plan, Schedule, ZoneChoice};
use nightkeep_wire::report::{ErrorClass, Outcome};
use nightkeep_wire::status::Bucket::{self, Error, NotProtected, Ok, Warning, WithoutAgent, WithoutPlan};
use nightkeep_wire::status::Overlay;
use proptest::prelude::*;

/// Friday noon; the plans run every day at 23:00.
const NOW: &str = "2026-11-20T12:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn ago(hours: i64) -> DateTime<Utc> {
    at(NOW) - Duration::hours(hours)
}

fn plan(cron: &str) -> Plan {
    let schedule = Schedule { zone: ZoneChoice::Named("UTC".into()), ..Schedule::cron(cron) };
    Plan { schedule, ..Plan::default_plan() }
}

fn nightly() -> Plan {
    plan("0 0 23 * * *")
}

fn result(hours_ago: i64, outcome: Outcome) -> RunResult {
    RunResult {
        started: ago(hours_ago) - Duration::minutes(30),
        finished: ago(hours_ago),
        outcome,
        finding_count: if outcome == Outcome::Warning { 3 } else { 0 },
        error: (outcome == Outcome::Error).then(|| "disk full".to_owned()),
        error_class: (outcome == Outcome::Error).then_some(ErrorClass::Storage),
    }
}

/// Applied weeks ago, backed up at 23:15 every night.
fn good(plan: &Plan) -> PlanFacts<'_> {
    PlanFacts {
        plan,
        applied_at: ago(40 * 24),
        refused: None,
        results: (0..10).map(|night| result(12 + 24 * night, Outcome::Ok)).collect(),
        running: None,
        newest_point: Some(ago(12) - Duration::minutes(30)),
        next_start: Some(ago(-11)),
    }
}

/// Nothing has been backed up for so many hours.
fn stale(plan: &Plan, hours: i64) -> PlanFacts<'_> {
    PlanFacts { results: vec![result(hours, Outcome::Ok)], newest_point: Some(ago(hours)), ..good(plan) }
}

/// Applied so many hours ago, nothing done yet.
fn fresh(plan: &Plan, hours: i64) -> PlanFacts<'_> {
    PlanFacts { results: vec![], newest_point: None, applied_at: ago(hours), ..good(plan) }
}

fn with_last(plan: &Plan, outcome: Outcome) -> PlanFacts<'_> {
    let mut facts = good(plan);
    facts.results.push(result(1, outcome));
    facts
}

fn running(progressed_hours_ago: i64) -> Option<Running> {
    Some(Running {
        started: ago(progressed_hours_ago + 1),
        percent: Some(37),
        progressed_at: ago(progressed_hours_ago),
        ready_about: None,
    })
}

fn machine<'a>(class: MachineClass, plans: Vec<PlanFacts<'a>>) -> Facts<'a> {
    Facts {
        class,
        thresholds: Thresholds::for_class(class),
        zone: "UTC",
        agent: Agent::Enrolled { at: ago(50 * 24), last_heard: Some(ago(0)) },
        plans,
        online: vec![Span::new(ago(50 * 24), ago(0))],
        maintenance: vec![],
        pause: None,
    }
}

/// Online from nine to five on the last `days` days.
fn office_hours(days: i64) -> Vec<Span> {
    let day = |n| at("2026-11-20T09:00:00Z") - Duration::days(n);
    (0..days).map(|n| Span::new(day(n), day(n) + Duration::hours(8))).collect()
}

struct Row<'a> {
    name: &'static str,
    facts: Facts<'a>,
    bucket: Bucket,
    /// A part of the reason.
    reason: &'static str,
}

fn row<'a>(name: &'static str, facts: Facts<'a>, bucket: Bucket, reason: &'static str) -> Row<'a> {
    Row { name, facts, bucket, reason }
}

fn check(rows: Vec<Row<'_>>) {
    for row in rows {
        let verdict = judge(&row.facts, at(NOW));
        assert_eq!(verdict.bucket, row.bucket, "{}: {}", row.name, verdict.reason);
        assert!(verdict.reason.contains(row.reason), "{}: {:?} lacks {:?}", row.name, verdict.reason, row.reason);
    }
}

#[test]
fn inventory_and_registration() {
    let nightly = nightly();
    let off = Plan { schedule: Schedule { enabled: false, ..nightly.schedule.clone() }, ..nightly.clone() };
    let bad = plan("0 0 23 * * *");
    let bad = Plan { schedule: Schedule { zone: ZoneChoice::Named("Atlantis".into()), ..bad.schedule.clone() }, ..bad };
    let absent = Facts { agent: Agent::Absent, ..machine(Server, vec![]) };
    let absent_with_plan = Facts { agent: Agent::Absent, ..machine(Server, vec![good(&nightly)]) };
    let lost = Facts { agent: Agent::Unregistered, ..machine(Server, vec![good(&nightly)]) };
    let refused = PlanFacts { refused: Some("unknown rule".into()), ..good(&nightly) };
    check(vec![
        row("no agent", absent, WithoutAgent, "no agent"),
        row("no agent, a plan waiting for it", absent_with_plan, WithoutAgent, "no agent"),
        row("an agent, no plan", machine(Server, vec![]), WithoutPlan, "no plan"),
        row("registration gone", lost, NotProtected, "enrol it again"),
        row("schedule off", machine(Server, vec![good(&off)]), NotProtected, "switched off"),
        row("one of two schedules off", machine(Server, vec![good(&off), good(&nightly)]), Ok, "old"),
        row("plan refused by the agent", machine(Server, vec![refused]), Error, "unknown rule"),
        row("zone unknown", machine(Server, vec![good(&bad)]), Error, "Atlantis"),
    ]);
}

#[test]
fn item_83_the_last_result_counts() {
    let nightly = nightly();
    let last = |outcome| machine(Server, vec![with_last(&nightly, outcome)]);
    let worst = machine(Server, vec![good(&nightly), with_last(&nightly, Outcome::Error)]);
    let recovered = {
        let mut facts = good(&nightly);
        facts.results.push(result(36, Outcome::Error));
        machine(Server, vec![facts])
    };
    check(vec![
        row("ok", last(Outcome::Ok), Ok, "newest recovery point is 12 h old"),
        row("warning", last(Outcome::Warning), Warning, "3 findings"),
        row("error", last(Outcome::Error), Error, "failed: disk full; the newest recovery point is 12 h old"),
        row("stopped by a person: as before", last(Outcome::Cancelled), Ok, "12 h old"),
        row("interrupted: as before", last(Outcome::Interrupted), Ok, "12 h old"),
        row("an earlier failure is over", recovered, Ok, "12 h old"),
        row("the worst plan speaks", worst, Error, "disk full"),
    ]);
}

#[test]
fn ok_needs_a_fresh_point_on_a_server() {
    let nightly = nightly();
    let often = plan("0 0 */4 * * *");
    let weekdays = plan("0 0 23 * * Mon-Fri");
    let server = |plan: PlanFacts<'static>| machine(Server, vec![plan]);
    let (nightly, often): (&'static Plan, &'static Plan) = (Box::leak(nightly.into()), Box::leak(often.into()));
    let weekdays: &'static Plan = Box::leak(weekdays.into());
    check(vec![
        row("due 13 h ago, not done", server(stale(nightly, 20)), Warning, "1 backup is overdue for 13 h"),
        row("a VM is a server in this", machine(Vm, vec![stale(nightly, 20)]), Warning, "overdue"),
        row("two late", server(stale(nightly, 40)), Error, "2 backups are overdue"),
        row("three days old", server(stale(nightly, 73)), NotProtected, "newest recovery point is 3 d 1 h old"),
        row("every four hours, 11 h old", server(stale(often, 11)), Ok, "11 h old"),
        row("every four hours, 15 h old", server(stale(often, 15)), Warning, "1 backup is overdue"),
        row("every four hours, 20 h old", server(stale(often, 20)), Error, "overdue"),
        row(
            "last result failed and late: the failure names the cause",
            {
                let mut facts = stale(nightly, 40);
                facts.results.push(result(1, Outcome::Error));
                server(facts)
            },
            Error,
            "disk full",
        ),
        row(
            "a good last result does not help an old point",
            {
                let mut facts = stale(nightly, 90);
                facts.results.push(result(2, Outcome::Ok));
                server(facts)
            },
            NotProtected,
            "3 d 18 h old",
        ),
    ]);
    // Monday noon, the last working day's backup was on Friday night.
    let monday = at("2026-11-23T12:00:00Z");
    let friday = PlanFacts { results: vec![], newest_point: Some(at("2026-11-20T23:10:00Z")), ..good(weekdays) };
    assert_eq!(judge(&server(friday.clone()), monday).bucket, Ok);
    // Three days after it, just before Monday's backup: nothing is late.
    assert_eq!(judge(&server(friday), monday + Duration::hours(12)).bucket, Ok);
}

#[test]
fn a_workstation_is_judged_by_the_days_it_was_online() {
    let nightly = nightly();
    let drawer = Facts { online: vec![], ..machine(Workstation, vec![stale(&nightly, 20 * 24)]) };
    let days = |n| Facts { online: office_hours(n), ..machine(Workstation, vec![stale(&nightly, 30 * 24)]) };
    check(vec![
        row("in a drawer for 20 days", drawer, Ok, "20 d old"),
        row("online on 3 days without a backup", days(3), Ok, "30 d old"),
        row("on 4 days", days(4), Warning, "online on 4 days without a backup"),
        row("on 13 days", days(13), Warning, "13 days"),
        row("on 14 days", days(14), NotProtected, "14 days"),
        row("a server of that age", machine(Server, vec![stale(&nightly, 30 * 24)]), NotProtected, "30 d old"),
    ]);
}

#[test]
fn the_first_backup() {
    let nightly = nightly();
    let first = |facts: PlanFacts<'static>| machine(Server, vec![facts]);
    let nightly: &'static Plan = Box::leak(nightly.into());
    let run = |progressed| PlanFacts { running: running(progressed), ..fresh(nightly, 72) };
    let failed = PlanFacts { results: vec![result(10, Outcome::Error)], ..fresh(nightly, 24) };
    let gone = PlanFacts { newest_point: None, ..good(nightly) };
    let beside = machine(Server, vec![fresh(nightly, 2), good(nightly)]);
    let rows = [
        ("applied just now", first(fresh(nightly, 2)), "starts in 11 h", true),
        ("due 13 h ago", first(fresh(nightly, 20)), "starts in 11 h", true),
        ("running", first(run(1)), "the first backup is running, 37 % done", true),
        ("no progress for a day online", first(run(25)), "makes no progress", false),
        ("never ran in two days", first(fresh(nightly, 48)), "no backup in 2 d", false),
        ("failed", first(failed), "no backup has succeeded yet; the backup 10 h ago failed: disk full", false),
        ("all points gone", first(gone), "no recovery point is left", false),
    ];
    for (name, facts, reason, awaits) in rows {
        let verdict = judge(&facts, at(NOW));
        assert_eq!((verdict.bucket, verdict.awaits_first_backup), (NotProtected, awaits), "{name}: {}", verdict.reason);
        assert!(verdict.reason.contains(reason), "{name}: {}", verdict.reason);
        let overlay = verdict.overlays.iter().any(|o| matches!(o, Overlay::FirstBackup { .. }));
        assert_eq!(overlay, awaits, "{name}");
    }
    let verdict = judge(&beside, at(NOW));
    assert_eq!((verdict.bucket, verdict.awaits_first_backup), (Ok, false), "{}", verdict.reason);
}

#[test]
fn a_first_backup_of_a_sleeping_laptop_is_waited_for() {
    let nightly = nightly();
    let facts = machine(Workstation, vec![PlanFacts { running: running(72), ..fresh(&nightly, 96) }]);
    let asleep = Facts { online: office_hours(2), ..facts };
    assert!(judge(&asleep, at(NOW)).awaits_first_backup);
}

#[test]
fn overlays_do_not_change_the_bucket() {
    let nightly = nightly();
    let mut facts = machine(Server, vec![PlanFacts { running: running(0), ..good(&nightly) }]);
    facts.agent = Agent::Enrolled { at: ago(999), last_heard: Some(ago(1)) };
    facts.pause = Some(Pause { from: ago(1), until: Some(ago(-1)) });
    let verdict = judge(&facts, at(NOW));
    assert_eq!(verdict.bucket, Ok);
    let expected = [
        Overlay::BackingUp { percent: Some(37) },
        Overlay::Paused { until: Some(ago(-1)) },
        Overlay::Offline { last_heard: Some(ago(1)) },
    ];
    assert_eq!(verdict.overlays, expected);
}

#[test]
fn a_pause_beyond_policy_is_a_warning() {
    let nightly = nightly();
    let paused = |from, until| Facts { pause: Some(Pause { from, until }), ..machine(Server, vec![good(&nightly)]) };
    check(vec![
        row("until tomorrow", paused(ago(1), Some(ago(-20))), Ok, "old"),
        row("for two days", paused(ago(1), Some(ago(-47))), Warning, "paused for 2 d, allowed are 1 d"),
        row("without end, for long", paused(ago(30), None), Warning, "paused for 1 d 6 h"),
        row("over", paused(ago(100), Some(ago(2))), Ok, "old"),
        row(
            "an error is worse",
            {
                Facts {
                    pause: Some(Pause { from: ago(30), until: None }),
                    ..machine(Server, vec![with_last(&nightly, Outcome::Error)])
                }
            },
            Error,
            "disk full",
        ),
    ]);
}

#[test]
fn results_and_points_from_a_wrong_clock_hide_nothing() {
    let nightly = nightly();
    let mut ahead = with_last(&nightly, Outcome::Error);
    ahead.results.push(result(-24 * 1000, Outcome::Ok));
    let future_point = PlanFacts { newest_point: Some(ago(-24 * 1000)), ..good(&nightly) };
    check(vec![
        row("a good result in the future", machine(Server, vec![ahead]), Error, "disk full"),
        row(
            "a point in the future",
            machine(Server, vec![future_point]),
            Warning,
            "1000 d ahead; check the machine's clock",
        ),
    ]);
}

#[test]
fn missed_backups_raise_the_monitor_by_class() {
    let nightly = nightly();
    let server = judge(&machine(Server, vec![stale(&nightly, 20)]), at(NOW));
    assert_eq!((server.missed_in_a_row, server.missed_alarm), (1, true));
    let workstation = |hours| judge(&machine(Workstation, vec![stale(&nightly, hours)]), at(NOW));
    assert_eq!((workstation(70).missed_in_a_row, workstation(70).missed_alarm), (2, false));
    assert_eq!((workstation(90).missed_in_a_row, workstation(90).missed_alarm), (3, true));
    let stopped = machine(Server, vec![with_last(&nightly, Outcome::Cancelled)]);
    assert!(!judge(&stopped, at(NOW)).missed_alarm);
}

#[test]
fn waiting_for_another_plan_counts_as_missed_only_after_four_hours_in_which_it_could_have_run() {
    let (nightly, other) =
        (nightly(), Plan { id: "018f3c1e-0000-7000-8000-000000000007".parse().unwrap(), ..plan("0 0 20 * * *") });
    // What was due 13 hours ago waits for a run that began before it and ended so many hours ago.
    let missed = |ended: i64| {
        let long = RunResult { started: ago(14), finished: ago(ended), ..result(ended, Outcome::Ok) };
        let busy = PlanFacts { results: vec![long], newest_point: Some(ago(14)), ..good(&other) };
        judge(&machine(Server, vec![stale(&nightly, 20), busy]), at(NOW)).missed_in_a_row
    };
    assert_eq!([missed(3), missed(5), missed(12)], [0, 1, 1]);
    let busy = PlanFacts {
        results: vec![],
        running: Some(Running { started: ago(14), ..running(0).unwrap() }),
        ..good(&other)
    };
    assert_eq!(judge(&machine(Server, vec![stale(&nightly, 20), busy]), at(NOW)).missed_in_a_row, 0);
}

#[test]
fn a_run_stopped_by_a_person_leaves_its_occurrence_missed() {
    let nightly = nightly();
    let mut facts = stale(&nightly, 20);
    facts.results.push(result(12, Outcome::Cancelled));
    assert_eq!(judge(&machine(Server, vec![facts]), at(NOW)).missed_in_a_row, 1);
}

#[test]
fn errors_are_counted_since_the_last_point_and_keep_their_class() {
    let nightly = nightly();
    let mut facts = good(&nightly);
    facts.results.extend([result(3, Outcome::Error), result(2, Outcome::Interrupted), result(1, Outcome::Error)]);
    let verdict = judge(&machine(Server, vec![facts]), at(NOW));
    assert_eq!((verdict.errors_in_a_row, verdict.error_class), (2, Some(ErrorClass::Storage)));
}

#[test]
fn silence_is_listed_after_two_weeks_and_chased_after_a_month() {
    let nightly = nightly();
    let silent = |days: i64| {
        let agent = Agent::Enrolled { at: ago(99 * 24), last_heard: Some(ago(days * 24)) };
        judge(&Facts { agent, ..machine(Workstation, vec![good(&nightly)]) }, at(NOW)).silence
    };
    assert_eq!(silent(13), None);
    assert_eq!(silent(14), Some(Silence::Listed { days: 14 }));
    assert_eq!(silent(30), Some(Silence::ChaseOrRetire { days: 30 }));
}

#[test]
fn item_83_last_and_next_backup_are_over_all_plans() {
    let nightly = nightly();
    let sooner = PlanFacts { next_start: Some(ago(-2)), ..good(&nightly) };
    let verdict = judge(&machine(Server, vec![good(&nightly), sooner]), at(NOW));
    assert_eq!(verdict.last_backup, Some(ago(12)));
    assert_eq!(verdict.next_backup, Some(ago(-2)));
    assert_eq!(verdict.last_outcome, Some(Outcome::Ok));
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![Outcome::Ok, Outcome::Warning, Outcome::Error, Outcome::Cancelled, Outcome::Interrupted])
}

/// Applied, results, newest point and last movement in hours ago, and which schedule.
type DrawnPlan = (i64, Vec<(i64, Outcome)>, Option<i64>, Option<i64>, usize);

#[derive(Debug, Clone)]
struct Drawn {
    class: MachineClass,
    agent: u8,
    heard: i64,
    plans: Vec<DrawnPlan>,
    online: Vec<(i64, i64)>,
    pause: Option<(i64, Option<i64>)>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let results = prop::collection::vec((0i64..900, any_outcome()), 0..6);
    let plan = (0i64..900, results, prop::option::of(0i64..900), prop::option::of(0i64..99), 0usize..3);
    (
        prop::sample::select(MachineClass::ALL.to_vec()),
        0u8..4,
        0i64..2000,
        prop::collection::vec(plan, 0..3),
        prop::collection::vec((-10i64..900, 0i64..200), 0..5),
        prop::option::of((-5i64..200, prop::option::of(-100i64..200))),
    )
        .prop_map(|(class, agent, heard, plans, online, pause)| Drawn {
            class,
            agent,
            heard,
            plans,
            online,
            pause,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the facts: one bucket each, a reason each, and the sum is the machine count.
    #[test]
    fn item_88_buckets_sum_up_to_the_machines(fleet in prop::collection::vec(drawn(), 0..20)) {
        let schedules = [plan("0 0 23 * * Mon-Fri"), plan("0 0 */4 * * *"), nightly()];
        let verdicts: Vec<_> = fleet.iter().map(|drawn| judge(&build(drawn, &schedules), at(NOW))).collect();
        let tally: Tally = verdicts.iter().map(|v| v.bucket).collect();
        prop_assert_eq!(tally.total(), fleet.len() as u64);
        prop_assert_eq!(Bucket::ALL.iter().map(|b| tally.of(*b)).sum::<u64>(), fleet.len() as u64);
        for (verdict, drawn) in verdicts.iter().zip(&fleet) {
            prop_assert!(!verdict.reason.is_empty());
            prop_assert!(verdict.bucket != Ok || verdict.newest_point.is_some(), "OK without a point");
            prop_assert_eq!(verdict.bucket == WithoutAgent, drawn.agent == 0);
        }
    }

    /// Times that no clock ever showed upset nothing.
    #[test]
    fn absurd_times_are_judged_without_a_panic(drawn in drawn(), which in 0usize..6, late in any::<bool>()) {
        let schedules = [plan("0 0 23 * * Mon-Fri"), plan("0 0 */4 * * *"), nightly()];
        let mut facts = build(&drawn, &schedules);
        let absurd = if late { DateTime::<Utc>::MAX_UTC } else { DateTime::<Utc>::MIN_UTC };
        match which {
            0 => facts.pause = Some(Pause { from: absurd, until: Some(absurd) }),
            1 => facts.agent = Agent::Enrolled { at: absurd, last_heard: Some(absurd) },
            2 => facts.online.push(Span::new(absurd, ago(0))),
            3 => facts.plans.iter_mut().for_each(|p| p.newest_point = Some(absurd)),
            4 => facts.plans.iter_mut().for_each(|p| p.applied_at = absurd),
            _ => facts.plans.iter_mut().for_each(|p| {
                p.results.push(RunResult { started: absurd, finished: ago(1), ..result(1, Outcome::Error) });
                p.running = running(0).map(|r| Running { started: absurd, ready_about: Some(absurd), ..r });
            }),
        }
        prop_assert!(!judge(&facts, at(NOW)).reason.is_empty());
    }
}

fn build<'a>(drawn: &Drawn, schedules: &'a [Plan; 3]) -> Facts<'a> {
    let plans = drawn.plans.iter().map(|(applied, results, point, moving, schedule)| PlanFacts {
        applied_at: ago(*applied),
        results: results.iter().map(|(hours, outcome)| result(*hours, *outcome)).collect(),
        newest_point: point.map(ago),
        running: moving.and_then(running),
        ..good(&schedules[*schedule])
    });
    let agent = match drawn.agent {
        0 => Agent::Absent,
        1 => Agent::Unregistered,
        2 => Agent::Enrolled { at: ago(2000), last_heard: None },
        _ => Agent::Enrolled { at: ago(2000), last_heard: Some(ago(drawn.heard)) },
    };
    Facts {
        agent,
        online: drawn.online.iter().map(|(from, hours)| Span::new(ago(*from), ago(*from - *hours))).collect(),
        pause: drawn.pause.map(|(from, until)| Pause { from: ago(from), until: until.map(ago) }),
        ..machine(drawn.class, plans.collect())
    }
}
