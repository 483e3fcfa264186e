//! One line for people about a job that ended.

use nightkeep_rules::words;
use nightkeep_wire::report::{JobResult, Outcome};

/// How the job ended, with figures.
pub(crate) fn of_result(result: &JobResult) -> String {
    let stats = &result.stats;
    let took = words::span(result.finished - result.started);
    let figures = format!(
        "{}, {} in {took}, {} new, {} stored",
        words::count(stats.files, "file", "files"),
        words::bytes(stats.bytes),
        words::bytes(stats.bytes_new),
        words::bytes(stats.bytes_stored),
    );
    match result.outcome {
        Outcome::Ok => format!("backup done: {figures}"),
        Outcome::Warning => {
            let findings = words::count(result.finding_count, "finding", "findings");
            format!("backup done with {findings}: {figures}")
        }
        Outcome::Error => format!("backup failed: {}", result.error.as_deref().unwrap_or("for an unknown reason")),
        Outcome::Cancelled => "backup stopped".to_owned(),
        Outcome::Interrupted => "backup interrupted; the next run goes on from there".to_owned(),
    }
}
