//! Occurrences over daylight saving, delays, what runs next, what was missed.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::schedule::{
    NextAction, RunRecord, StartHistory, Timetable, catch_up_delay, missed_in_a_row, missed_occurrences, next_action,
    redated, start_delay,
};
use nightkeep_rules::span::Span;
use nightkeep_rules::thresholds::{MissedRule, Thresholds};
use nightkeep_wire::machine::MachineClass;
use nightkeep_wire::plan::{CatchUp, Plan, Retries, Schedule, ZoneChoice};
use nightkeep_wire::report::{Cause, Outcome};
use nightkeep_wire::{MachineId, PlanId};
use proptest::prelude::*;
use uuid::Uuid;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn berlin(cron: &str) -> Timetable {
    Timetable::new(&Schedule::cron(cron), "Europe/Berlin").unwrap()
}

fn next(table: &Timetable, from: &str, count: usize) -> Vec<DateTime<Utc>> {
    table.after(at(from)).take(count).collect()
}

#[test]
fn the_default_plan_runs_on_working_days_at_23_local_time() {
    let table = Timetable::new(&Plan::default_plan().schedule, "Europe/Berlin").unwrap();
    // Friday 20 November 2026.
    let expected = ["2026-11-20T23:00:00+01:00", "2026-11-23T23:00:00+01:00", "2026-11-24T23:00:00+01:00"].map(at);
    assert_eq!(next(&table, "2026-11-20T12:00:00+01:00", 3), expected);
    assert_eq!(table.latest(at("2026-11-23T22:59:59+01:00")), Some(at("2026-11-20T23:00:00+01:00")));
    assert_eq!(table.latest(at("2026-11-23T23:00:00+01:00")), Some(at("2026-11-23T23:00:00+01:00")));
}

#[test]
fn the_hour_stays_the_local_one_through_daylight_saving() {
    let table = berlin("0 0 23 * * *");
    let expected = ["2026-10-24T23:00:00+02:00", "2026-10-25T23:00:00+01:00"].map(at);
    assert_eq!(next(&table, "2026-10-24T12:00:00+02:00", 2), expected);
}

#[test]
fn a_time_that_the_clocks_skip_is_served_right_after_the_gap() {
    // 29 March 2026: 02:00 to 03:00 does not exist in Berlin.
    let table = berlin("0 30 2 * * *");
    let expected = ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"].map(at);
    assert_eq!(next(&table, "2026-03-27T12:00:00+01:00", 3), expected);
    assert_eq!(table.latest(at("2026-03-29T03:00:00+02:00")), Some(at("2026-03-29T03:00:00+02:00")));
    assert_eq!(table.latest(at("2026-03-29T01:59:59+01:00")), Some(at("2026-03-28T02:30:00+01:00")));
}

#[test]
fn a_time_that_the_clocks_repeat_is_served_once_the_first_time() {
    // 25 October 2026: 02:00 to 03:00 comes twice in Berlin.
    let table = berlin("0 30 2 * * *");
    let expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"].map(at);
    assert_eq!(next(&table, "2026-10-24T12:00:00+02:00", 2), expected);
    // In the second pass, before and after the repeated minute, it is over.
    assert_eq!(table.latest(at("2026-10-25T02:10:00+01:00")), Some(at("2026-10-25T02:30:00+02:00")));
    assert_eq!(next(&table, "2026-10-25T02:10:00+01:00", 1), [at("2026-10-26T02:30:00+01:00")]);
}

