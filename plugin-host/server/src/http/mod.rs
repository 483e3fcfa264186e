//! Who asks, in which form: routes, signatures, sessions, problems. Decides nothing else.
//!
//! Invariant: every route but enrolment, granted uploads, sign-in and assets begins by finding out who asks.

mod admin;
mod agent;
mod authority;
mod console;
mod headers;
mod problem;
mod session;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use tower_http::trace::TraceLayer;

use crate::app::SharedApp;

/// Largest body of the admin API and of forms.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Everything the host answers.
pub(crate) fn router(app: SharedApp) -> Router {
    let people = admin::routes()
        .merge(console::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(session::refuse_cross_origin));
    agent::routes()
        .merge(people)
        .fallback(problem::no_such_page)
        .layer(from_fn(headers::add))
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(app)
}
