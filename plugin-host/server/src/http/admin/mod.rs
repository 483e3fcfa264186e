//! The admin API: what the console does, for programs.

mod keeping;
pub(super) mod machines;
mod tenants;
mod users;
pub(super) mod view;

use axum::Router;
use axum::routing::{get, post, put};

use crate::app::SharedApp;

pub(super) fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/api/v1/session", get(users::session).post(users::sign_in).delete(users::sign_out))
        .route("/api/v1/machines", get(machines::list))
        .route("/api/v1/machines/{machine}", get(machines::detail))
        .route("/api/v1/machines/{machine}/jobs", get(machines::jobs))
        .route("/api/v1/machines/{machine}/start", post(machines::start))
        .route("/api/v1/machines/{machine}/stop", post(machines::stop))
        .route("/api/v1/machines/{machine}/approve", post(machines::approve))
        .route("/api/v1/machines/{machine}/plans/{plan}", put(machines::apply_plan).delete(machines::revoke_plan))
        .route("/api/v1/stop", post(machines::stop_many))
        .route("/api/v1/summary", get(machines::summary))
        .route("/api/v1/scan", post(machines::scan))
        .route("/api/v1/keeping", get(keeping::kept).post(keeping::keep))
        .route("/api/v1/plans", get(tenants::plans))
        .route("/api/v1/customers", get(tenants::customers))
        .route("/api/v1/clients", get(tenants::clients))
        .route("/api/v1/clients/{client}/auto-apply", put(tenants::client_auto_apply))
        .route("/api/v1/locations", get(tenants::locations))
        .route("/api/v1/locations/{location}/auto-apply", put(tenants::location_auto_apply))
        .route("/api/v1/tokens", get(tenants::tokens).post(tenants::create_token))
}
