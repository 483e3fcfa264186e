//! Enrolment, desired state, reports, progress.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use nightkeep_wire::desired::DesiredQuery;
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse};
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::report::ReportAck;

use super::super::authority::Authority;
use super::signed::Signed;
use crate::app::{AppError, SharedApp};

pub(super) async fn enroll(
    State(app): State<SharedApp>,
    Authority(authority): Authority,
    body: Bytes,
) -> Result<Json<EnrollResponse>, AppError> {
    let request: EnrollRequest = serde_json::from_slice(&body)
        .map_err(|error| AppError::new(ProblemCode::BadRequest, format!("the enrolment cannot be read: {error}")))?;
    Ok(Json(app.enrol(request, &authority).await?))
}

pub(super) async fn keys(State(app): State<SharedApp>, signed: Signed) -> Result<StatusCode, AppError> {
    app.put_machine_keys(&signed.machine, signed.json()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn desired(
    State(app): State<SharedApp>,
    Query(query): Query<DesiredQuery>,
    Authority(authority): Authority,
    signed: Signed,
) -> Result<Response, AppError> {
    let wait = Duration::from_secs(query.wait.into());
    match app.desired(&signed.machine, query.version, wait, &authority).await? {
        Some(desired) => Ok(Json(desired).into_response()),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

pub(super) async fn reports(State(app): State<SharedApp>, signed: Signed) -> Result<Json<ReportAck>, AppError> {
    Ok(Json(app.ingest(&signed.machine, &signed.body).await?))
}

pub(super) async fn progress(State(app): State<SharedApp>, signed: Signed) -> Result<StatusCode, AppError> {
    app.progress(&signed.machine, &signed.json()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
