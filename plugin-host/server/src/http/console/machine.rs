//! A machine's page and its buttons.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use nightkeep_wire::machine::MachineClass;
use nightkeep_wire::report::{Cause, Finding, JobKind, Outcome};
use nightkeep_wire::{MachineId, PlanId};
use serde::Deserialize;

use super::super::admin::view::{JobView, MachineDetail, MachineView, machine_detail};
use super::format;
use super::page::{Actor, PageError, Viewer, show};
use crate::app::SharedApp;

#[derive(Template)]
#[template(path = "machine.html")]
struct Page<'a> {
    user: &'a str,
    machine: &'a MachineView,
    detail: &'a MachineDetail,
    class: &'static str,
    jobs: Vec<JobLine<'a>>,
    /// Plans that could be applied.
    available: Vec<(PlanId, String)>,
}

struct JobLine<'a> {
    started: chrono::DateTime<chrono::Utc>,
    cause: &'static str,
    set: &'a str,
    outcome: String,
    class: &'static str,
    error: &'a str,
    findings: &'a [Finding],
    finding_count: u64,
    more_findings: u64,
    files: String,
    bytes: String,
    new: String,
    stored: String,
    took: String,
}

pub(super) async fn page(
    State(app): State<SharedApp>,
    Viewer(user): Viewer,
    Path(machine): Path<MachineId>,
) -> Result<Html<String>, PageError> {
    let (machine, place) = app.machine_for(&user, machine).await?;
    let detail = machine_detail(&app, &machine, &place).await?;
    let now = app.now();
    let plans = app.database.plans_for(place.customer.id).await?.into_iter();
    let is_free = |id: PlanId| detail.plans.iter().all(|applied| applied.id != id);
    let available = plans.filter(|plan| is_free(plan.plan.id)).map(|plan| (plan.plan.id, plan.plan.name));
    show(&Page {
        user: &user.name,
        machine: &detail.machine,
        class: class_word(detail.class),
        jobs: detail.jobs.iter().map(|job| job_line(job, now)).collect(),
        available: available.collect(),
        detail: &detail,
    })
}

fn class_word(class: MachineClass) -> &'static str {
    match class {
        MachineClass::Server => "Server",
        MachineClass::Workstation => "Workstation",
        MachineClass::Vm => "Virtual machine",
        MachineClass::Mobile => "Mobile device",
    }
}

fn job_line(job: &JobView, now: chrono::DateTime<chrono::Utc>) -> JobLine<'_> {
    let (outcome, class) = outcome_words(job);
    let stat = |value: Option<u64>, show: fn(u64) -> String| value.map_or("—".to_owned(), show);
    let stats = job.stats.filter(|stats| stats.files + stats.bytes > 0);
    JobLine {
        started: job.started,
        cause: cause_word(job),
        set: job.set.unwrap_or_default(),
        outcome,
        class,
        error: job.error.as_deref().unwrap_or_default(),
        findings: &job.findings,
        finding_count: job.finding_count,
        more_findings: job.finding_count.saturating_sub(job.findings.len() as u64),
        files: stat(stats.map(|s| s.files), format::count),
        bytes: stat(stats.map(|s| s.bytes), format::bytes),
        new: stat(stats.map(|s| s.bytes_new), format::bytes),
        stored: stat(stats.map(|s| s.bytes_stored), format::bytes),
        took: format::span(job.finished.unwrap_or(now) - job.started),
    }
}

fn outcome_words(job: &JobView) -> (String, &'static str) {
    match job.outcome {
        Some(Outcome::Ok) => ("OK".to_owned(), "ok"),
        Some(Outcome::Warning) => ("Warning".to_owned(), "warning"),
        Some(Outcome::Error) => ("Error".to_owned(), "error"),
        Some(Outcome::Cancelled) => ("Stopped".to_owned(), "without_plan"),
        Some(Outcome::Interrupted) => ("Interrupted".to_owned(), "without_plan"),
        None => {
            let doing = match job.kind {
                JobKind::Backup => "Backing up",
                JobKind::Restore => "Restoring",
                JobKind::Verify => "Verifying",
                JobKind::Unknown => "Running",
            };
            (job.percent.map_or(doing.to_owned(), |percent| format!("{doing} {percent} %")), "busy")
        }
    }
}

fn cause_word(job: &JobView) -> &'static str {
    match job.cause {
        Cause::Schedule => "scheduled",
        Cause::Manual => "started at the machine",
        Cause::Command => "started from the console",
        Cause::CatchUp => "caught up",
        Cause::Unknown => "",
    }
}

fn back_to(machine: MachineId) -> Redirect {
    Redirect::to(&format!("/machines/{machine}"))
}

pub(super) async fn start(
    State(app): State<SharedApp>,
    Actor(user): Actor,
    Path(machine): Path<MachineId>,
) -> Result<Redirect, PageError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    // With several plans the button means all of them.
    for application in app.database.applications(machine.id).await? {
        app.start(&machine, Some(application.plan.plan.id), &user.name).await?;
    }
    Ok(back_to(machine.id))
}

pub(super) async fn stop(
    State(app): State<SharedApp>,
    Actor(user): Actor,
    Path(machine): Path<MachineId>,
) -> Result<Redirect, PageError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    app.stop(&machine, None, None, &user.name).await?;
    Ok(back_to(machine.id))
}

pub(super) async fn approve(
    State(app): State<SharedApp>,
    Actor(user): Actor,
    Path(machine): Path<MachineId>,
) -> Result<Redirect, PageError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    app.approve(&machine, &user.name).await?;
    Ok(back_to(machine.id))
}

#[derive(Deserialize)]
pub(super) struct Apply {
    plan: PlanId,
    /// A ticked box; absent when it is not.
    run: Option<String>,
}

pub(super) async fn apply_plan(
    State(app): State<SharedApp>,
    Actor(user): Actor,
    Path(machine): Path<MachineId>,
    Form(apply): Form<Apply>,
) -> Result<Redirect, PageError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    app.apply_plan(&machine, apply.plan, apply.run.is_some(), &user.name).await?;
    Ok(back_to(machine.id))
}

#[derive(Deserialize)]
pub(super) struct Revoke {
    /// A ticked box; absent when it is not.
    exclude: Option<String>,
}

pub(super) async fn revoke_plan(
    State(app): State<SharedApp>,
    Actor(user): Actor,
    Path((machine, plan)): Path<(MachineId, PlanId)>,
    Form(revoke): Form<Revoke>,
) -> Result<Redirect, PageError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    app.revoke_plan(&machine, plan, revoke.exclude.is_some(), &user.name).await?;
    Ok(back_to(machine.id))
}
