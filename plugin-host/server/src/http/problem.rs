//! Errors as `application/problem+json`.
//!
//! Invariant: the cause of a fault of ours goes to the log, never to the caller.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nightkeep_wire::problem::{PROBLEM_MEDIA_TYPE, ProblemCode};

use crate::app::AppError;

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(code = %self.problem.code, cause = %chain(cause.as_ref()), "A request failed");
        }
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        response
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What nobody answers.
pub(super) fn no_such_page() -> std::future::Ready<AppError> {
    std::future::ready(AppError::new(ProblemCode::NotFound, "there is nothing at this address"))
}
