//! The status in the words of monitoring systems and RMMs (conventions.md, C4 and C6): the last line is a one-line
//! summary where the dialect has no form of its own, and the exit code is the dialect's.

use chrono::{DateTime, Utc};
use nightkeep_wire::control::StatusSnapshot;
use nightkeep_wire::report::Outcome;
use nightkeep_wire::status::{Bucket, Overlay};

use super::super::args::Dialect;

/// What is printed, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) code: u16,
}

/// How bad it is, for those who know four degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Codes of monitoring plugins.
    const fn code(self) -> u16 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

/// The status in a dialect.
pub(super) fn of(dialect: Dialect, status: &StatusSnapshot) -> Said {
    let level = level_of(status);
    let summary = summary(level, status);
    match dialect {
        Dialect::Nagios => {
            let age = last_success(status).map(|at| (status.at - at).num_seconds().max(0));
            let figures = age.map(|age| format!(" | 'age'={age}s;;;0;")).unwrap_or_default();
            Said { text: format!("{}{figures}", summary.replace('|', "/")), code: level.code() }
        }
        Dialect::Checkmk => {
            let age = last_success(status).map(|at| (status.at - at).num_seconds().max(0));
            let figures = age.map_or_else(|| "-".to_owned(), |age| format!("age={age}"));
            // The state is in the line; a local check that exits with another code than 0 is thought broken. A backslash
            // before an n would begin a new line, as in a path of Windows.
            let summary = summary.replace('\\', "/");
            Said { text: format!("{} \"Nightkeep Backup\" {figures} {summary}", level.code()), code: 0 }
        }
        Dialect::Prometheus => Said { text: prometheus(status, level), code: 0 },
        Dialect::Datto | Dialect::Ninja | Dialect::Nsight | Dialect::Automate | Dialect::Tactical => {
            simple(dialect, level, &summary)
        }
        Dialect::Text | Dialect::Json => Said { text: summary, code: 0 },
    }
}

/// There is nobody to ask.
pub(super) fn unknown(dialect: Dialect, problem: &str) -> Said {
    let problem = one_line(problem);
    let level = Level::Unknown;
    let summary = format!("UNKNOWN: {problem}");
    match dialect {
        Dialect::Checkmk => {
            Said { text: format!("3 \"Nightkeep Backup\" - {}", summary.replace('\\', "/")), code: 0 }
        }
        Dialect::Prometheus => Said { text: "# HELP nightkeep_agent_up Whether the agent answers.\n# TYPE nightkeep_agent_up gauge\nnightkeep_agent_up 0\n".to_owned(), code: 0 },
        Dialect::Nagios | Dialect::Text | Dialect::Json => Said { text: summary, code: level.code() },
        Dialect::Datto | Dialect::Ninja | Dialect::Nsight | Dialect::Automate | Dialect::Tactical => {
            simple(dialect, level, &summary)
        }
    }
}

/// The exit code for arguments that make no sense; none where it is the usual one.
pub(super) fn usage_code(dialect: Dialect) -> Option<u16> {
    match dialect {
        Dialect::Nagios | Dialect::Checkmk | Dialect::Tactical => Some(3),
        Dialect::Datto | Dialect::Ninja => Some(1),
        Dialect::Nsight => Some(1001),
        Dialect::Automate | Dialect::Prometheus | Dialect::Text | Dialect::Json => None,
    }
}

fn simple(dialect: Dialect, level: Level, summary: &str) -> Said {
    let alert = match level {
        Level::Ok => 0,
        Level::Warning | Level::Critical | Level::Unknown => 1,
    };
    match dialect {
        Dialect::Datto => Said { text: format!("<-Start Result->\nSTATUS={summary}\n<-End Result->"), code: alert },
        Dialect::Nsight => Said { text: summary.to_owned(), code: alert * 1001 },
        // A keyword in the output decides there, and a failing code would hide the output.
        Dialect::Automate => Said { text: format!("Status={}\n{summary}", level.word()), code: 0 },
        Dialect::Tactical => Said { text: summary.to_owned(), code: level.code() },
        Dialect::Ninja | Dialect::Text | Dialect::Json | Dialect::Nagios | Dialect::Checkmk | Dialect::Prometheus => {
            Said { text: summary.to_owned(), code: alert }
        }
    }
}

fn level_of(status: &StatusSnapshot) -> Level {
    // Monitors wait while the first backup makes progress, but nothing is called OK before it is done.
    let first = status.overlays.iter().any(|overlay| matches!(overlay, Overlay::FirstBackup { .. }));
    match status.bucket {
        _ if status.machine.is_none() => Level::Unknown,
        Bucket::Ok => Level::Ok,
        Bucket::Warning | Bucket::WithoutPlan => Level::Warning,
        Bucket::NotProtected if first => Level::Warning,
        Bucket::NotProtected | Bucket::Error => Level::Critical,
        Bucket::WithoutAgent => Level::Unknown,
    }
}

fn summary(level: Level, status: &StatusSnapshot) -> String {
    let label = Some(status.bucket.label()).filter(|label| !label.eq_ignore_ascii_case(level.word()));
    let reason = Some(one_line(&status.reason)).filter(|reason| !reason.is_empty());
    let parts: Vec<&str> = label.into_iter().chain(reason.as_deref()).collect();
    format!("{}: {}", level.word(), if parts.is_empty() { "protected".to_owned() } else { parts.join(", ") })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Of the plan that is worst off. A run that failed made no point, but the one before it counts on.
fn last_success(status: &StatusSnapshot) -> Option<DateTime<Utc>> {
    status.plans.iter().filter_map(|plan| plan.newest_point).min()
}

fn prometheus(status: &StatusSnapshot, level: Level) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, samples: Vec<(String, String)>| {
        if samples.is_empty() {
            return;
        }
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        samples.iter().for_each(|(labels, value)| text.push_str(&format!("{name}{labels} {value}\n")));
    };
    metric("nightkeep_agent_up", "Whether the agent answers.", vec![(String::new(), "1".to_owned())]);
    let code = level.code().to_string();
    metric("nightkeep_status", "0 OK, 1 warning, 2 critical, 3 unknown.", vec![(String::new(), code)]);
    let plans = || status.plans.iter().map(|plan| (format!("{{plan=\"{}\"}}", escaped(&plan.name)), plan));
    let runs = || plans().filter_map(|(labels, plan)| Some((labels, plan.last.as_ref()?)));
    metric(
        "nightkeep_backup_last_finished_timestamp_seconds",
        "When the last run ended.",
        runs().map(|(labels, last)| (labels, last.finished.timestamp().to_string())).collect(),
    );
    metric(
        "nightkeep_backup_last_success_timestamp_seconds",
        "Start of the run that made the newest recovery point.",
        plans().filter_map(|(labels, plan)| Some((labels, plan.newest_point?.timestamp().to_string()))).collect(),
    );
    metric(
        "nightkeep_backup_last_result",
        "0 OK, 1 warning, 2 error, 3 stopped or interrupted.",
        runs().map(|(labels, last)| (labels, result_code(last.outcome).to_string())).collect(),
    );
    metric(
        "nightkeep_backup_next_start_timestamp_seconds",
        "When the next run starts.",
        plans().filter_map(|(labels, plan)| Some((labels, plan.next_start?.timestamp().to_string()))).collect(),
    );
    let waiting = status.reports_waiting.to_string();
    metric("nightkeep_reports_waiting", "Reports that the host has not acknowledged.", vec![(String::new(), waiting)]);
    text
}

const fn result_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Warning => 1,
        Outcome::Error => 2,
        Outcome::Cancelled | Outcome::Interrupted => 3,
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
