//! Which backup set a run belongs to: monthly before weekly before daily (product.md A-INT 1-5).
//!
//! Invariant: the set is decided once, when the run starts, and stored with the recovery point. Nothing here is asked
//! again later, so a monthly point never turns into a weekly one.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;
use nightkeep_wire::plan::WeeklyAnchor;
use nightkeep_wire::report::BackupSet;

use crate::span::sane;

/// The local date that decides the set: of the scheduled occurrence a run serves (a Monday 23:00 run that starts on
/// Tuesday is Monday's), and of the start when it serves none.
pub fn deciding_date(occurrence: Option<DateTime<Utc>>, started: DateTime<Utc>, zone: Tz) -> NaiveDate {
    sane(occurrence.unwrap_or(started)).with_timezone(&zone).date_naive()
}

/// The dates on which a plan has made recovery points on one machine, forgotten ones included.
///
/// Only the month and the week of the date in question matter, so 31 days of history are enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetHistory {
    dates: BTreeSet<NaiveDate>,
}

impl SetHistory {
    /// The history of these deciding dates.
    pub fn new(dates: impl IntoIterator<Item = NaiveDate>) -> Self {
        Self { dates: dates.into_iter().collect() }
    }

    /// The set of a run on this date.
    ///
    /// The first of a month is monthly whatever its cause, and its week then has no weekly one of its own. The first
    /// on a Monday is weekly; with [`WeeklyAnchor::FirstOfWeek`] the first since Monday is.
    pub fn set_of(&self, date: NaiveDate, anchor: WeeklyAnchor) -> BackupSet {
        if self.none_between(first_of_month(date), last_of_month(date)) {
            return BackupSet::Monthly;
        }
        let weekly = match anchor {
            WeeklyAnchor::OnDay => date.weekday() == Weekday::Mon && self.none_between(date, date),
            WeeklyAnchor::FirstOfWeek => {
                let monday = monday_of(date);
                self.none_between(monday, monday.checked_add_days(Days::new(6)).unwrap_or(NaiveDate::MAX))
            }
        };
        if weekly { BackupSet::Weekly } else { BackupSet::Daily }
    }

    /// Notes that a recovery point was made on this date.
    pub fn record(&mut self, date: NaiveDate) {
        self.dates.insert(date);
    }

    fn none_between(&self, first: NaiveDate, last: NaiveDate) -> bool {
        self.dates.range(first..=last).next().is_none()
    }
}

/// Whether a plan has made no weekly point for two weeks although it ran: the plan view warns, because a machine that is
/// off on Mondays keeps less than its owner thinks. A monthly point stands in for the weekly one of its week.
pub fn lacks_weekly(points: impl IntoIterator<Item = (NaiveDate, BackupSet)>, today: NaiveDate) -> bool {
    let since = today.checked_sub_days(Days::new(14)).unwrap_or(NaiveDate::MIN);
    let recent: Vec<BackupSet> = points.into_iter().filter(|(date, _)| *date > since).map(|(_, set)| set).collect();
    !recent.is_empty() && recent.iter().all(|set| *set == BackupSet::Daily)
}

fn first_of_month(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

fn last_of_month(date: NaiveDate) -> NaiveDate {
    (28..=31).rev().find_map(|day| date.with_day(day)).unwrap_or(date)
}

fn monday_of(date: NaiveDate) -> NaiveDate {
    let back = u64::from(date.weekday().num_days_from_monday());
    date.checked_sub_days(Days::new(back)).unwrap_or(NaiveDate::MIN)
}
