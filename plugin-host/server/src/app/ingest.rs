//! Taking in what agents tell: numbered reports exactly once, progress as a hint.

use nightkeep_database::{IncomingReport, Machine, ReportStop};
use nightkeep_wire::problem::{Problem, ProblemCode};
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{REPORTS_PER_REQUEST_MAX, Report, ReportAck};

use serde::Deserialize as _;

use super::identity::require_active;
use super::{App, AppError};

impl App {
    /// Applies a batch as it was received.
    ///
    /// The hash that tells a repetition from a clone covers the JSON as sent, not our reading of it: fields that this
    /// version does not know count too.
    pub(crate) async fn ingest(&self, machine: &Machine, body: &[u8]) -> Result<ReportAck, AppError> {
        require_active(machine)?;
        let batch = parse(machine, body)?;
        let outcome = self.database.apply_reports(machine.id, &batch, self.now()).await?;
        let outcome = outcome.ok_or_else(|| AppError::not_found("machine"))?;
        if outcome.newly_applied > 0 {
            self.after_reports(machine).await?;
        }
        let name = &machine.facts.hostname;
        match outcome.stop {
            None => Ok(ReportAck { applied_through: outcome.applied_through }),
            Some(ReportStop::Gap { expected, found }) => Err(Problem::sequence_gap(expected, found).into()),
            Some(ReportStop::Conflict { sequence }) => Err(self.clone_alarm(machine, format!(
                "report {sequence} of {name} came before with other content: two machines share one identity; enrol one of them anew"
            )).await?),
            Some(ReportStop::OtherIncarnation) => Err(self.clone_alarm(machine, format!(
                "{name} began a new numbering, and an older one came back: two machines share one identity; enrol one of them anew"
            )).await?),
        }
    }

    async fn after_reports(&self, machine: &Machine) -> Result<(), AppError> {
        // Facts and pauses may just have changed.
        if let Some(machine) = self.database.machine(machine.id).await? {
            self.refresh(&machine).await?;
        }
        self.hub.wake(machine.id);
        self.reported.notify_one();
        Ok(())
    }

    async fn clone_alarm(&self, machine: &Machine, detail: String) -> Result<AppError, AppError> {
        tracing::warn!(machine = %machine.id, hostname = %machine.facts.hostname, "Two machines share one identity");
        self.audit(&machine.id.to_string(), "clone_alarm", machine.id, detail.clone()).await?;
        Ok(AppError::new(ProblemCode::SequenceConflict, detail))
    }

    /// Takes a job's progress.
    pub(crate) async fn progress(&self, machine: &Machine, progress: &JobProgress) -> Result<(), AppError> {
        require_active(machine)?;
        if self.database.put_progress(machine.id, progress).await? {
            self.changed(machine.id);
        }
        Ok(())
    }
}

fn parse(machine: &Machine, body: &[u8]) -> Result<Vec<IncomingReport>, AppError> {
    let bad = |detail: String| AppError::new(ProblemCode::BadRequest, detail);
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|e| bad(format!("the body is not JSON: {e}")))?;
    let Some(reports) = value.get("reports").and_then(serde_json::Value::as_array) else {
        return Err(bad("the body has no list \"reports\"".to_owned()));
    };
    if reports.len() > REPORTS_PER_REQUEST_MAX {
        let detail = format!("{} reports in one request, at most {REPORTS_PER_REQUEST_MAX} are taken", reports.len());
        return Err(AppError::new(ProblemCode::TooLarge, detail));
    }
    reports.iter().map(|value| incoming(machine, value)).collect()
}

fn incoming(machine: &Machine, value: &serde_json::Value) -> Result<IncomingReport, AppError> {
    let bad = |detail: String| AppError::new(ProblemCode::BadRequest, detail);
    // Keys of a `Value` are sorted, so the same content has the same text.
    let hash = *blake3::hash(value.to_string().as_bytes()).as_bytes();
    let report = Report::deserialize(value).map_err(|e| bad(format!("a report cannot be read: {e}")))?;
    if report.machine != machine.id {
        let detail = format!("a report of machine {} came from machine {}", report.machine, machine.id);
        return Err(AppError::new(ProblemCode::NotAllowed, detail));
    }
    if report.sequence == 0 {
        return Err(bad("reports are numbered from 1".to_owned()));
    }
    Ok(IncomingReport { report, hash })
}
