//! The host's name and port as the caller reached it, so that addresses in answers lead back here.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use nightkeep_wire::problem::ProblemCode;

use crate::app::AppError;

/// `HOST:PORT`.
#[derive(Debug, Clone)]
pub(super) struct Authority(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Authority {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, AppError> {
        of(parts).map(Self).ok_or_else(|| AppError::new(ProblemCode::BadRequest, "the request names no host"))
    }
}

pub(super) fn of(parts: &Parts) -> Option<String> {
    let named = parts.uri.authority().map(ToString::to_string);
    let header = || Some(parts.headers.get(header::HOST)?.to_str().ok()?.to_owned());
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    named.or_else(header).filter(|name| !name.is_empty() && name.len() <= 255 && name.bytes().all(plain))
}
