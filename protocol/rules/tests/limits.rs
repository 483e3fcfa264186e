//! Which limits hold when: working hours, nights, the days of change.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

use chrono::{DateTime, Duration, NaiveTime, Utc, Weekday};
use chrono_tz::Tz;
use nightkeep_rules::limits::limits_at;
use nightkeep_wire::plan::{LimitWindow, PlanOptions};

const WORK: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];

fn window(days: &[Weekday], from: &str, until: &str, upload: Option<u64>) -> LimitWindow {
    let time = |text: &str| text.parse::<NaiveTime>().unwrap();
    LimitWindow {
        weekdays: days.to_vec(),
        from: time(from),
        until: time(until),
        upload_bytes_per_second_max: upload,
        download_bytes_per_second_max: None,
        cpu_percent_max: None,
    }
}

fn upload(windows: &[LimitWindow], zone: Tz, at: &str) -> Option<u64> {
    let options = PlanOptions {
        upload_bytes_per_second_max: Some(1_000_000),
        limit_windows: windows.to_vec(),
        ..PlanOptions::default()
    };
    limits_at(&options, zone, DateTime::parse_from_rfc3339(at).unwrap().to_utc()).upload_bytes_per_second
}

#[test]
fn working_hours_are_slow_and_the_rest_of_the_week_is_as_the_plan_says() {
    let windows = [window(&WORK, "08:00:00", "18:00:00", Some(50_000))];
    let check = |at, expected| assert_eq!(upload(&windows, Tz::Europe__Berlin, at), Some(expected), "{at}");
    // Thursday 26 and Saturday 28 November 2026.
    check("2026-11-26T07:59:59+01:00", 1_000_000);
    check("2026-11-26T08:00:00+01:00", 50_000);
    check("2026-11-26T17:59:59+01:00", 50_000);
    check("2026-11-26T18:00:00+01:00", 1_000_000);
    check("2026-11-28T12:00:00+01:00", 1_000_000);
    // The same hours in summer, by the clock on the wall.
    check("2026-07-02T08:00:00+02:00", 50_000);
    check("2026-07-02T18:00:00+02:00", 1_000_000);
}

#[test]
fn a_window_past_midnight_belongs_to_the_day_on_which_it_begins() {
    let windows = [window(&[Weekday::Fri], "22:00:00", "06:00:00", None)];
    let check = |at, expected| assert_eq!(upload(&windows, Tz::UTC, at), expected, "{at}");
    // Friday 27 November 2026.
    check("2026-11-27T05:00:00Z", Some(1_000_000));
    check("2026-11-27T22:00:00Z", None);
    check("2026-11-28T05:59:59Z", None);
    check("2026-11-28T06:00:00Z", Some(1_000_000));
    check("2026-11-28T23:00:00Z", Some(1_000_000));
}

#[test]
fn the_first_window_that_holds_decides_alone() {
    let windows = [window(&[], "12:00:00", "13:00:00", None), window(&[], "08:00:00", "18:00:00", Some(50_000))];
    assert_eq!(upload(&windows, Tz::UTC, "2026-11-26T12:30:00Z"), None);
    assert_eq!(upload(&windows, Tz::UTC, "2026-11-26T13:00:00Z"), Some(50_000));
}

#[test]
fn every_minute_of_the_nights_of_change_has_one_answer_that_fits_the_clock_on_the_wall() {
    use chrono::Timelike as _;
    let windows = [window(&[], "02:15:00", "02:45:00", Some(1024))];
    for zone in [Tz::Europe__Berlin, Tz::Australia__Lord_Howe, Tz::America__New_York] {
        for day in 0..366 {
            for minute in (0..24 * 60).step_by(5) {
                let now: DateTime<Utc> =
                    DateTime::UNIX_EPOCH + Duration::days(20_454 + day) + Duration::minutes(minute);
                let wall = now.with_timezone(&zone).time();
                let inside = wall.hour() == 2 && (15..45).contains(&wall.minute());
                let options = PlanOptions { limit_windows: windows.to_vec(), ..PlanOptions::default() };
                let found = limits_at(&options, zone, now).upload_bytes_per_second;
                assert_eq!(found, inside.then_some(1024), "{zone} {now}");
            }
        }
    }
}
