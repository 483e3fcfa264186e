//! Machines: list, detail, start, stop, plans, the scan on demand.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nightkeep_database::{Cursor, ListFilter, ListSort, SortKey, User};
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::status::Bucket;
use nightkeep_wire::{ClientId, CommandId, CustomerId, JobId, LocationId, MachineId, PlanId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::session::{Operator, SignedIn};
use super::view::{JobView, MachineDetail, MachineView, machine_detail, machine_view};
use crate::app::scan::ScanReport;
use crate::app::{AppError, SharedApp};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 500;
const JOBS_MAX: u64 = 200;

/// Query of the machine list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct ListQuery {
    pub(in crate::http) text: String,
    pub(in crate::http) bucket: Option<Bucket>,
    pub(in crate::http) customer: Option<CustomerId>,
    pub(in crate::http) client: Option<ClientId>,
    pub(in crate::http) location: Option<LocationId>,
    pub(in crate::http) sort: SortKey,
    pub(in crate::http) descending: bool,
    pub(in crate::http) after: Option<String>,
    pub(in crate::http) limit: Option<u32>,
}

/// One page of the list.
#[derive(Serialize)]
pub(in crate::http) struct ListView {
    pub(in crate::http) machines: Vec<MachineView>,
    /// Given as `after` it asks for the next page.
    pub(in crate::http) next: Option<String>,
}

/// The page that the user may see.
pub(in crate::http) async fn list_page(app: &SharedApp, user: &User, query: &ListQuery) -> Result<ListView, AppError> {
    let filter = ListFilter {
        text: Some(query.text.trim().to_owned()).filter(|text| !text.is_empty()),
        bucket: query.bucket,
        customer: user.customer.or(query.customer),
        client: query.client,
        location: query.location,
    };
    let after = query.after.as_deref().map(cursor).transpose()?;
    let sort = ListSort { key: query.sort, descending: query.descending };
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let page = app.database.list_machines(&filter, sort, after.as_ref(), limit).await?;
    let mut machines = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        machines.push(machine_view(app, row).await?);
    }
    let next = page.next.and_then(|cursor| serde_json::to_vec(&cursor).ok()).map(|json| URL_SAFE_NO_PAD.encode(json));
    Ok(ListView { machines, next })
}

fn cursor(text: &str) -> Result<Cursor, AppError> {
    let json = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = json.and_then(|json| serde_json::from_slice(&json).ok());
    cursor.ok_or_else(|| AppError::new(ProblemCode::BadRequest, "\"after\" is no value that a page gave as \"next\""))
}

pub(super) async fn list(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListView>, AppError> {
    Ok(Json(list_page(&app, &user, &query).await?))
}

pub(super) async fn detail(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
    Path(machine): Path<MachineId>,
) -> Result<Json<MachineDetail>, AppError> {
    let (machine, place) = app.machine_for(&user, machine).await?;
    Ok(Json(machine_detail(&app, &machine, &place).await?))
}

pub(super) async fn jobs(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
    Path(machine): Path<MachineId>,
) -> Result<Json<Vec<JobView>>, AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    Ok(Json(app.database.jobs(machine.id, JOBS_MAX).await?.into_iter().map(JobView::from).collect()))
}

/// Body of start and stop; all parts may be left out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    plan: Option<PlanId>,
    job: Option<JobId>,
}

#[derive(Serialize)]
pub(super) struct Given {
    command: CommandId,
}

pub(super) async fn start(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path(machine): Path<MachineId>,
    which: Option<Json<Which>>,
) -> Result<(StatusCode, Json<Given>), AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    let Json(which) = which.unwrap_or_default();
    let command = app.start(&machine, which.plan, &user.name).await?;
    Ok((StatusCode::ACCEPTED, Json(Given { command })))
}

pub(super) async fn stop(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path(machine): Path<MachineId>,
    which: Option<Json<Which>>,
) -> Result<(StatusCode, Json<Given>), AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    let Json(which) = which.unwrap_or_default();
    let command = app.stop(&machine, which.job, which.plan, &user.name).await?;
    Ok((StatusCode::ACCEPTED, Json(Given { command })))
}

/// Most machines in one request.
const STOP_MAX: usize = 1000;

#[derive(Deserialize)]
pub(super) struct StopMany {
    machines: Vec<MachineId>,
}

/// What became of one machine of many.
#[derive(Serialize)]
pub(super) struct StopAnswer {
    machine: MachineId,
    command: Option<CommandId>,
    problem: Option<String>,
}

/// Stops what runs on many machines (item 81); one machine's trouble does not hold up the others.
pub(super) async fn stop_many(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Json(StopMany { machines }): Json<StopMany>,
) -> Result<Json<Vec<StopAnswer>>, AppError> {
    if machines.len() > STOP_MAX {
        return Err(AppError::new(ProblemCode::TooLarge, format!("at most {STOP_MAX} machines at once")));
    }
    let mut answers = Vec::with_capacity(machines.len());
    for id in machines {
        let given = match app.machine_for(&user, id).await {
            Ok((machine, _)) => app.stop(&machine, None, None, &user.name).await,
            Err(error) => Err(error),
        };
        let (command, problem) = match given {
            Ok(command) => (Some(command), None),
            Err(error) => (None, Some(error.problem.detail)),
        };
        answers.push(StopAnswer { machine: id, command, problem });
    }
    Ok(Json(answers))
}

pub(super) async fn approve(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path(machine): Path<MachineId>,
) -> Result<StatusCode, AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    app.approve(&machine, &user.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Apply {
    run_immediately: bool,
}

pub(super) async fn apply_plan(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path((machine, plan)): Path<(MachineId, PlanId)>,
    how: Option<Json<Apply>>,
) -> Result<StatusCode, AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    let Json(how) = how.unwrap_or_default();
    let applied = app.apply_plan(&machine, plan, how.run_immediately, &user.name).await?;
    Ok(if applied { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Revoke {
    exclude_from_automatic: bool,
}

pub(super) async fn revoke_plan(
    State(app): State<SharedApp>,
    Operator(user): Operator,
    Path((machine, plan)): Path<(MachineId, PlanId)>,
    Query(how): Query<Revoke>,
) -> Result<StatusCode, AppError> {
    let (machine, _) = app.machine_for(&user, machine).await?;
    match app.revoke_plan(&machine, plan, how.exclude_from_automatic, &user.name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(AppError::not_found("plan on this machine")),
    }
}

/// Machines by bucket; the buckets sum up to the machines.
pub(super) async fn summary(
    State(app): State<SharedApp>,
    SignedIn(user): SignedIn,
) -> Result<Json<BTreeMap<&'static str, u64>>, AppError> {
    Ok(Json(bucket_counts(&app, &user).await?.into_iter().map(|(bucket, n)| (bucket.as_str(), n)).collect()))
}

/// Every bucket with its machines, as far as the user may see them.
pub(in crate::http) async fn bucket_counts(app: &SharedApp, user: &User) -> Result<Vec<(Bucket, u64)>, AppError> {
    let counts = app.database.bucket_counts(user.customer).await?;
    let of = |bucket| counts.iter().find(|count| count.bucket == bucket).map_or(0, |count| count.machines);
    Ok(Bucket::ALL.into_iter().map(|bucket| (bucket, of(bucket))).collect())
}

pub(super) async fn scan(State(app): State<SharedApp>, Operator(user): Operator) -> Result<Json<ScanReport>, AppError> {
    app.audit(&user.name, "scan", "all machines", "").await?;
    Ok(Json(app.scan().await?))
}
