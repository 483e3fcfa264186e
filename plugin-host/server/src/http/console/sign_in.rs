//! The door.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use nightkeep_wire::problem::ProblemCode;
use serde::Deserialize;

use super::super::session::{clear_cookie, cookie, set_cookie};
use super::page::{PageError, show};
use crate::app::SharedApp;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    problem: &'a str,
    user: &'a str,
    next: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Door {
    next: String,
}

pub(super) async fn page(Query(door): Query<Door>) -> Result<impl IntoResponse, PageError> {
    std::future::ready(show(&SignInPage { problem: "", user: "", next: own_page(&door.next) })).await
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    user: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn submit(
    State(app): State<SharedApp>,
    Form(credentials): Form<Credentials>,
) -> Result<Response, PageError> {
    let next = own_page(&credentials.next);
    match app.sign_in(&credentials.user, credentials.password).await {
        Ok((token, _)) => Ok(([(header::SET_COOKIE, set_cookie(&token))], Redirect::to(next)).into_response()),
        Err(error) if matches!(error.problem.code, ProblemCode::NotSignedIn | ProblemCode::RateLimited) => {
            let page = show(&SignInPage { problem: &error.problem.detail, user: &credentials.user, next })?;
            let status = StatusCode::from_u16(error.problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
            Ok((status, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn out(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, PageError> {
    if let Some(token) = cookie(&headers) {
        app.sign_out(token).await?;
    }
    Ok(([(header::SET_COOKIE, clear_cookie())], Redirect::to("/sign-in")).into_response())
}

/// Only pages of this console are led to after signing in.
fn own_page(next: &str) -> &str {
    if next.starts_with("/machines") { next } else { "/machines" }
}
