//! What a plan will hold on a future date, if every run succeeds on time.
//!
//! Invariant: a forecast applies the very rules that the run itself applies, set by set and reason by reason.

use chrono::{DateTime, FixedOffset, Offset, TimeZone, Utc};
use nightkeep_wire::plan::Plan;

use crate::retention::{Decision, Point, Rules, decide};
use crate::schedule::{ScheduleError, Timetable};
use crate::sets::SetHistory;
use crate::span::sane;

/// Runs looked ahead at most: a run every hour for a year.
pub const RUNS_MAX: usize = 10_000;

/// A point of the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForecastPoint {
    /// The point.
    pub point: Point,
    /// Whether it exists already.
    pub exists: bool,
    /// What became of it by that date.
    pub decision: Decision,
}

/// What there will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// All points, existing and coming, oldest first, those that will be gone included.
    pub points: Vec<ForecastPoint>,
    /// Whether the look ahead ended before the date because of [`RUNS_MAX`].
    pub cut_short: bool,
}

impl Forecast {
    /// Points that will be there.
    pub fn kept(&self) -> impl Iterator<Item = &ForecastPoint> {
        self.points.iter().filter(|p| p.decision.keeps())
    }
}

/// Forecasts a plan on a machine in this zone. `existing` are the points now.
///
/// Retention runs after each successful backup, so nothing goes after the last run before the date.
pub fn forecast(
    plan: &Plan,
    machine_zone: &str,
    existing: &[Point],
    now: DateTime<Utc>,
    on: DateTime<Utc>,
) -> Result<Forecast, ScheduleError> {
    let timetable = Timetable::new(&plan.schedule, machine_zone)?;
    let mut coming: Vec<DateTime<Utc>> = timetable.after(now).take_while(|at| *at <= on).take(RUNS_MAX + 1).collect();
    let cut_short = coming.len() > RUNS_MAX;
    coming.truncate(RUNS_MAX);
    let mut points: Vec<(Point, bool)> = existing.iter().map(|point| (*point, true)).collect();
    let mut history = SetHistory::new(
        existing.iter().map(|point| sane(point.at.to_utc()).with_timezone(point.at.offset()).date_naive()),
    );
    for at in &coming {
        let local = at.with_timezone(&timetable.zone());
        let date = local.date_naive();
        let set = history.set_of(date, plan.retention.weekly_anchor);
        history.record(date);
        points.push((Point { at: fixed(&local), set, restorable: true, held: false }, false));
    }
    points.sort_by_key(|(point, _)| point.at);
    let bare: Vec<Point> = points.iter().map(|(point, _)| *point).collect();
    let decided_at = coming.last().copied().unwrap_or(now);
    let decisions = decide(&bare, &Rules::from(plan.retention.clone()), decided_at);
    let points = points.into_iter().zip(decisions);
    let points = points.map(|((point, exists), decision)| ForecastPoint { point, exists, decision }).collect();
    Ok(Forecast { points, cut_short })
}

/// A moment with its offset, as points carry it.
pub fn fixed<Z: TimeZone>(at: &DateTime<Z>) -> DateTime<FixedOffset> {
    at.with_timezone(&at.offset().fix())
}
