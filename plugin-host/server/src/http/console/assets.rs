//! Style, script and mark, compiled in: the host is one file.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::AppError;

pub(super) fn get(Path(name): Path<String>) -> std::future::Ready<Result<Response, AppError>> {
    let asset = match name.as_str() {
        "console.css" => Some(("text/css; charset=utf-8", include_str!("../../../assets/console.css"))),
        "console.js" => Some(("text/javascript; charset=utf-8", include_str!("../../../assets/console.js"))),
        "mark.svg" => Some(("image/svg+xml", include_str!("../../../assets/mark.svg"))),
        _ => None,
    };
    let headers = |kind| [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    std::future::ready(match asset {
        Some((kind, text)) => Ok((headers(kind), text).into_response()),
        None => Err(AppError::not_found("file")),
    })
}
