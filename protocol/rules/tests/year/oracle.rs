//! Occurrences found by walking over every minute of the year, by somebody who knows neither cron nor gaps.

use chrono::{DateTime, Datelike as _, Duration, NaiveDate, NaiveDateTime, NaiveTime, Utc, Weekday};
use chrono_tz::Tz;

/// Civil times of a day.
#[derive(Debug, Clone)]
pub(crate) struct CivilRule {
    times: Vec<NaiveTime>,
    working_days: bool,
}

impl CivilRule {
    pub(crate) fn daily(hour: u32, minute: u32) -> Self {
        Self { times: vec![NaiveTime::from_hms_opt(hour, minute, 0).unwrap()], working_days: false }
    }

    pub(crate) fn on_working_days(hour: u32, minute: u32) -> Self {
        Self { working_days: true, ..Self::daily(hour, minute) }
    }

    pub(crate) fn hours_apart(hours: u32) -> Self {
        let times = (0..24).step_by(hours as usize).map(|hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap());
        Self { times: times.collect(), working_days: false }
    }

    fn civil(&self, date: NaiveDate) -> impl Iterator<Item = NaiveDateTime> {
        let day = !(self.working_days && matches!(date.weekday(), Weekday::Sat | Weekday::Sun));
        self.times.iter().filter(move |_| day).map(move |time| date.and_time(*time))
    }
}

/// Each civil time at the first minute at which the clock on the wall shows it, or has passed it without showing it.
pub(crate) fn occurrences(rule: &CivilRule, zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let wall = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let mut due = Vec::new();
    let mut shown = wall(from - Duration::minutes(1));
    let mut at = from;
    while at < until {
        let now = wall(at);
        // Only what the wall never showed before: after clocks are put back it shows an hour again.
        if now > shown {
            let mut date = shown.date();
            let mut any = false;
            while date <= now.date() {
                any |= rule.civil(date).any(|time| time > shown && time <= now);
                date = date.succ_opt().unwrap();
            }
            if any {
                due.push(at);
            }
            shown = now;
        }
        at += Duration::minutes(1);
    }
    due
}
