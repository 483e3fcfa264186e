//! The console's pages: made on the server, kept alive by a little script.
//!
//! Invariant: every page works without the script; the script only replaces parts of a page by newer ones from here.

mod assets;
mod events;
mod format;
mod machine;
mod machines;
mod page;
mod sign_in;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use crate::app::SharedApp;

pub(super) fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/", get(|| std::future::ready(Redirect::to("/machines"))))
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-out", post(sign_in::out))
        .route("/machines", get(machines::page))
        .route("/machines/{machine}", get(machine::page))
        .route("/machines/{machine}/row", get(machines::row))
        .route("/machines/{machine}/start", post(machine::start))
        .route("/machines/{machine}/stop", post(machine::stop))
        .route("/machines/{machine}/approve", post(machine::approve))
        .route("/machines/{machine}/plans", post(machine::apply_plan))
        .route("/machines/{machine}/plans/{plan}/revoke", post(machine::revoke_plan))
        .route("/scan", post(machines::scan))
        .route("/events", get(events::stream))
        .route("/assets/{name}", get(assets::get))
}
