//! The storage gateway over HTTP.

use std::ops::Range;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nightkeep_wire::gateway::{GrantResponse, KnownRequest, KnownResponse, ListQuery, ListResponse};
use nightkeep_wire::problem::ProblemCode;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

use super::super::authority::Authority;
use super::signed::Signed;
use crate::app::gateway::OpenObject;
use crate::app::{AppError, SharedApp};

/// Read from disk at once.
const PIECE_BYTES: usize = 256 << 10;

pub(super) async fn list(
    State(app): State<SharedApp>,
    Query(query): Query<ListQuery>,
    signed: Signed,
) -> Result<Json<ListResponse>, AppError> {
    Ok(Json(app.list_objects(&signed.machine, query).await?))
}

pub(super) async fn look(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    signed: Signed,
) -> Result<Response, AppError> {
    let len = app.object_len(&signed.machine, &name).await?;
    let headers = [(header::CONTENT_LENGTH, len.to_string()), (header::ACCEPT_RANGES, "bytes".to_owned())];
    Ok((headers, Body::empty()).into_response())
}

pub(super) async fn read(
    State(app): State<SharedApp>,
    Path(name): Path<String>,
    headers: HeaderMap,
    signed: Signed,
) -> Result<Response, AppError> {
    let object = app.open_object(&signed.machine, &name).await?;
    match range(&headers, object.len) {
        None => part(object, None).await,
        Some(Ok(range)) => part(object, Some(range)).await,
        Some(Err(())) => {
            let detail = format!("{name} has {} bytes: the range lies outside", object.len);
            let mut response = AppError::new(ProblemCode::RangeInvalid, detail).into_response();
            if let Ok(value) = format!("bytes */{}", object.len).parse() {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            Ok(response)
        }
    }
}

async fn part(mut object: OpenObject, range: Option<Range<u64>>) -> Result<Response, AppError> {
    let total = object.len;
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let bytes = range.clone().unwrap_or(0..total);
    if bytes.start > 0 {
        object.file.seek(SeekFrom::Start(bytes.start)).await.map_err(AppError::storage)?;
    }
    let len = bytes.end - bytes.start;
    let stream = ReaderStream::with_capacity(object.file.take(len), PIECE_BYTES);
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, len);
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
        response = response.header(header::CONTENT_RANGE, text);
    }
    response.body(Body::from_stream(stream)).map_err(AppError::internal)
}

/// The single range asked for, cut to the object; an error when it begins behind its end. Other forms are ignored, as
/// RFC 9110 allows.
fn range(headers: &HeaderMap, len: u64) -> Option<Result<Range<u64>, ()>> {
    let text = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    if first.is_empty() {
        let wanted: u64 = last.parse().ok()?;
        return Some(if wanted == 0 || len == 0 { Err(()) } else { Ok(len.saturating_sub(wanted)..len) });
    }
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { len } else { last.parse::<u64>().ok()?.saturating_add(1).min(len) };
    Some(if first >= len || end <= first { Err(()) } else { Ok(first..end) })
}

pub(super) async fn grants(
    State(app): State<SharedApp>,
    Authority(authority): Authority,
    signed: Signed,
) -> Result<Json<GrantResponse>, AppError> {
    Ok(Json(app.grants(&signed.machine, signed.json()?, &authority).await?))
}

/// Nothing is known yet: an index of the whole vault on the host comes with its garbage collection. Saying "none" is
/// always right, it only costs an upload of what is there.
pub(super) async fn known(_: State<SharedApp>, signed: Signed) -> Result<Json<KnownResponse>, AppError> {
    let _: KnownRequest = signed.json()?;
    Ok(Json(KnownResponse { known: Vec::new() }))
}

pub(super) async fn upload(
    State(app): State<SharedApp>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, AppError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    app.upload(&token, announced, body.into_data_stream()).await?;
    Ok(StatusCode::CREATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, len: u64, expected: Option<Result<Range<u64>, ()>>) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = text.parse() {
            headers.insert(header::RANGE, value);
        }
        assert_eq!(range(&headers, len), expected, "{text} of {len}");
    }

    #[test]
    fn a_range_is_cut_to_the_object_and_refused_behind_its_end() {
        check("bytes=0-9", 100, Some(Ok(0..10)));
        check("bytes=90-200", 100, Some(Ok(90..100)));
        check("bytes=90-", 100, Some(Ok(90..100)));
        check("bytes=-10", 100, Some(Ok(90..100)));
        check("bytes=-1000", 100, Some(Ok(0..100)));
        check("bytes=100-", 100, Some(Err(())));
        check("bytes=0-", 0, Some(Err(())));
        check("bytes=5-3", 100, Some(Err(())));
        check("lines=1-2", 100, None);
        check("bytes=1-2,4-5", 100, None);
    }
}
