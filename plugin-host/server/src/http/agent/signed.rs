//! A request signed by its machine.
//!
//! Invariant: the body is read only for machines that are enrolled and requests that are fresh; a handler sees nothing
//! of a request whose signature does not cover all of it.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use nightkeep_database::Machine;
use nightkeep_wire::bytes::RequestSignature;
use nightkeep_wire::id::ContentHash;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::signing::{
    HEADER_HOST_TIME, HEADER_MACHINE, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIME, SignedParts,
};
use serde::de::DeserializeOwned;

use crate::app::identity::{Claim, unix_ms};
use crate::app::{AppError, SharedApp};

/// A full batch of reports with all their findings.
const BODY_BYTES_MAX: usize = 48 << 20;

/// The machine, and what it sent.
pub(super) struct Signed {
    pub(super) machine: Machine,
    pub(super) body: Bytes,
}

/// Why a signed request was not taken. A wrong clock is told the right time.
pub(super) struct SignedError {
    error: AppError,
    host_unix_ms: u64,
}

impl Signed {
    /// The body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, AppError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| AppError::new(ProblemCode::BadRequest, format!("the body cannot be read: {error}")))
    }
}

impl FromRequest<SharedApp> for Signed {
    type Rejection = SignedError;

    async fn from_request(request: Request, app: &SharedApp) -> Result<Self, SignedError> {
        open(request, app).await.map_err(|error| SignedError { error, host_unix_ms: unix_ms(app.now()) })
    }
}

async fn open(request: Request, app: &SharedApp) -> Result<Signed, AppError> {
    let (parts, body) = request.into_parts();
    let claim = claim(&parts.headers)?;
    let machine = app.claimant(&claim).await?;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        AppError::new(ProblemCode::TooLarge, format!("the body is cut off, or longer than {BODY_BYTES_MAX} bytes"))
    })?;
    let signed = SignedParts {
        method: parts.method.as_str(),
        path_and_query: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        time_unix_ms: claim.time_unix_ms,
        nonce: claim.nonce,
        body_hash: ContentHash(*blake3::hash(&body).as_bytes()),
    };
    app.verify(&machine, &claim, signed)?;
    Ok(Signed { machine, body })
}

fn claim(headers: &HeaderMap) -> Result<Claim, AppError> {
    Ok(Claim {
        machine: header(headers, HEADER_MACHINE, |text| text.parse().ok())?,
        time_unix_ms: header(headers, HEADER_TIME, |text| text.parse().ok())?,
        nonce: header(headers, HEADER_NONCE, |text| text.parse().ok())?,
        signature: header(headers, HEADER_SIGNATURE, |text| RequestSignature::parse(text).ok())?,
    })
}

fn header<T>(headers: &HeaderMap, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, AppError> {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(parse).ok_or_else(|| {
        let detail = format!("the request is not signed: header {name} is missing or malformed");
        AppError::new(ProblemCode::SignatureInvalid, detail)
    })
}

impl IntoResponse for SignedError {
    fn into_response(self) -> Response {
        let told = self.error.problem.code == ProblemCode::ClockSkew;
        let mut response = self.error.into_response();
        if told {
            response.headers_mut().insert(HEADER_HOST_TIME, HeaderValue::from(self.host_unix_ms));
        }
        response
    }
}
