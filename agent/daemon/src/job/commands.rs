//! What runs before and after a job.
//!
//! Invariant: once a pre command may have begun, the post command runs, whatever became of the job in between.

use nightkeep_wire::plan::CommandFailure;
use nightkeep_wire::report::{FINDINGS_MAX, Finding, FindingKind, JobResult, Outcome};

use super::allowed::Allowed;
use super::command::{self, CommandError};
use super::{Run, result};

/// How the pre command came out.
pub(super) enum Before {
    /// The run goes on, perhaps with something to tell.
    GoOn(Option<Finding>),
    /// The run fails with these words.
    Fail(String),
    /// The run was asked to end.
    Stopped,
}

/// Runs the plan's pre command.
pub(super) fn before(run: &Run) -> Before {
    let options = &run.plan.plan.options;
    let Some(name) = &options.pre_command else { return Before::GoOn(None) };
    match carry_out(run, name, "before", "", || run.stop.requested().is_some()) {
        Ok(()) => Before::GoOn(None),
        Err(CommandError::Stopped) => Before::Stopped,
        Err(error) => {
            let words = format!("the pre command {name} failed: {}", crate::chain::chain(&error));
            match options.pre_command_failure {
                CommandFailure::Fail => Before::Fail(words),
                CommandFailure::Warn => Before::GoOn(Some(finding(words))),
            }
        }
    }
}

/// Runs the plan's post command, with the job's result in its environment. One that fails makes a warning of a success; it
/// runs to its own time's end also when the job was stopped.
pub(super) fn after(run: &Run, mut done: JobResult) -> JobResult {
    let Some(name) = &run.plan.plan.options.post_command else { return done };
    let Err(error) = carry_out(run, name, "after", status(done.outcome), || false) else { return done };
    add_finding(&mut done, finding(format!("the post command {name} failed: {}", crate::chain::chain(&error))));
    done
}

/// A finding that colours a success.
pub(super) fn add_finding(done: &mut JobResult, finding: Finding) {
    if done.outcome == Outcome::Ok {
        done.outcome = Outcome::Warning;
    }
    done.finding_count += 1;
    done.findings.insert(0, finding);
    done.findings.truncate(FINDINGS_MAX);
}

/// Runs the post command of a job whose process ended under it.
pub(crate) fn after_crash(run: &Run) {
    let Some(name) = &run.plan.plan.options.post_command else { return };
    tracing::info!(job = %run.job.id, command = name, "The post command of an interrupted job runs");
    // Told in the log; the job was reported already.
    let _ = carry_out(run, name, "after", status(Outcome::Interrupted), || false);
}

/// Runs the post command also where the thread panics.
pub(super) struct AfterPanic<'a>(pub(super) &'a Run);

impl Drop for AfterPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(name) = &self.0.plan.plan.options.post_command
        {
            let _ = carry_out(self.0, name, "after", status(Outcome::Error), || false);
        }
    }
}

fn carry_out(run: &Run, name: &str, phase: &str, status: &str, stopped: impl Fn() -> bool) -> Result<(), CommandError> {
    let plan = &run.plan.plan;
    let mut environment = vec![
        ("NIGHTKEEP_PHASE", phase.to_owned()),
        ("NIGHTKEEP_JOB", run.job.id.to_string()),
        ("NIGHTKEEP_PLAN", plan.name.clone()),
        ("NIGHTKEEP_PLAN_ID", plan.id.to_string()),
        ("NIGHTKEEP_STATUS", status.to_owned()),
    ];
    if let Some(occurrence) = run.job.occurrence {
        environment.push(("NIGHTKEEP_OCCURRENCE", occurrence.to_rfc3339()));
    }
    let ended = Allowed::load(&run.commands_file)
        .map_err(CommandError::from)
        .and_then(|allowed| command::run(&allowed, name, &environment, stopped));
    match &ended {
        Ok(()) => tracing::info!(job = %run.job.id, command = name, phase, "A command is done"),
        Err(error) => {
            let error = crate::chain::chain(error);
            tracing::warn!(job = %run.job.id, command = name, phase, error, "A command failed");
        }
    }
    ended
}

fn finding(words: String) -> Finding {
    Finding { path_lossy: String::new(), kind: FindingKind::CommandFailed, message: result::bounded(&words) }
}

/// The word that the post command finds.
fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Error => "error",
        Outcome::Cancelled => "cancelled",
        Outcome::Interrupted => "interrupted",
    }
}
