//! Retention: named cases, and a comparison with a model so short that it can be read at a glance.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, FixedOffset, Months, Utc};
use nightkeep_rules::retention::{Decision, KeepReason, Point, Rules, decide, expiry, explain};
use nightkeep_wire::plan::Retention;
use nightkeep_wire::report::BackupSet::{self, Daily, Monthly, Weekly};
use proptest::prelude::*;

fn local(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    local(text).to_utc()
}

fn point(at: &str, set: BackupSet) -> Point {
    Point { at: local(at), set, restorable: true, held: false }
}

fn kept(points: &[Point], rules: Retention, now: &str) -> Vec<bool> {
    decide(points, &rules.into(), utc(now)).iter().map(Decision::keeps).collect()
}

fn strict() -> Retention {
    Retention { keep_at_least: 1, ..Retention::default() }
}

#[test]
fn item_74_each_set_has_its_own_term() {
    let points = [
        point("2026-03-02T23:00:00+01:00", Monthly),
        point("2026-08-03T23:00:00+02:00", Weekly),
        point("2026-08-24T23:00:00+02:00", Weekly),
        point("2026-08-28T23:00:00+02:00", Daily),
        point("2026-09-01T23:00:00+02:00", Daily),
        point("2026-09-07T23:00:00+02:00", Daily),
    ];
    assert_eq!(kept(&points, strict(), "2026-09-07T23:30:00+02:00"), [false, false, true, false, true, true]);
}

#[test]
fn a_month_ends_on_its_last_day_when_there_is_no_31st() {
    let ends = |at: &str| expiry(&point(at, Monthly), &Retention::default());
    assert_eq!(ends("2026-08-31T00:30:00+02:00"), utc("2027-02-28T00:30:00+02:00"));
    assert_eq!(ends("2027-08-31T00:30:00+02:00"), utc("2028-02-29T00:30:00+02:00"));
    assert_eq!(ends("2026-12-31T23:00:00+01:00"), utc("2027-06-30T23:00:00+01:00"));
}

#[test]
fn a_point_goes_at_the_very_end_of_its_term() {
    let points = [point("2026-09-01T23:00:00Z", Daily), point("2026-09-08T23:00:00Z", Daily)];
    assert_eq!(kept(&points, strict(), "2026-09-08T22:59:59Z"), [true, true]);
    assert_eq!(kept(&points, strict(), "2026-09-08T23:00:00Z"), [false, true]);
}

#[test]
fn the_newest_few_stay_whatever_their_age() {
    let days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"];
    let points = days.map(|day| point(&format!("{day}T23:00:00Z"), Daily));
    assert_eq!(kept(&points, Retention::default(), "2026-12-01T00:00:00Z"), [false, false, true, true, true]);
    let decisions = decide(&points, &Retention::default().into(), utc("2026-12-01T00:00:00Z"));
    assert_eq!(decisions[4], Decision::Keep(KeepReason::NewestRestorable));
    assert_eq!(decisions[2], Decision::Keep(KeepReason::KeepAtLeast { rank: 3 }));
}

#[test]
fn partial_points_do_not_count_among_the_newest_few() {
    let mut points = ["2026-01-01", "2026-01-02", "2026-01-03"].map(|day| point(&format!("{day}T23:00:00Z"), Daily));
    points[2].restorable = false;
    assert_eq!(kept(&points, strict(), "2026-12-01T00:00:00Z"), [false, true, false]);
}

#[test]
fn a_hold_outlives_every_rule() {
    let mut points = ["2026-01-01", "2026-01-02"].map(|day| point(&format!("{day}T23:00:00Z"), Daily));
    points[0].held = true;
    assert_eq!(kept(&points, strict(), "2036-12-01T00:00:00Z"), [true, true]);
}

#[test]
fn keep_forever_keeps_everything() {
    let points = [point("2006-01-01T23:00:00Z", Daily), point("2026-01-01T23:00:00Z", Daily)];
    assert_eq!(kept(&points, Retention { keep_forever: true, ..strict() }, "2036-12-01T00:00:00Z"), [true, true]);
}

