//! Stretches of time: when a machine was online, paused or in maintenance.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// What is dated further in the future than this was written while a clock was wrong, and counts for nothing: else one
/// day with a clock in 2030 would hide everything until then.
pub const CLOCK_TOLERANCE: Duration = Duration::hours(1);

/// The moment, brought into the years in which arithmetic with it is safe. Times from outside may be anything.
pub fn sane(at: DateTime<Utc>) -> DateTime<Utc> {
    // Years 1900 and 2300.
    const EARLIEST: DateTime<Utc> = DateTime::from_timestamp_nanos(-2_208_988_800_000_000_000);
    const SECONDS_OF_2300: i64 = 10_413_792_000;
    let latest = DateTime::from_timestamp(SECONDS_OF_2300, 0).unwrap_or(DateTime::UNIX_EPOCH);
    at.clamp(EARLIEST, latest)
}

/// From `from` up to, not including, `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Start.
    pub from: DateTime<Utc>,
    /// End; a span whose end is not after its start is empty.
    pub until: DateTime<Utc>,
}

impl Span {
    /// The span between two moments.
    pub const fn new(from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self { from, until }
    }

    /// Whether the moment lies in it.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.until
    }

    /// The common part; may be empty.
    pub fn cut(&self, other: &Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Its length, never negative.
    pub fn length(&self) -> Duration {
        (self.until - self.from).max(Duration::zero())
    }
}

/// Length of the union of these spans within a window. Spans may overlap and come in any order.
pub fn covered(spans: &[Span], window: &Span) -> Duration {
    let mut cut: Vec<Span> = spans.iter().map(|s| s.cut(window)).filter(|s| s.from < s.until).collect();
    cut.sort();
    let mut total = Duration::zero();
    let mut reached = window.from;
    for span in cut {
        total += Span::new(span.from.max(reached), span.until).length();
        reached = reached.max(span.until);
    }
    total
}

/// Local dates on which the machine was online at all, within a window.
pub fn online_dates(online: &[Span], window: &Span, zone: Tz) -> BTreeSet<NaiveDate> {
    const DATES_MAX: usize = 400;
    let date = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    let cut = online.iter().map(|s| s.cut(window)).filter(|s| s.from < s.until);
    cut.flat_map(|s| {
        let last = date(s.until - Duration::nanoseconds(1));
        date(s.from).iter_days().take_while(move |d| *d <= last).take(DATES_MAX)
    })
    .collect()
}
