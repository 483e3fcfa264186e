//! How long a plan keeps its recovery points.

use serde::{Deserialize, Serialize};

/// Rules per backup set; a point is judged by the age in its own set alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Calendar months that a monthly point is kept.
    pub monthly_months: u32,
    /// Weeks of seven days that a weekly point is kept.
    pub weekly_weeks: u32,
    /// Days of 24 hours that a daily point is kept.
    pub daily_days: u32,
    /// So many of the newest restorable points stay whatever their age. At least 1.
    pub keep_at_least: u32,
    /// Keeps everything; the spans above do not count.
    pub keep_forever: bool,
    /// Which run of a week is the weekly one.
    pub weekly_anchor: WeeklyAnchor,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            monthly_months: 6,
            weekly_weeks: 4,
            daily_days: 7,
            keep_at_least: 3,
            keep_forever: false,
            weekly_anchor: WeeklyAnchor::OnDay,
        }
    }
}

/// Which run of a week is the weekly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeeklyAnchor {
    /// The first on a Monday; a week without a run on Monday has no weekly point.
    #[default]
    OnDay,
    /// The first since Monday.
    FirstOfWeek,
}
