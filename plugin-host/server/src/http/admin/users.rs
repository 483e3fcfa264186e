//! Signing in and out.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nightkeep_database::{Role, User};
use serde::{Deserialize, Serialize};

use super::super::session::{SignedIn, clear_cookie, cookie, set_cookie};
use crate::app::{AppError, SharedApp};

#[derive(Deserialize)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// Who is signed in.
#[derive(Serialize)]
pub(super) struct UserView {
    user: String,
    role: Role,
    must_change_password: bool,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self { user: user.name, role: user.role, must_change_password: user.must_change }
    }
}

pub(super) async fn sign_in(
    State(app): State<SharedApp>,
    Json(credentials): Json<Credentials>,
) -> Result<Response, AppError> {
    let (token, user) = app.sign_in(&credentials.user, credentials.password).await?;
    Ok(([(header::SET_COOKIE, set_cookie(&token))], Json(UserView::from(user))).into_response())
}

pub(super) async fn session(SignedIn(user): SignedIn) -> Json<UserView> {
    Json(user.into())
}

pub(super) async fn sign_out(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, AppError> {
    if let Some(token) = cookie(&headers) {
        app.sign_out(token).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, clear_cookie())]).into_response())
}