#[test]
fn an_hourly_schedule_gives_each_moment_once_in_a_night_of_change() {
    let table = berlin("0 0 * * * *");
    let spring = next(&table, "2026-03-29T00:30:00+01:00", 3);
    assert_eq!(spring, ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"].map(at));
    let autumn = next(&table, "2026-10-25T01:30:00+02:00", 2);
    assert_eq!(autumn, ["2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"].map(at));
}

#[test]
fn a_whole_day_that_a_zone_skips_is_served_right_after_it() {
    // Samoa left out 30 December 2011.
    let table = Timetable::new(&Schedule::cron("0 0 12 * * *"), "Pacific/Apia").unwrap();
    let found: Vec<_> = next(&table, "2011-12-29T13:00:00-10:00", 2);
    assert_eq!(found, ["2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"].map(at));
}

#[test]
fn a_plan_may_name_its_zone() {
    let schedule = Schedule { zone: ZoneChoice::Named("Asia/Tokyo".into()), ..Schedule::cron("0 0 23 * * *") };
    let table = Timetable::new(&schedule, "Europe/Berlin").unwrap();
    assert_eq!(next(&table, "2026-11-20T00:00:00Z", 1), [at("2026-11-20T23:00:00+09:00")]);
}

#[test]
fn an_unknown_zone_and_a_bad_expression_are_named() {
    let error = Timetable::new(&Schedule::cron("0 0 23 * * *"), "Atlantis").unwrap_err().to_string();
    assert!(error.contains("Atlantis"), "{error}");
    let error = Timetable::new(&Schedule::cron("tonight"), "UTC").unwrap_err().to_string();
    assert!(error.contains("tonight"), "{error}");
}

#[test]
fn a_schedule_that_is_off_has_no_occurrences() {
    let table = Timetable::new(&Schedule { enabled: false, ..Schedule::cron("0 0 23 * * *") }, "UTC").unwrap();
    assert_eq!(
        (table.after(at("2026-11-20T00:00:00Z")).next(), table.latest(at("2026-11-20T00:00:00Z"))),
        (None, None)
    );
}

#[test]
fn due_occurrences_are_the_last_ones_in_ascending_order() {
    let table = berlin("0 0 23 * * *");
    let due = table.due(at("2026-11-01T00:00:00Z"), at("2026-11-20T22:00:00Z"), 2);
    assert_eq!(due, ["2026-11-19T22:00:00Z", "2026-11-20T22:00:00Z"].map(at));
    assert!(table.due(at("2026-11-20T22:00:00Z"), at("2026-11-20T23:00:00Z"), 9).is_empty());
}

fn machine(n: u128) -> MachineId {
    MachineId::from_uuid(Uuid::from_u128(n))
}

#[test]
fn starts_spread_evenly_over_the_whole_delay_and_stay_the_same() {
    let plan = Plan::DEFAULT_ID;
    let delays: Vec<i64> = (0..3000).map(|n| start_delay(machine(n), plan, 1800).num_seconds()).collect();
    assert!(delays.iter().all(|d| (0..=1800).contains(d)));
    for sixth in 0..6 {
        let count = delays.iter().filter(|d| **d / 301 == sixth).count();
        assert!((400..600).contains(&count), "{count} of 3000 in sixth {sixth}");
    }
    assert_eq!(start_delay(machine(7), plan, 1800), start_delay(machine(7), plan, 1800));
    assert_ne!(start_delay(machine(7), plan, 1800), start_delay(machine(7), PlanId::from_uuid(Uuid::max()), 1800));
    assert_eq!(start_delay(machine(7), plan, 0), Duration::zero());
}

const DELAY: Duration = Duration::minutes(20);

fn history(runs: &[(&str, Option<(&str, Outcome)>)]) -> StartHistory {
    StartHistory {
        applied_at: at("2026-11-01T00:00:00Z"),
        runs: runs.iter().map(|(started, ended)| RunRecord::of(at(started), ended.map(|(t, o)| (at(t), o)))).collect(),
        paused_until: None,
        up_since: None,
    }
}

fn daily() -> Plan {
    let mut plan = Plan::default_plan();
    plan.schedule = Schedule { zone: ZoneChoice::Named("UTC".into()), ..Schedule::cron("0 0 23 * * *") };
    plan
}

fn action(plan: &Plan, history: &StartHistory, now: &str) -> NextAction {
    next_action(plan, &Timetable::new(&plan.schedule, "UTC").unwrap(), DELAY, history, at(now))
}

fn start(occurrence: &str, cause: Cause) -> NextAction {
    NextAction::Start { occurrence: at(occurrence), cause }
}

fn wait(start: &str, occurrence: &str) -> NextAction {
    NextAction::WaitUntil { start: at(start), occurrence: at(occurrence) }
}

#[test]
fn a_plan_starts_at_its_time_plus_the_machines_delay() {
    let plan = daily();
    let done = history(&[("2026-11-18T23:20:00Z", Some(("2026-11-18T23:40:00Z", Outcome::Ok)))]);
    assert_eq!(action(&plan, &done, "2026-11-19T12:00:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
    assert_eq!(action(&plan, &done, "2026-11-19T23:10:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
    assert_eq!(action(&plan, &done, "2026-11-19T23:20:00Z"), start("2026-11-19T23:00:00Z", Cause::Schedule));
}

#[test]
fn a_machine_that_slept_through_many_occurrences_catches_up_once() {
    let plan = daily();
    let before = history(&[("2026-11-10T23:20:00Z", Some(("2026-11-10T23:40:00Z", Outcome::Ok)))]);
    assert_eq!(action(&plan, &before, "2026-11-19T08:00:00Z"), start("2026-11-18T23:00:00Z", Cause::CatchUp));
    let after = history(&[("2026-11-19T08:00:00Z", Some(("2026-11-19T08:30:00Z", Outcome::Ok)))]);
    assert_eq!(action(&plan, &after, "2026-11-19T08:30:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
}

#[test]
fn a_machine_that_comes_up_after_the_time_waits_a_part_of_its_delay_and_one_that_was_up_does_not() {
    let plan = daily();
    let mut history = history(&[]);
    history.up_since = Some(at("2026-11-19T08:00:00Z"));
    let begin = "2026-11-19T08:03:20Z";
    assert_eq!(action(&plan, &history, "2026-11-19T08:00:00Z"), wait(begin, "2026-11-18T23:00:00Z"));
    assert_eq!(action(&plan, &history, begin), start("2026-11-18T23:00:00Z", Cause::CatchUp));
    history.up_since = Some(at("2026-11-18T23:10:00Z"));
    assert_eq!(action(&plan, &history, "2026-11-18T23:20:00Z"), start("2026-11-18T23:00:00Z", Cause::Schedule));
    // Spread over the fleet, and never long.
    assert_eq!(catch_up_delay(Duration::minutes(30)), Duration::minutes(5));
    assert_eq!(catch_up_delay(Duration::hours(24)), Duration::minutes(10));
    let delays: std::collections::BTreeSet<i64> =
        (0..100).map(|n| catch_up_delay(start_delay(machine(n), plan.id, 1800)).num_seconds()).collect();
    assert!(delays.len() > 60, "{} different delays of 100 machines", delays.len());
}

#[test]
fn when_the_clock_is_put_back_a_run_of_the_wrong_future_does_not_serve_the_day_that_comes() {
    let wrong = RunRecord::of(at("2026-11-21T23:20:00Z"), Some((at("2026-11-21T23:40:00Z"), Outcome::Ok)));
    let wrong = RunRecord { occurrence: Some(at("2026-11-21T23:00:00Z")), ..wrong };
    let mut history = history(&[]);
    let before = at("2026-11-22T00:00:00Z");
    history.runs = vec![redated(wrong, before, at("2026-11-19T12:00:00Z"))];
    assert_eq!(history.runs[0].started, at("2026-11-19T11:20:00Z"), "when it really ran");
    for day in ["2026-11-19", "2026-11-20", "2026-11-21"] {
        let now = format!("{day}T23:20:00Z");
        assert_eq!(action(&daily(), &history, &now), start(&format!("{day}T23:00:00Z"), Cause::Schedule));
        history.runs.push(run(&now));
    }
    let past = run("2026-11-10T23:20:00Z");
    assert_eq!(redated(past, before, at("2026-11-19T12:00:00Z")), past, "what is past stays");
}

#[test]
fn a_run_serves_its_occurrence_also_when_the_clock_was_put_back_before_it_ended() {
    // Started at 23:20; at 23:25 the clock was corrected to 22:35, so that it seems to have begun and ended before 23:00.
    let early = RunRecord::of(at("2026-11-19T22:40:00Z"), Some((at("2026-11-19T22:45:00Z"), Outcome::Ok)));
    let early = RunRecord { occurrence: Some(at("2026-11-19T23:00:00Z")), ..early };
    let mut history = history(&[]);
    history.runs = vec![early];
    assert_eq!(
        action(&daily(), &history, "2026-11-19T23:20:00Z"),
        wait("2026-11-20T23:20:00Z", "2026-11-20T23:00:00Z")
    );
}

#[test]
fn a_plan_without_catch_up_waits_for_the_next_occurrence() {
    let mut plan = daily();
    plan.schedule.catch_up = CatchUp::Never;
    let none = history(&[]);
    assert_eq!(action(&plan, &none, "2026-11-19T08:00:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
    assert_eq!(action(&plan, &none, "2026-11-19T23:50:00Z"), start("2026-11-19T23:00:00Z", Cause::CatchUp));
    plan.schedule.start_window_seconds = Some(9 * 3600);
    assert_eq!(action(&plan, &none, "2026-11-19T08:00:00Z"), start("2026-11-18T23:00:00Z", Cause::CatchUp));
}

#[test]
fn a_manual_run_within_the_delay_serves_the_occurrence() {
    let manual = history(&[("2026-11-19T23:05:00Z", Some(("2026-11-19T23:10:00Z", Outcome::Warning)))]);
    assert_eq!(action(&daily(), &manual, "2026-11-19T23:20:00Z"), wait("2026-11-20T23:20:00Z", "2026-11-20T23:00:00Z"));
}

#[test]
fn a_run_that_was_going_on_at_the_time_serves_the_occurrence() {
    let long = history(&[("2026-11-17T23:20:00Z", Some(("2026-11-19T08:00:00Z", Outcome::Ok)))]);
    assert_eq!(action(&daily(), &long, "2026-11-19T09:00:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
    let still = history(&[("2026-11-17T23:20:00Z", None)]);
    assert_eq!(action(&daily(), &still, "2026-11-18T23:30:00Z"), NextAction::Running);
}

#[test]
fn an_interrupted_run_is_taken_up_again_and_a_stopped_one_is_not() {
    let broken = history(&[("2026-11-18T23:20:00Z", Some(("2026-11-19T00:00:00Z", Outcome::Interrupted)))]);
    assert_eq!(action(&daily(), &broken, "2026-11-19T00:00:10Z"), wait("2026-11-19T00:01:00Z", "2026-11-18T23:00:00Z"));
    assert_eq!(action(&daily(), &broken, "2026-11-19T00:01:00Z"), start("2026-11-18T23:00:00Z", Cause::CatchUp));
    let stopped = history(&[("2026-11-18T23:20:00Z", Some(("2026-11-19T00:00:00Z", Outcome::Cancelled)))]);
    assert_eq!(
        action(&daily(), &stopped, "2026-11-19T00:01:00Z"),
        wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z")
    );
}

#[test]
fn a_failed_run_is_tried_again_only_where_the_plan_says_so() {
    let mut plan = daily();
    let failed = history(&[("2026-11-18T23:20:00Z", Some(("2026-11-19T00:00:00Z", Outcome::Error)))]);
    assert_eq!(action(&plan, &failed, "2026-11-19T00:30:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
    plan.options.task_failure = Retries { enabled: true, tries: 1, interval_seconds: 3600 };
    assert_eq!(action(&plan, &failed, "2026-11-19T00:30:00Z"), wait("2026-11-19T01:00:00Z", "2026-11-18T23:00:00Z"));
    let twice = history(&[
        ("2026-11-18T23:20:00Z", Some(("2026-11-19T00:00:00Z", Outcome::Error))),
        ("2026-11-19T01:00:00Z", Some(("2026-11-19T01:10:00Z", Outcome::Error))),
    ]);
    assert_eq!(action(&plan, &twice, "2026-11-19T03:00:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
}

#[test]
fn a_pause_holds_back_what_is_due_and_it_is_caught_up() {
    let mut paused = history(&[]);
    paused.paused_until = Some(at("2026-11-19T02:00:00Z"));
    assert_eq!(action(&daily(), &paused, "2026-11-18T23:30:00Z"), wait("2026-11-19T02:00:00Z", "2026-11-18T23:00:00Z"));
    assert_eq!(action(&daily(), &paused, "2026-11-19T02:00:00Z"), start("2026-11-18T23:00:00Z", Cause::CatchUp));
}

#[test]
fn occurrences_before_the_plan_was_applied_are_nobodys() {
    let mut fresh = history(&[]);
    fresh.applied_at = at("2026-11-19T08:00:00Z");
    assert_eq!(action(&daily(), &fresh, "2026-11-19T09:00:00Z"), wait("2026-11-19T23:20:00Z", "2026-11-19T23:00:00Z"));
}

#[test]
fn a_run_from_a_day_with_a_wrong_clock_does_not_hold_back_the_next_ones() {
    let future = history(&[("2030-01-01T00:00:00Z", Some(("2030-01-01T00:30:00Z", Outcome::Ok)))]);
    assert_eq!(action(&daily(), &future, "2026-11-19T23:20:00Z"), start("2026-11-19T23:00:00Z", Cause::Schedule));
}

fn server() -> MissedRule {
    Thresholds::for_class(MachineClass::Server).missed
}

fn workstation() -> MissedRule {
    Thresholds::for_class(MachineClass::Workstation).missed
}

fn always_online() -> Vec<Span> {
    vec![Span::new(at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z"))]
}

fn due(now: &str) -> Vec<DateTime<Utc>> {
    berlin("0 0 23 * * *").due(at("2026-11-15T00:00:00Z"), at(now), 100)
}

fn count_missed(runs: &[RunRecord], exempt: &[Span], online: &[Span], rule: &MissedRule, now: &str) -> usize {
    let due = due(now);
    missed_in_a_row(&due, &missed_occurrences(&due, runs, exempt, &[], online, rule, at(now)), runs)
}

fn run(started: &str) -> RunRecord {
    let started = at(started);
    RunRecord::of(started, Some((started + Duration::minutes(30), Outcome::Ok)))
}

#[test]
fn a_server_has_missed_after_four_hours_until_a_run_comes() {
    let runs = [run("2026-11-17T23:10:00+01:00"), run("2026-11-16T23:10:00+01:00"), run("2026-11-15T23:10:00+01:00")];
    let count = |now| count_missed(&runs, &[], &always_online(), &server(), now);
    assert_eq!(count("2026-11-18T22:00:00+01:00"), 0);
    assert_eq!(count("2026-11-19T02:59:00+01:00"), 0);
    assert_eq!(count("2026-11-19T03:00:00+01:00"), 1);
    let late = [&runs[..], &[run("2026-11-19T20:00:00+01:00")]].concat();
    assert_eq!(count_missed(&late, &[], &always_online(), &server(), "2026-11-19T21:00:00+01:00"), 0);
}

#[test]
fn a_workstation_misses_only_what_it_was_online_for() {
    let count = |online: &[Span]| count_missed(&[], &[], online, &workstation(), "2026-11-18T22:00:00+01:00");
    assert_eq!(count(&always_online()), 2);
    assert_eq!(count(&[]), 0);
    let two_hours = Span::new(at("2026-11-16T12:00:00+01:00"), at("2026-11-16T14:00:00+01:00"));
    assert_eq!(count(&[two_hours]), 1);
    let overlapping = [Span::new(two_hours.from, two_hours.from + Duration::minutes(90)); 2];
    assert_eq!(count(&overlapping), 0);
}

#[test]
fn pause_maintenance_and_a_running_backup_never_count_as_missed() {
    let maintenance = [Span::new(at("2026-11-15T20:00:00Z"), at("2026-11-19T00:00:00Z"))];
    assert_eq!(count_missed(&[], &maintenance, &always_online(), &server(), "2026-11-18T12:00:00+01:00"), 0);
    let running = [RunRecord::of(at("2026-11-15T21:00:00Z"), None)];
    assert_eq!(count_missed(&running, &[], &always_online(), &server(), "2026-11-18T12:00:00+01:00"), 0);
}

proptest! {
    /// Walking forward and backward sees the same moments, in every zone and on any night.
    #[test]
    fn forward_and_backward_agree(
        zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
        cron in prop::sample::select(vec!["0 30 2 * * *", "0 0 23 * * Mon-Fri", "0 */20 1-3 * * *", "0 0 */4 * * *"]),
        minutes in 0i64..(2 * 366 * 24 * 60),
    ) {
        let table = Timetable::new(&Schedule::cron(cron), zone).unwrap();
        let from = at("2026-01-01T00:00:00Z") + Duration::minutes(minutes);
        let forward: Vec<_> = table.after(from).take(12).collect();
        prop_assert!(forward.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(forward[0] > from);
        let last = *forward.last().unwrap();
        prop_assert_eq!(table.due(from, last, 100), forward);
    }

    /// Serving what is due never leads to a second start for the same occurrence, whenever the machine looks.
    #[test]
    fn an_occurrence_is_started_at_most_once(steps in prop::collection::vec(1i64..2000, 1..120)) {
        let plan = daily();
        let mut history = history(&[]);
        let mut now = at("2026-11-02T00:00:00Z");
        let mut served = std::collections::BTreeSet::new();
        for step in steps {
            now += Duration::minutes(step);
            let table = Timetable::new(&plan.schedule, "UTC").unwrap();
            if let NextAction::Start { occurrence, .. } = next_action(&plan, &table, DELAY, &history, now) {
                prop_assert!(served.insert(occurrence), "{} twice", occurrence);
                prop_assert!(occurrence <= now);
                history.runs.push(RunRecord::of(now, Some((now + Duration::minutes(1), Outcome::Ok))));
            }
        }
    }
}
