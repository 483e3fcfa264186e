//! A schedule as moments in time.

use std::str::FromStr;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use nightkeep_wire::plan::{Schedule, ZoneChoice};

/// Zones have skipped or repeated at most a day.
const ZONE_JUMP_MAX: Duration = Duration::hours(25);

/// Why a schedule gives no moments.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The expression is not one for the `cron` crate.
    #[error("{expression:?} is no schedule; six fields are needed, as in \"0 0 23 * * Mon-Fri\"")]
    Expression {
        /// The expression.
        expression: String,
        /// What the parser says.
        #[source]
        source: Box<cron::error::Error>,
    },
    /// Neither the plan's nor the machine's zone is known.
    #[error("{name:?} is no time zone; a name like Europe/Berlin is needed")]
    Zone {
        /// The name.
        name: String,
    },
}

/// A schedule in its zone.
///
/// The expression is read as civil time. A time that the clocks skip is served at the first moment after the gap; a time
/// that they repeat is served the first time only.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: cron::Schedule,
    zone: Tz,
    enabled: bool,
}

impl Timetable {
    /// The timetable of a plan's schedule on a machine in this zone.
    pub fn new(schedule: &Schedule, machine_zone: &str) -> Result<Self, ScheduleError> {
        let name = match &schedule.zone {
            ZoneChoice::Machine => machine_zone,
            ZoneChoice::Named(name) => name,
        };
        let zone = name.parse().map_err(|_| ScheduleError::Zone { name: name.to_owned() })?;
        let cron = cron::Schedule::from_str(&schedule.cron).map_err(|source| ScheduleError::Expression {
            expression: schedule.cron.clone(),
            source: Box::new(source),
        })?;
        Ok(Self { cron, zone, enabled: schedule.enabled })
    }

    /// The zone whose dates decide backup sets.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// Occurrences after this moment, without end unless the expression has one. None while the schedule is off.
    pub fn after(&self, at: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let civil = self.civil(at);
        let mut last = at;
        let times = self.cron.after(&civil.and_utc()).take_while(|_| self.enabled);
        times.map(|t| self.moment(t.naive_utc())).filter(move |moment| {
            let later = *moment > last;
            last = last.max(*moment);
            later
        })
    }

    /// The latest occurrence at or before this moment.
    pub fn latest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Just after clocks were put back, civil times ahead of the present one have already passed.
        let upper = self.civil(at).max(self.civil(at - ZONE_JUMP_MAX) + ZONE_JUMP_MAX) + Duration::seconds(1);
        let times = self.cron.after(&upper.and_utc()).rev().take_while(|_| self.enabled);
        times.map(|t| self.moment(t.naive_utc())).find(|moment| *moment <= at)
    }

    /// Occurrences after `from` up to and including `until`, the last `limit` of them, in ascending order.
    pub fn due(&self, from: DateTime<Utc>, until: DateTime<Utc>, limit: usize) -> Vec<DateTime<Utc>> {
        let earlier = |at: &DateTime<Utc>| self.latest(*at - Duration::nanoseconds(1));
        let backwards = std::iter::successors(self.latest(until), earlier);
        let mut due: Vec<_> = backwards.take_while(|at| *at > from).take(limit).collect();
        due.reverse();
        due
    }

    fn civil(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local()
    }

    fn moment(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        match self.zone.from_local_datetime(&civil) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
            LocalResult::None => self.end_of_gap(civil),
        }
    }

    /// The first moment after the gap this civil time lies in: where the offset before it and after it meet.
    fn end_of_gap(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        let (mut before, mut after) = (civil.and_utc() - ZONE_JUMP_MAX, civil.and_utc() + ZONE_JUMP_MAX);
        // Civil time of a moment only grows here, so the moment at which it passes `civil` is found by halving.
        while after - before > Duration::seconds(1) {
            let middle = before + Duration::seconds((after - before).num_seconds() / 2);
            if self.civil(middle) > civil { after = middle } else { before = middle }
        }
        after
    }
}
