//! Whether a plan can be run. All problems are told at once, each with its field and the remedy.

mod options;

use std::fmt;
use std::str::FromStr;

use super::{Encryption, Items, Location, PLAN_SCHEMA, Plan, PolicyRule, Retention, Schedule, Selection, ZoneChoice};

const NAME_CHARS_MAX: usize = 120;
const PATTERNS_MAX: usize = 1000;
const PATTERN_BYTES_MAX: usize = 1024;
const RULES_MAX: usize = 100;
const DELAY_SECONDS_MAX: u32 = 24 * 3600;

/// Why a plan cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or fields are missing or of the wrong kind.
    #[error("the plan is not valid TOML for a plan")]
    Toml(#[source] Box<toml::de::Error>),
    /// Not JSON, or fields are missing or of the wrong kind.
    #[error("the plan is not valid JSON for a plan")]
    Json(#[source] serde_json::Error),
    /// A value that TOML cannot hold.
    #[error("the plan cannot be written as TOML")]
    Write(#[source] Box<toml::ser::Error>),
    /// Fields that contradict the rules.
    #[error("the plan {name:?} cannot be used: {}", join(problems))]
    Invalid {
        /// Name of the plan.
        name: String,
        /// Everything that is wrong, at least one.
        problems: Vec<PlanProblem>,
    },
}

/// One thing wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// Path of the field, such as `schedule.cron`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn join(problems: &[PlanProblem]) -> String {
    problems.iter().map(PlanProblem::to_string).collect::<Vec<_>>().join("; ")
}

struct Problems(Vec<PlanProblem>);

impl Problems {
    fn unless(&mut self, good: bool, field: &'static str, message: impl Into<String>) {
        if !good {
            self.0.push(PlanProblem { field, message: message.into() });
        }
    }
}

impl Plan {
    /// Checks everything that can be checked away from the machine.
    pub fn validate(&self) -> Result<(), PlanError> {
        let mut problems = Problems(Vec::new());
        let schema = format!("{} is newer than this program reads ({PLAN_SCHEMA}): update it", self.schema);
        problems.unless((1..=PLAN_SCHEMA).contains(&self.schema), "schema", schema);
        let name_ok = !self.name.trim().is_empty() && self.name.chars().count() <= NAME_CHARS_MAX;
        problems.unless(name_ok, "name", format!("a name of 1 to {NAME_CHARS_MAX} characters is needed"));
        check_items(&self.items, &mut problems);
        check_schedule(&self.schedule, &mut problems);
        check_retention(&self.retention, &mut problems);
        check_location(&self.location, &mut problems);
        check_encryption(&self.encryption, &mut problems);
        options::check(&self.options, &mut problems);
        if problems.0.is_empty() {
            return Ok(());
        }
        Err(PlanError::Invalid { name: self.name.chars().take(NAME_CHARS_MAX).collect(), problems: problems.0 })
    }
}

fn check_items(items: &Items, problems: &mut Problems) {
    match &items.selection {
        Selection::EntireMachine => {}
        Selection::PolicyRules { rules } => check_rules(rules, problems),
        Selection::Paths { paths } => check_paths(paths, problems),
        Selection::Unknown => {
            problems.unless(false, "items.selection", "unknown kind of selection: update this program")
        }
    }
    check_patterns("items.include", &items.include, problems);
    check_patterns("items.exclude", &items.exclude, problems);
}

fn check_rules(rules: &[PolicyRule], problems: &mut Problems) {
    let field = "items.selection.rules";
    problems.unless((1..=RULES_MAX).contains(&rules.len()), field, format!("1 to {RULES_MAX} rules are needed"));
    for rule in rules {
        match rule {
            PolicyRule::AllVolumes | PolicyRule::SystemVolume | PolicyRule::UserProfiles => {}
            PolicyRule::Variable { path } => {
                let starts_well = path.starts_with('%') || path.starts_with('$');
                problems.unless(
                    starts_well,
                    field,
                    format!("{path:?} must start with a variable: %NAME% or ${{NAME}}"),
                );
            }
            PolicyRule::Unknown => problems.unless(false, field, "unknown rule: update this program"),
        }
    }
}

fn check_paths(paths: &[String], problems: &mut Problems) {
    let field = "items.selection.paths";
    problems.unless((1..=RULES_MAX).contains(&paths.len()), field, format!("1 to {RULES_MAX} paths are needed"));
    for path in paths {
        problems.unless(is_absolute(path), field, format!("{path:?} must be an absolute path"));
    }
}

/// Absolute on any system: the console that edits a plan runs on another one than the machine.
fn is_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive =
        bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/');
    !path.contains('\0') && (drive || path.starts_with('/') || path.starts_with(r"\\"))
}

