//! Limits of what a report may carry.
//!
//! Invariant: a report that passes [`Report::check_bounds`] has a bounded size and times between the years 1900 and 2300, so
//! that a hostile or broken agent can neither fill the host's database with one message nor upset its arithmetic.

use chrono::{DateTime, Datelike, Utc};

use super::{FINDINGS_MAX, JobResult, REPORT_TEXT_BYTES_MAX, Report, ReportBody};
use crate::machine::MachineFacts;

const ABILITIES_MAX: usize = 100;
const YEARS: std::ops::Range<i32> = 1900..2300;

/// A report that is larger than agents make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("report {sequence}: {field} is beyond its limit of {limit}")]
pub struct BoundsError {
    /// Number of the report.
    pub sequence: u64,
    /// The field.
    pub field: &'static str,
    /// Its limit.
    pub limit: usize,
}

/// The text, cut at a character so that it fits into a report; a cut one ends in "…".
pub fn bounded_text(text: &str) -> String {
    const MARK: &str = "…";
    if text.len() <= REPORT_TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let room = REPORT_TEXT_BYTES_MAX - MARK.len();
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{MARK}", &text[..end])
}

impl Report {
    /// Checks counts and lengths; the host calls it before it stores anything.
    pub fn check_bounds(&self) -> Result<(), BoundsError> {
        let beyond = |(field, limit)| BoundsError { sequence: self.sequence, field, limit };
        if self.sequence == 0 {
            return Err(beyond(("sequence", 1)));
        }
        let found = time("at", Some(self.at)).or_else(|| first_beyond(&self.body));
        found.map_or(Ok(()), |found| Err(beyond(found)))
    }
}

type Beyond = (&'static str, usize);

fn first_beyond(body: &ReportBody) -> Option<Beyond> {
    match body {
        ReportBody::JobFinished(result) => of_result(result),
        ReportBody::CommandDone(done) => text("message", done.message.as_deref()),
        ReportBody::PlanState(state) => text("message", state.message.as_deref())
            .or_else(|| time("next_occurrence", state.next_occurrence))
            .or_else(|| time("next_start", state.next_start)),
        ReportBody::Pause(pause) => text("by", Some(&pause.by)).or_else(|| time("until", pause.until)),
        ReportBody::Facts(facts) => of_facts(facts),
        ReportBody::JobStarted(job) => {
            time("started", Some(job.started)).or_else(|| time("occurrence", job.occurrence))
        }
        ReportBody::JobProgress(job) => time("started", Some(job.started)).or_else(|| time("at", Some(job.at))),
        ReportBody::Missed(missed) => time("occurrence", Some(missed.occurrence)),
        ReportBody::Unknown => None,
    }
}

fn of_result(result: &JobResult) -> Option<Beyond> {
    if result.findings.len() > FINDINGS_MAX {
        return Some(("findings", FINDINGS_MAX));
    }
    let of_findings = result.findings.iter().find_map(|finding| {
        text("findings.path_lossy", Some(&finding.path_lossy))
            .or_else(|| text("findings.message", Some(&finding.message)))
    });
    let zone = result.civil.as_ref().map(|civil| civil.zone.as_str());
    let times =
        [("started", Some(result.started)), ("finished", Some(result.finished)), ("occurrence", result.occurrence)];
    let of_times = times.into_iter().find_map(|(field, at)| time(field, at));
    let of_texts = text("error", result.error.as_deref()).or_else(|| text("civil.zone", zone));
    of_findings.or(of_texts).or(of_times)
}

fn of_facts(facts: &MachineFacts) -> Option<Beyond> {
    if facts.abilities.len() > ABILITIES_MAX {
        return Some(("abilities", ABILITIES_MAX));
    }
    let texts = [
        ("hostname", &facts.hostname),
        ("os.name", &facts.os.name),
        ("os.version", &facts.os.version),
        ("arch", &facts.arch),
        ("hardware_fingerprint", &facts.hardware_fingerprint),
        ("agent_version", &facts.agent_version),
        ("zone", &facts.zone),
    ];
    let of_abilities = facts.abilities.iter().find_map(|ability| text("abilities", Some(ability)));
    let of_texts = texts.into_iter().find_map(|(field, value)| text(field, Some(value)));
    let of_boot = text("boot_id", facts.boot_id.as_deref()).or_else(|| time("booted_at", facts.booted_at));
    of_texts.or(of_boot).or(of_abilities)
}

fn time(field: &'static str, at: Option<DateTime<Utc>>) -> Option<Beyond> {
    at.filter(|at| !YEARS.contains(&at.year())).map(|_| (field, usize::try_from(YEARS.end).unwrap_or(0)))
}

fn text(field: &'static str, value: Option<&str>) -> Option<Beyond> {
    value.filter(|text| text.len() > REPORT_TEXT_BYTES_MAX).map(|_| (field, REPORT_TEXT_BYTES_MAX))
}
