//! How much of the machine and its network a run may take at a moment.
//!
//! Invariant: exactly one source decides, the first window that holds or else the plan itself, so that nobody has to add up
//! which limits overlap.

use chrono::{DateTime, Days, NaiveDateTime, Utc};
use chrono_tz::Tz;
use nightkeep_wire::plan::{LimitWindow, PlanOptions};

/// The limits at a moment; none means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes per second put to the vault.
    pub upload_bytes_per_second: Option<u64>,
    /// Bytes per second read from the vault.
    pub download_bytes_per_second: Option<u64>,
    /// Percent of all the machine's processors, 1 to 100.
    pub cpu_percent: Option<u8>,
}

/// What the options of a plan allow at a moment; `zone` is the one of its schedule.
pub fn limits_at(options: &PlanOptions, zone: Tz, now: DateTime<Utc>) -> Limits {
    let civil = now.with_timezone(&zone).naive_local();
    match options.limit_windows.iter().find(|window| holds(window, civil)) {
        Some(window) => Limits {
            upload_bytes_per_second: window.upload_bytes_per_second_max,
            download_bytes_per_second: window.download_bytes_per_second_max,
            cpu_percent: window.cpu_percent_max,
        },
        None => Limits {
            upload_bytes_per_second: options.upload_bytes_per_second_max,
            download_bytes_per_second: options.download_bytes_per_second_max,
            cpu_percent: options.cpu_percent_max,
        },
    }
}

/// Whether the civil time lies in a window that began on this day, or in one that began the day before and goes on past
/// midnight.
fn holds(window: &LimitWindow, civil: NaiveDateTime) -> bool {
    let (time, date) = (civil.time(), civil.date());
    let ends_next_day = window.until <= window.from;
    let today = time >= window.from && (ends_next_day || time < window.until);
    let from_yesterday = ends_next_day && time < window.until;
    let begins_on = |date: chrono::NaiveDate| {
        use chrono::Datelike as _;
        window.weekdays.is_empty() || window.weekdays.contains(&date.weekday())
    };
    let yesterday = date.checked_sub_days(Days::new(1)).unwrap_or(date);
    (today && begins_on(date)) || (from_yesterday && begins_on(yesterday))
}
