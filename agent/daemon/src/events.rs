//! What the daemon tells the system's event log, and its own log with the same numbers.
//!
//! **Invariant**: the numbers are those of [`Event`]; which report is which event is decided here and nowhere else.

use chrono::{DateTime, Utc};
use nightkeep_platform::event_log::{self, Event, Kind};
use nightkeep_wire::PlanId;
use nightkeep_wire::report::{MissedReason, Outcome, ReportBody};

use crate::cli::service::windows_services::NAME;

/// Tells both logs.
pub(crate) fn tell(event: Event, text: &str) {
    let (id, title) = (event.id(), event.title());
    match event.kind() {
        Kind::Information => tracing::info!(event = id, text, "{title}"),
        Kind::Warning => tracing::warn!(event = id, text, "{title}"),
        Kind::Error => tracing::error!(event = id, text, "{title}"),
    }
    tell_system(event, text);
}

/// Tells the system's log alone: for commands, which have a terminal of their own.
pub(crate) fn tell_system(event: Event, text: &str) {
    if let Err(error) = event_log::tell(NAME, event, text) {
        tracing::warn!(%error, "The event log was not told");
    }
}

/// The event that a report is, with its text; most reports are none. `name` knows plans by name.
pub(crate) fn of_report(body: &ReportBody, name: impl Fn(PlanId) -> String) -> Option<(Event, String)> {
    let of_plan = |plan: Option<PlanId>, text: &str| match plan {
        Some(plan) => format!("{}: {text}", name(plan)),
        None => text.to_owned(),
    };
    match body {
        ReportBody::JobStarted(job) => Some((Event::BackupStarted, job.plan.map(&name).unwrap_or_default())),
        ReportBody::JobFinished(result) => {
            let event = match result.outcome {
                Outcome::Ok => Event::BackupOk,
                Outcome::Warning => Event::BackupWarning,
                Outcome::Error => Event::BackupError,
                Outcome::Cancelled => Event::BackupStopped,
                Outcome::Interrupted => Event::BackupInterrupted,
            };
            Some((event, of_plan(result.plan, &crate::daemon::words::of_result(result))))
        }
        ReportBody::Missed(missed) => {
            let text = format!("due {}, {}", minute(missed.occurrence), reason(missed.reason));
            Some((Event::BackupMissed, of_plan(Some(missed.plan), &text)))
        }
        ReportBody::PlanState(state) if state.accepted => {
            let next =
                state.next_start.map_or_else(|| "no next start".to_owned(), |at| format!("next start {}", minute(at)));
            Some((Event::PlanApplied, of_plan(Some(state.plan), &next)))
        }
        ReportBody::PlanState(state) => {
            let message = state.message.as_deref().unwrap_or("for an unknown reason");
            Some((Event::PlanRefused, of_plan(Some(state.plan), message)))
        }
        ReportBody::Pause(pause) => Some(match pause.until {
            Some(until) => (Event::Paused, format!("by {}, until {}", pause.by, minute(until))),
            None => (Event::Resumed, format!("by {}", pause.by)),
        }),
        ReportBody::JobProgress(_) | ReportBody::CommandDone(_) | ReportBody::Facts(_) | ReportBody::Unknown => None,
    }
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn reason(reason: MissedReason) -> &'static str {
    match reason {
        MissedReason::MachineOff => "the machine was off or asleep",
        MissedReason::AgentStopped => "the agent did not run",
        MissedReason::Conditions => "battery or network rules held it back",
        MissedReason::Paused => "backups were paused",
        MissedReason::Unreachable => "storage or host could not be reached",
        MissedReason::Interrupted => "every run was interrupted",
        MissedReason::Unknown => "for an unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use nightkeep_wire::report::{Missed, PauseState, PlanState};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_report_is_the_event_of_its_number_with_a_text_that_names_the_plan() {
        let (plan, at) = (PlanId::from_uuid(Uuid::from_u128(1)), DateTime::UNIX_EPOCH + TimeDelta::days(1));
        let state = |accepted, message: Option<&str>| {
            ReportBody::PlanState(PlanState {
                plan,
                revision: 1,
                accepted,
                message: message.map(str::to_owned),
                next_occurrence: None,
                next_start: Some(at),
            })
        };
        let pause = |until| ReportBody::Pause(PauseState { until, by: "anna".to_owned() });
        let missed = Missed { plan, occurrence: at, reason: MissedReason::MachineOff, online_seconds: 0 };
        let cases = [
            (ReportBody::Missed(missed), 1004, "Nightly: due 1970-01-02 00:00 UTC, the machine was off or asleep"),
            (state(true, None), 1010, "Nightly: next start 1970-01-02 00:00 UTC"),
            (state(false, Some("no such zone")), 1012, "Nightly: no such zone"),
            (pause(Some(at)), 1006, "by anna, until 1970-01-02 00:00 UTC"),
            (pause(None), 1007, "by anna"),
        ];
        for (body, number, text) in cases {
            let event = of_report(&body, |_| "Nightly".to_owned()).map(|(event, text)| (event.id(), text));
            assert_eq!(event, Some((number, text.to_owned())));
        }
        assert_eq!(of_report(&ReportBody::Unknown, |_| String::new()), None);
    }
}
