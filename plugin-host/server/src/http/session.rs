//! Who is signed in: a browser's cookie or a program's bearer key.
//!
//! Invariant: a request that changes something and comes from a page of another site is refused before anyone looks at
//! its cookie. Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`); programs send no cookie by chance.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nightkeep_database::{Role, SessionKind, User};
use nightkeep_wire::problem::ProblemCode;

use super::authority;
use crate::app::accounts::SESSION_LIFE;
use crate::app::{AppError, SharedApp};

/// `__Host-` lets browsers take it only from this host, over TLS, for all paths.
const COOKIE: &str = "__Host-nightkeep";

/// A signed-in user.
#[derive(Debug, Clone)]
pub(super) struct SignedIn(pub(super) User);

/// A signed-in user who may change things.
#[derive(Debug, Clone)]
pub(super) struct Operator(pub(super) User);

impl FromRequestParts<SharedApp> for SignedIn {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, AppError> {
        let session = match bearer(&parts.headers) {
            Some(key) => app.session(key, SessionKind::ApiKey).await?,
            None => match cookie(&parts.headers) {
                Some(token) => app.session(token, SessionKind::Browser).await?,
                None => None,
            },
        };
        match session {
            Some(session) => Ok(Self(session.user)),
            None => Err(AppError::new(ProblemCode::NotSignedIn, "sign in first, or send a valid API key")),
        }
    }
}

impl FromRequestParts<SharedApp> for Operator {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &SharedApp) -> Result<Self, AppError> {
        let SignedIn(user) = SignedIn::from_request_parts(parts, app).await?;
        match user.role {
            Role::Admin | Role::Technician => Ok(Self(user)),
            Role::ReadOnly => Err(AppError::new(ProblemCode::NotAllowed, "your role may look, not change")),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The session's token in the browser's cookies.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}

/// The header that signs a browser in.
pub(super) fn set_cookie(token: &str) -> String {
    format!("{COOKIE}={token}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax", SESSION_LIFE.num_seconds())
}

/// The header that signs it out.
pub(super) fn clear_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
}

/// Refuses changes asked for by pages of other sites.
pub(super) async fn refuse_cross_origin(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if is_change(&parts.method) && !is_own(&parts) {
        let detail = "the request comes from a page of another site; open the console itself";
        return AppError::new(ProblemCode::NotAllowed, detail).into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

fn is_change(method: &Method) -> bool {
    !(method == Method::GET || method == Method::HEAD || method == Method::OPTIONS)
}

fn is_own(parts: &Parts) -> bool {
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => authority::of(parts).is_some_and(|own| origin == format!("https://{own}")),
        (None, None) => true,
    }
}
