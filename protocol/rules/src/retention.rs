//! Which recovery points of one plan on one machine are kept, and why.
//!
//! Invariant: a point is judged by the age in its own set alone. Whatever the rules say, the newest restorable point and
//! every held point are kept.

use chrono::{DateTime, Duration, FixedOffset, Months, Utc};
use nightkeep_wire::plan::Retention;
use nightkeep_wire::report::BackupSet;

/// A shorter rule counts only after this span, so that a mistake can be taken back.
pub const SHORTER_RULE_WAITS: Duration = Duration::days(7);

/// A recovery point as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Start of the run, with the machine's offset at that moment: months are counted in its civil time.
    pub at: DateTime<FixedOffset>,
    /// Its set, as it was stored.
    pub set: BackupSet,
    /// Whether it is complete and can be restored; partial points count for nothing.
    pub restorable: bool,
    /// A person or a legal hold keeps it.
    pub held: bool,
}

/// The rules, and those that a recent edit replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What the plan says now.
    pub current: Retention,
    /// What it said before, and when that ended.
    pub replaced: Option<(Retention, DateTime<Utc>)>,
}

impl From<Retention> for Rules {
    fn from(current: Retention) -> Self {
        Self { current, replaced: None }
    }
}

/// What becomes of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep(KeepReason),
    /// It goes: its age in its set is over since then.
    Expire {
        /// When its time was over.
        since: DateTime<Utc>,
    },
}

impl Decision {
    /// Whether it stays.
    pub const fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

/// Why a point stays; the strongest reason that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepReason {
    /// A person or a legal hold keeps it.
    Held,
    /// The plan keeps everything.
    Forever,
    /// It is young enough for its set.
    Age {
        /// When its time will be over.
        until: DateTime<Utc>,
    },
    /// It is the newest one that can be restored.
    NewestRestorable,
    /// It is among the newest few that always stay.
    KeepAtLeast {
        /// 1 for the newest.
        rank: u32,
    },
    /// The rule that would expire it was made shorter less than a week ago.
    ShorterRuleWaits {
        /// When the shorter rule begins to count.
        until: DateTime<Utc>,
    },
}

/// Decides for every point, in the order given. All points must be of one plan on one machine.
pub fn decide(points: &[Point], rules: &Rules, now: DateTime<Utc>) -> Vec<Decision> {
    let mut decisions = decide_by(points, &rules.current, now);
    let Some((earlier, replaced_at)) = &rules.replaced else { return decisions };
    let until = *replaced_at + SHORTER_RULE_WAITS;
    if now >= until {
        return decisions;
    }
    for (decision, before) in decisions.iter_mut().zip(decide_by(points, earlier, now)) {
        if !decision.keeps() && before.keeps() {
            *decision = Decision::Keep(KeepReason::ShorterRuleWaits { until });
        }
    }
    decisions
}

fn decide_by(points: &[Point], rules: &Retention, now: DateTime<Utc>) -> Vec<Decision> {
    let ranks = ranks_of_restorable(points);
    points.iter().zip(ranks).map(|(point, rank)| decide_one(point, rank, rules, now)).collect()
}

/// The place of each restorable point counted from the newest, 1 for it; none for points that count for nothing.
/// Points of the same moment are placed by their order in the list, the later one as the newer.
fn ranks_of_restorable(points: &[Point]) -> Vec<Option<u32>> {
    let mut newest_first: Vec<usize> = (0..points.len()).filter(|i| points[*i].restorable).collect();
    newest_first.sort_by_key(|i| std::cmp::Reverse((points[*i].at.to_utc(), *i)));
    let mut ranks = vec![None; points.len()];
    for (rank, index) in (1..).zip(newest_first) {
        ranks[index] = Some(rank);
    }
    ranks
}

fn decide_one(point: &Point, rank: Option<u32>, rules: &Retention, now: DateTime<Utc>) -> Decision {
    if point.held {
        return Decision::Keep(KeepReason::Held);
    }
    if rules.keep_forever {
        return Decision::Keep(KeepReason::Forever);
    }
    let until = expiry(point, rules);
    if now < until {
        return Decision::Keep(KeepReason::Age { until });
    }
    match rank {
        Some(1) => Decision::Keep(KeepReason::NewestRestorable),
        Some(rank) if rank <= rules.keep_at_least => Decision::Keep(KeepReason::KeepAtLeast { rank }),
        Some(_) | None => Decision::Expire { since: until },
    }
}

/// When the point's time in its set is over: months by the calendar (the 31st clamped to the month's last day), weeks
/// of seven days, days of 24 hours. A time beyond the calendar is never over.
pub fn expiry(point: &Point, rules: &Retention) -> DateTime<Utc> {
    let days = |n: i64| Duration::try_days(n).and_then(|span| point.at.checked_add_signed(span));
    let end = match point.set {
        BackupSet::Monthly => point.at.checked_add_months(Months::new(rules.monthly_months)),
        BackupSet::Weekly => days(7 * i64::from(rules.weekly_weeks)),
        BackupSet::Daily => days(i64::from(rules.daily_days)),
    };
    end.map_or(DateTime::<Utc>::MAX_UTC, |at| at.to_utc())
}

/// The decision in words for a person, as of `now`.
pub fn explain(point: &Point, decision: &Decision, rules: &Retention, now: DateTime<Utc>) -> String {
    let set = point.set.label();
    let term = match point.set {
        BackupSet::Monthly => crate::words::count(rules.monthly_months.into(), "month", "months"),
        BackupSet::Weekly => crate::words::count(rules.weekly_weeks.into(), "week", "weeks"),
        BackupSet::Daily => crate::words::count(rules.daily_days.into(), "day", "days"),
    };
    let left = |until: DateTime<Utc>| crate::words::span(until - now);
    match decision {
        Decision::Keep(KeepReason::Held) => "kept: someone put a hold on it".to_owned(),
        Decision::Keep(KeepReason::Forever) => "kept: the plan keeps everything".to_owned(),
        Decision::Keep(KeepReason::Age { until }) => format!("kept: {set} for {term}, {} left", left(*until)),
        Decision::Keep(KeepReason::NewestRestorable) => "kept: the newest one that can be restored".to_owned(),
        Decision::Keep(KeepReason::KeepAtLeast { rank }) => {
            format!("kept: number {rank} of the newest {} that always stay", rules.keep_at_least)
        }
        Decision::Keep(KeepReason::ShorterRuleWaits { until }) => {
            format!("kept: the shorter rule begins to count in {}", left(*until))
        }
        Decision::Expire { since } => {
            format!("goes: {set} for {term}, over since {}", crate::words::span(now - *since))
        }
    }
}
