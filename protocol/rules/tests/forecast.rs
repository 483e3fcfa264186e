//! Forecasts, findings and words.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, Utc};
use nightkeep_rules::findings::{colours, shrunken};
use nightkeep_rules::forecast::{fixed, forecast};
use nightkeep_rules::retention::{Point, Rules, decide};
use nightkeep_rules::words;
use nightkeep_wire::plan::{Plan, Schedule};
use nightkeep_wire::report::BackupSet::{Daily, Monthly, Weekly};
use nightkeep_wire::report::{Finding, FindingKind, JobStats};

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

#[test]
fn the_default_plan_settles_at_six_months_four_weeks_and_a_week() {
    let plan = Plan::default_plan();
    let forecast =
        forecast(&plan, "Europe/Berlin", &[], at("2026-01-01T00:00:00Z"), at("2027-01-29T23:30:00Z")).unwrap();
    let kept = |set| forecast.kept().filter(|p| p.point.set == set).count();
    assert_eq!((kept(Monthly), kept(Weekly)), (6, 4));
    // Friday night: the points of the five working days but for Monday's weekly one.
    assert_eq!(kept(Daily), 4);
    assert!(!forecast.cut_short);
}

#[test]
fn a_forecast_is_what_running_the_plan_day_by_day_gives() {
    let plan = Plan::default_plan();
    let (now, end) = (at("2026-09-10T00:00:00Z"), at("2026-12-24T00:00:00Z"));
    let whole = forecast(&plan, "Europe/Berlin", &[], now, end).unwrap();
    // Run by run, with retention after each: what is gone is gone.
    let mut points: Vec<Point> = Vec::new();
    for coming in &whole.points {
        points.push(coming.point);
        let decisions = decide(&points, &Rules::from(plan.retention.clone()), coming.point.at.to_utc());
        points = points.into_iter().zip(decisions).filter(|(_, d)| d.keeps()).map(|(p, _)| p).collect();
    }
    assert_eq!(whole.kept().map(|p| p.point).collect::<Vec<_>>(), points);
}

#[test]
fn existing_points_are_part_of_the_forecast_and_of_its_sets() {
    let plan = Plan::default_plan();
    let existing = Point { at: fixed(&at("2026-11-02T22:10:00Z")), set: Monthly, restorable: true, held: false };
    let coming = forecast(&plan, "Europe/Berlin", &[existing], at("2026-11-03T12:00:00Z"), at("2026-11-09T23:00:00Z"));
    let coming = coming.unwrap();
    assert!(coming.points[0].exists);
    let sets: Vec<_> = coming.points.iter().map(|p| p.point.set).collect();
    assert_eq!(sets, [Monthly, Daily, Daily, Daily, Daily, Weekly]);
}

#[test]
fn a_forecast_too_far_ahead_says_so() {
    let mut plan = Plan::default_plan();
    plan.schedule = Schedule::cron("0 * * * * *");
    let far = forecast(&plan, "UTC", &[], at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap();
    assert!(far.cut_short);
}

#[test]
fn harmless_findings_do_not_colour_a_run() {
    let finding = |kind| Finding { path_lossy: "/x".into(), kind, message: String::new() };
    assert!(colours(&finding(FindingKind::Unreadable), 1));
    assert!(!colours(&finding(FindingKind::Vanished), 1));
    assert!(!colours(&finding(FindingKind::Locked), 2));
    assert!(colours(&finding(FindingKind::Locked), 3), "unread for the third time");
    assert!(!colours(&finding(FindingKind::CloudPlaceholder), 9));
}

#[test]
fn a_backup_that_shrank_by_a_third_is_noticed() {
    let stats = |files, bytes| JobStats { files, bytes, ..JobStats::default() };
    let before = [100, 102, 98, 500, 101].map(|files| stats(files, files * 1_000_000));
    assert_eq!(shrunken(&before, &stats(71, 71_000_000)), None);
    let text = shrunken(&before, &stats(70, 70_000_000)).unwrap();
    assert_eq!(text, "70 files where the last five runs had about 101");
    let text = shrunken(&before, &stats(101, 1_000_000)).unwrap();
    assert_eq!(text, "1.0 MB where the last five runs had about 101.0 MB");
    assert_eq!(shrunken(&before[..4], &stats(1, 1)), None, "four runs are too few to judge");
}

#[test]
fn figures_read_well() {
    assert_eq!(words::span(Duration::seconds(30)), "less than a minute");
    assert_eq!(words::span(Duration::minutes(59)), "59 min");
    assert_eq!(words::span(Duration::hours(23)), "23 h");
    assert_eq!(words::span(Duration::hours(51)), "2 d 3 h");
    assert_eq!(words::span(Duration::hours(48)), "2 d");
    assert_eq!(words::bytes(999), "999 B");
    assert_eq!(words::bytes(118_000_000_000), "118.0 GB");
}
