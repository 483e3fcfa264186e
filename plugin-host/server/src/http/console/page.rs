//! Pages and their errors.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use nightkeep_database::User;
use nightkeep_wire::problem::ProblemCode;

use super::super::session::{Operator, SignedIn};
use crate::app::{AppError, SharedApp};

/// Why a page cannot be shown. Who is not signed in is led to the door and back.
pub(super) enum PageError {
    Door { next: String },
    Problem(AppError),
}

impl<E: Into<AppError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::Door { next } => {
                let next: String = next.bytes().map(escape).collect();
                Redirect::to(&format!("/sign-in?next={next}")).into_response()
            }
            Self::Problem(error) => {
                let problem = error.problem.clone();
                // Logs the cause, as for programs.
                drop(error.into_response());
                let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let page = ErrorPage { title: &problem.title, detail: &problem.detail };
                (status, Html(page.render().unwrap_or_default())).into_response()
            }
        }
    }
}

fn escape(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// A signed-in user who looks at pages.
pub(super) struct Viewer(pub(super) User);

impl FromRequestParts<SharedApp> for Viewer {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, PageError> {
        let next = parts.uri.path_and_query().map_or("/machines", |path| path.as_str()).to_owned();
        match SignedIn::from_request_parts(parts, app).await {
            Ok(SignedIn(user)) => Ok(Self(user)),
            Err(error) if error.problem.code == ProblemCode::NotSignedIn => Err(PageError::Door { next }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A signed-in user who pressed a button.
pub(super) struct Actor(pub(super) User);

impl FromRequestParts<SharedApp> for Actor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, PageError> {
        match Operator::from_request_parts(parts, app).await {
            Ok(Operator(user)) => Ok(Self(user)),
            Err(error) if error.problem.code == ProblemCode::NotSignedIn => {
                Err(PageError::Door { next: "/machines".to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A template as a page.
pub(super) fn show(page: &impl Template) -> Result<Html<String>, PageError> {
    page.render().map(Html).map_err(|error| AppError::internal(error).into())
}