#[test]
fn a_shorter_rule_counts_after_a_week() {
    let points = [point("2026-09-01T23:00:00Z", Daily), point("2026-09-10T23:00:00Z", Daily)];
    let long = Retention { daily_days: 30, ..strict() };
    let rules = Rules { current: strict(), replaced: Some((long, utc("2026-09-11T08:00:00Z"))) };
    let decided = |now: &str| decide(&points, &rules, utc(now))[0];
    let until = utc("2026-09-18T08:00:00Z");
    assert_eq!(decided("2026-09-12T00:00:00Z"), Decision::Keep(KeepReason::ShorterRuleWaits { until }));
    assert_eq!(decided("2026-09-18T08:00:00Z"), Decision::Expire { since: utc("2026-09-08T23:00:00Z") });
}

#[test]
fn explanations_name_the_set_and_the_time_left() {
    let points = [point("2026-09-07T23:00:00Z", Weekly), point("2026-09-08T23:00:00Z", Daily)];
    let rules = strict();
    let now = utc("2026-09-20T23:00:00Z");
    let decisions = decide(&points, &rules.clone().into(), now);
    assert_eq!(explain(&points[0], &decisions[0], &rules, now), "kept: weekly for 4 weeks, 15 d left");
    assert_eq!(explain(&points[1], &decisions[1], &rules, now), "kept: the newest one that can be restored");
}

/// The model: remove everything that is over, but for the newest few that can be restored.
fn naive(points: &[Point], rules: &Retention, now: DateTime<Utc>) -> Vec<bool> {
    let over = |p: &Point| match p.set {
        Monthly => p.at + Months::new(rules.monthly_months) <= now,
        Weekly => p.at + Duration::weeks(rules.weekly_weeks.into()) <= now,
        Daily => p.at + Duration::days(rules.daily_days.into()) <= now,
    };
    let newer = |p: &Point| points.iter().filter(|q| q.restorable && q.at > p.at).count();
    let always = |p: &Point| p.restorable && newer(p) < rules.keep_at_least.max(1) as usize;
    points.iter().map(|p| !over(p) || always(p) || p.held || rules.keep_forever).collect()
}

fn any_point() -> impl Strategy<Value = Point> {
    let set = prop_oneof![Just(Daily), Just(Weekly), Just(Monthly)];
    (0i64..1200, set, prop::bool::weighted(0.9), prop::bool::weighted(0.05), -12i32..=14).prop_map(
        |(hours, set, restorable, held, offset)| {
            let zone = FixedOffset::east_opt(offset * 3600).unwrap();
            let at = (utc("2026-01-01T00:00:00Z") + Duration::hours(hours * 9)).with_timezone(&zone);
            Point { at, set, restorable, held }
        },
    )
}

fn any_rules() -> impl Strategy<Value = Retention> {
    (1u32..14, 1u32..9, 1u32..40, 1u32..6, prop::bool::weighted(0.05)).prop_map(
        |(monthly, weekly, daily, least, forever)| Retention {
            monthly_months: monthly,
            weekly_weeks: weekly,
            daily_days: daily,
            keep_at_least: least,
            keep_forever: forever,
            ..Retention::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_decides_as_the_model_does(
        points in prop::collection::vec(any_point(), 0..60),
        rules in any_rules(),
        hours in 0i64..12_000,
    ) {
        let mut points = points;
        points.sort_by_key(|p| p.at);
        points.dedup_by_key(|p| p.at);
        let now = utc("2026-01-01T00:00:00Z") + Duration::hours(hours);
        let decided: Vec<bool> = decide(&points, &rules.clone().into(), now).iter().map(Decision::keeps).collect();
        prop_assert_eq!(decided, naive(&points, &rules, now));
    }

    /// Time alone never leaves a machine without a point it could restore, and what is gone stays gone.
    #[test]
    fn the_newest_restorable_point_never_goes(
        points in prop::collection::vec(any_point(), 1..40),
        rules in any_rules(),
        early in 0i64..12_000,
        later in 0i64..100_000,
    ) {
        let at = |hours| utc("2026-01-01T00:00:00Z") + Duration::hours(hours);
        let first = decide(&points, &rules.clone().into(), at(early));
        let second = decide(&points, &rules.into(), at(early + later));
        if points.iter().any(|p| p.restorable) {
            prop_assert!(points.iter().zip(&second).any(|(p, d)| p.restorable && d.keeps()));
        }
        prop_assert!(first.iter().zip(&second).all(|(a, b)| a.keeps() || !b.keeps()));
    }
}
