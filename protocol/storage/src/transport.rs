//! HTTP for the providers: one client for each store, which counts moving bytes and keeps what a server says.
//!
//! **Invariant**: nothing is retried here and no redirect is followed; both would repeat a request under a signature
//! that was made for another.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use crate::attempt::{Answer, Attempt};

/// How long making a connection may take; a far server behind a slow line needs seconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// Connections nobody uses are closed before the middle boxes of this world forget them.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// How much of an error's text is read.
const ERROR_TEXT_BYTES_MAX: usize = 16 << 10;
/// Where Azure, and others like it, say which error it is; an answer to HEAD has no other place.
const ERROR_CODE_HEADERS: [&str; 2] = ["x-ms-error-code", "x-amz-error-code"];

/// An HTTP client that tells the current [`Attempt`] what happens.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: reqwest::Client,
}

impl Transport {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("nightkeep/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(IDLE_CONNECTION)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .build()?;
        Ok(Self { client })
    }
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let attempt = Attempt::current();
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string());
        let mut request =
            reqwest::Request::new(parts.method, url.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?);
        *request.headers_mut() = parts.headers;
        if body.content_length() > 0 {
            *request.body_mut() = Some(reqwest::Body::wrap(Counted::new(body, attempt.clone())));
        }
        let response = self.client.execute(request).await.map_err(in_words)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let mut body = HttpResponseBody::new(Counted::new(body.map_err(in_words), attempt.clone()));
        let mut answer = Answer { status: parts.status.as_u16(), code: code_in(&parts.headers), message: None };
        if !parts.status.is_success() {
            let text = beginning_of(body).await;
            answer.code = answer.code.or_else(|| word_in(&text, "Code"));
            answer.message = word_in(&text, "Message").or_else(|| word_in(&text, "Details"));
            body = HttpResponseBody::from(text);
        }
        attempt.answered(answer);
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// The address is left out: it may hold a signature.
fn in_words(error: reqwest::Error) -> HttpError {
    let kind = match error {
        ref error if error.is_timeout() => HttpErrorKind::Timeout,
        ref error if error.is_connect() => HttpErrorKind::Connect,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error.without_url())
}

fn code_in(headers: &http::HeaderMap) -> Option<String> {
    let value = ERROR_CODE_HEADERS.iter().find_map(|name| headers.get(*name))?;
    value.to_str().ok().map(str::to_owned)
}

/// The beginning of an error's text; what cannot be read is left out, the status says enough.
async fn beginning_of(mut body: HttpResponseBody) -> String {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = ERROR_TEXT_BYTES_MAX - text.len();
        text.extend_from_slice(&data[..data.len().min(room)]);
        if text.len() >= ERROR_TEXT_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What stands between `<tag>` and `</tag>`: all three providers answer errors so, and one look needs no parser.
fn word_in(text: &str, tag: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    let (word, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(word.trim().to_owned()).filter(|word| !word.is_empty())
}

/// A body that tells its try of every piece that moves, and holds pieces back where the try says so.
struct Counted<B> {
    body: B,
    attempt: Arc<Attempt>,
    begun: bool,
    holding: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<B> Counted<B> {
    fn new(body: B, attempt: Arc<Attempt>) -> Self {
        Self { body, attempt, begun: false, holding: None }
    }

    /// Whether the next piece must wait.
    fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(span) = self.attempt.held().filter(|_| self.begun) else { return false };
        let holding = self.holding.get_or_insert_with(|| Box::pin(tokio::time::sleep(span)));
        holding.as_mut().poll(cx).is_pending()
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes, Error = HttpError> + Unpin,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.is_held(cx) {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.attempt.moved(data.len());
            self.begun = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::word_in;

    #[test]
    fn the_words_of_an_error_are_found() {
        let text = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>It is not there </Message></Error>";
        assert_eq!(word_in(text, "Code").as_deref(), Some("NoSuchBucket"));
        assert_eq!(word_in(text, "Message").as_deref(), Some("It is not there"));
        assert_eq!(word_in("<Code>", "Code"), None);
        assert_eq!(word_in("{\"error\": 1}", "Code"), None);
    }
}
