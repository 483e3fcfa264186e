//! Backup sets: the table of Mondays and firsts of the month.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, NaiveDate, Utc};
use nightkeep_rules::sets::{SetHistory, deciding_date, lacks_weekly};
use nightkeep_wire::plan::WeeklyAnchor::{self, FirstOfWeek, OnDay};
use nightkeep_wire::report::BackupSet::{self, Daily, Monthly, Weekly};
use proptest::prelude::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// Runs on these dates get these sets.
fn check(anchor: WeeklyAnchor, runs: &[(&str, BackupSet)]) {
    let mut history = SetHistory::default();
    for (day, expected) in runs {
        assert_eq!(history.set_of(date(day), anchor), *expected, "{day} in {runs:?}");
        history.record(date(day));
    }
}

#[test]
fn item_74_a_month_of_working_days() {
    // 2026-11-02 is a Monday and the first run of the month.
    check(
        OnDay,
        &[
            ("2026-10-30", Monthly),
            ("2026-11-02", Monthly),
            ("2026-11-03", Daily),
            ("2026-11-06", Daily),
            ("2026-11-09", Weekly),
            ("2026-11-10", Daily),
            ("2026-11-16", Weekly),
            ("2026-11-30", Weekly),
            ("2026-12-01", Monthly),
            ("2026-12-07", Weekly),
        ],
    );
}

#[test]
fn a_monday_that_is_the_first_of_the_month_is_monthly_and_its_week_has_no_weekly() {
    check(OnDay, &[("2026-05-29", Monthly), ("2026-06-01", Monthly), ("2026-06-01", Daily), ("2026-06-02", Daily)]);
    check(FirstOfWeek, &[("2026-05-29", Monthly), ("2026-06-01", Monthly), ("2026-06-03", Daily)]);
}

#[test]
fn the_second_run_on_a_monday_is_daily() {
    check(OnDay, &[("2026-11-03", Monthly), ("2026-11-09", Weekly), ("2026-11-09", Daily)]);
}

#[test]
fn a_week_without_a_run_on_monday_has_no_weekly_unless_the_plan_says_first_of_week() {
    check(OnDay, &[("2026-11-03", Monthly), ("2026-11-10", Daily), ("2026-11-11", Daily)]);
    check(FirstOfWeek, &[("2026-11-03", Monthly), ("2026-11-10", Weekly), ("2026-11-11", Daily)]);
}

#[test]
fn a_week_across_the_year_is_one_week() {
    check(
        FirstOfWeek,
        &[("2026-12-28", Monthly), ("2027-01-01", Monthly), ("2027-01-02", Daily), ("2027-01-04", Weekly)],
    );
}

#[test]
fn a_run_after_midnight_belongs_to_the_evening_it_was_scheduled_for() {
    let berlin = chrono_tz::Europe::Berlin;
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    // Monday 23:00 in Berlin, started on Tuesday 07:00.
    let monday = deciding_date(Some(at("2026-11-09T22:00:00Z")), at("2026-11-10T06:00:00Z"), berlin);
    assert_eq!(monday, date("2026-11-09"));
    // By hand, shortly after midnight in Berlin: the date there counts, not that of UTC.
    assert_eq!(deciding_date(None, at("2026-11-09T23:30:00Z"), berlin), date("2026-11-10"));
}

#[test]
fn a_machine_that_is_off_on_mondays_is_noticed_after_two_weeks() {
    let point = |day: &str, set| (date(day), set);
    let tuesdays = [point("2026-11-10", Daily), point("2026-11-17", Daily)];
    assert!(lacks_weekly(tuesdays, date("2026-11-20")));
    assert!(!lacks_weekly([point("2026-11-09", Weekly), tuesdays[1]], date("2026-11-20")));
    assert!(!lacks_weekly([point("2026-11-07", Monthly), tuesdays[1]], date("2026-11-20")));
    assert!(lacks_weekly([point("2026-11-06", Weekly), tuesdays[1]], date("2026-11-20")));
    assert!(!lacks_weekly([], date("2026-11-20")), "a machine without points has other troubles");
}

proptest! {
    /// Every month with a run has exactly one monthly; no Monday has two weeklies.
    #[test]
    fn each_month_has_one_monthly(days in prop::collection::vec(0u64..500, 1..200), first_of_week in any::<bool>()) {
        let anchor = if first_of_week { FirstOfWeek } else { OnDay };
        let mut days = days;
        days.sort_unstable();
        let mut history = SetHistory::default();
        let mut monthlies = std::collections::BTreeMap::new();
        let mut weeklies = std::collections::BTreeMap::new();
        for day in days {
            let date = date("2026-01-01") + chrono::Days::new(day);
            let set = history.set_of(date, anchor);
            history.record(date);
            let month = date.format("%Y-%m").to_string();
            let week = date.format("%G-%V").to_string();
            *monthlies.entry(month).or_insert(0) += u32::from(set == Monthly);
            *weeklies.entry(week).or_insert(0) += u32::from(set == Weekly);
        }
        prop_assert!(monthlies.values().all(|n| *n == 1));
        prop_assert!(weeklies.values().all(|n| *n <= 1));
    }
}
