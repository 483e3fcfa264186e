//! When a plan runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When a plan runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// While it is off the plan runs only by hand, and retention only after such runs.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Six fields for the `cron` crate: second, minute, hour, day of month, month, day of week.
    pub cron: String,
    /// Whose clock the expression means.
    #[serde(default)]
    pub zone: ZoneChoice,
    /// After its time (and delay) a run may still start within this span; later it is a catch-up. None: until the next.
    #[serde(default)]
    pub start_window_seconds: Option<u32>,
    /// Starts are spread over this span, fixed per machine.
    #[serde(default = "default_delay")]
    pub random_delay_max_seconds: u32,
    /// What happens to an occurrence that could not be served.
    #[serde(default)]
    pub catch_up: CatchUp,
}

fn yes() -> bool {
    true
}

fn default_delay() -> u32 {
    30 * 60
}

impl Schedule {
    /// This expression in the machine's zone with the usual spread.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self {
            enabled: true,
            cron: expression.into(),
            zone: ZoneChoice::Machine,
            start_window_seconds: None,
            random_delay_max_seconds: default_delay(),
            catch_up: CatchUp::WhenPossible,
        }
    }
}

/// What happens to an occurrence that could not be served at its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// One run as soon as the machine is up again, however many occurrences passed.
    #[default]
    WhenPossible,
    /// None; the next occurrence serves.
    Never,
}

/// Whose clock a schedule means: `"machine"`, or the name of a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ZoneChoice {
    /// The machine's own zone, wherever it travels.
    #[default]
    Machine,
    /// An IANA zone such as `Europe/Berlin`; [`super::Plan::validate`] checks that it exists.
    Named(String),
}

impl From<String> for ZoneChoice {
    fn from(text: String) -> Self {
        if text == "machine" { Self::Machine } else { Self::Named(text) }
    }
}

impl From<ZoneChoice> for String {
    fn from(zone: ZoneChoice) -> String {
        zone.to_string()
    }
}

impl fmt::Display for ZoneChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("machine"),
            Self::Named(name) => f.write_str(name),
        }
    }
}