fn check_patterns(field: &'static str, patterns: &[String], problems: &mut Problems) {
    problems.unless(patterns.len() <= PATTERNS_MAX, field, format!("at most {PATTERNS_MAX} patterns are allowed"));
    let fits = |p: &String| !p.trim().is_empty() && p.len() <= PATTERN_BYTES_MAX && !p.contains(['\0', '\n']);
    for pattern in patterns.iter().filter(|p| !fits(p)).take(3) {
        let shown: String = pattern.chars().take(60).collect();
        problems.unless(
            false,
            field,
            format!("{shown:?} is empty, longer than {PATTERN_BYTES_MAX} bytes or not one line"),
        );
    }
}

fn check_schedule(schedule: &Schedule, problems: &mut Problems) {
    let field = "schedule.cron";
    let count = schedule.cron.split_whitespace().count();
    let shape =
        format!("{count} fields; six are needed: second minute hour day month weekday, as in \"0 0 23 * * Mon-Fri\"");
    problems.unless(count == 6, field, shape);
    if count == 6
        && let Err(error) = cron::Schedule::from_str(&schedule.cron)
    {
        problems.unless(false, field, format!("{:?} is no schedule: {error}", schedule.cron));
    }
    if let ZoneChoice::Named(name) = &schedule.zone {
        let known = name.parse::<chrono_tz::Tz>().is_ok();
        problems.unless(
            known,
            "schedule.zone",
            format!("{name:?} is no zone; use \"machine\" or a name like Europe/Berlin"),
        );
    }
    let delay_ok = schedule.random_delay_max_seconds <= DELAY_SECONDS_MAX;
    problems.unless(delay_ok, "schedule.random_delay_max_seconds", "a day (86400) is the longest delay");
    let window_ok = schedule.start_window_seconds.is_none_or(|window| window >= 60);
    problems.unless(window_ok, "schedule.start_window_seconds", "a start window has at least 60 seconds");
}

fn check_retention(retention: &Retention, problems: &mut Problems) {
    let spans = [
        ("retention.monthly_months", retention.monthly_months, 1200),
        ("retention.weekly_weeks", retention.weekly_weeks, 5200),
        ("retention.daily_days", retention.daily_days, 36500),
        ("retention.keep_at_least", retention.keep_at_least, 1000),
    ];
    for (field, value, max) in spans {
        problems.unless((1..=max).contains(&value), field, format!("{value} is outside 1 to {max}"));
    }
}

fn check_location(location: &Location, problems: &mut Problems) {
    const SCHEMES: [&str; 5] = ["file://", "s3://", "az://", "gs://", "nightkeep+https://"];
    match location {
        Location::CloudStorage => {}
        Location::Vault { url } => {
            let known = SCHEMES.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
            problems.unless(known, "location.url", format!("{url:?} must start with one of {}", SCHEMES.join(", ")));
        }
        Location::Unknown => problems.unless(false, "location", "unknown kind of location: update this program"),
    }
}

fn check_encryption(encryption: &Encryption, problems: &mut Problems) {
    match encryption {
        Encryption::Managed => {}
        Encryption::Password { domain } => {
            problems.unless(!domain.trim().is_empty(), "encryption.domain", "the private domain needs a name");
        }
        Encryption::Unknown => problems.unless(false, "encryption", "unknown kind of encryption: update this program"),
    }
}
