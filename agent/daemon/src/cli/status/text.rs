//! The status for people.

use std::fmt::Write as _;

use chrono::{DateTime, Local, Utc};
use nightkeep_wire::control::{Link, StatusSnapshot};
use nightkeep_wire::status::Overlay;

/// A few lines: the verdict first, then why and what is next.
pub(super) fn of(status: &StatusSnapshot) -> String {
    let mut text = format!("{}: {}", status.bucket, status.hostname);
    if !status.reason.is_empty() {
        let _ = write!(text, "\n  {}", status.reason);
    }
    for warning in &status.warnings {
        let _ = write!(text, "\n  warning: {warning}");
    }
    for overlay in &status.overlays {
        let _ = write!(text, "\n  {}", overlay_text(overlay));
    }
    for plan in &status.plans {
        let _ = write!(text, "\nPlan {:?}", plan.name);
        if let Some(last) = &plan.last {
            let _ = write!(text, "\n  last   {}  {}", local(last.finished), last.message);
        }
        match (&plan.problem, &plan.held, plan.next_start) {
            (Some(problem), _, _) => _ = write!(text, "\n  cannot run here: {problem}"),
            (None, Some(held), _) => _ = write!(text, "\n  due, but waits for {held}"),
            (None, None, Some(next)) => _ = write!(text, "\n  next   {}", local(next)),
            (None, None, None) => {}
        }
    }
    let _ = write!(text, "\n{}", link_text(&status.link));
    if status.reports_waiting > 0 {
        let _ = write!(text, "\n{} reports wait for the host", status.reports_waiting);
    }
    text
}

fn overlay_text(overlay: &Overlay) -> String {
    match overlay {
        Overlay::BackingUp { percent: Some(percent) } => format!("backing up, {percent} %"),
        Overlay::BackingUp { percent: None } => "backing up".to_owned(),
        Overlay::FirstBackup { ready_about: Some(at) } => format!("first backup, ready about {}", local(*at)),
        Overlay::FirstBackup { ready_about: None } => "the first backup is not done yet".to_owned(),
        Overlay::Paused { until: Some(until) } => format!("paused until {}", local(*until)),
        Overlay::Paused { until: None } => "paused".to_owned(),
        Overlay::Offline { .. } => "offline".to_owned(),
        Overlay::Unknown => "more than this program knows: update it".to_owned(),
    }
}

fn link_text(link: &Link) -> String {
    match link {
        Link::NotEnrolled => "Belongs to no host".to_owned(),
        Link::Online { host, .. } => format!("Online at {host}"),
        Link::Offline { host, last_contact: Some(at), message } => {
            format!("Offline since {} from {host}: {message}", local(*at))
        }
        Link::Offline { host, last_contact: None, message } => format!("Offline from {host}: {message}"),
    }
}

fn local(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string()
}
