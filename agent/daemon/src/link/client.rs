//! Signed requests to the host.

use std::sync::Arc;
use std::time::Duration;

use nightkeep_vault::crypto::{SigningKey, random};
use nightkeep_wire::bytes::RequestSignature;
use nightkeep_wire::desired::DesiredState;
use nightkeep_wire::enrol::MachineKeys;
use nightkeep_wire::id::{ContentHash, Nonce, SpkiPin};
use nightkeep_wire::problem::{Problem, ProblemCode};
use nightkeep_wire::progress::JobProgress;
use nightkeep_wire::report::{Report, ReportAck, ReportBatch};
use nightkeep_wire::signing::{
    HEADER_HOST_TIME, HEADER_MACHINE, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIME, SignedParts,
};
use nightkeep_wire::{AGENT_API_BASE, MachineId};
use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::LinkError;
use super::tls;
use crate::clock::HostClock;

/// How long a request may take when it is not a long poll or an upload.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// What a long poll may take beyond the wait it asked for.
const POLL_SLACK: Duration = Duration::from_secs(20);
/// Uploads and downloads of one object: as long as a grant can live.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Who signs.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    /// The machine.
    pub(crate) machine: MachineId,
    /// Its key.
    pub(crate) key: SigningKey,
}

/// The host as one machine reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct HostLink {
    http: Client,
    host: String,
    signer: Option<Signer>,
    clock: Arc<HostClock>,
}

/// What a request carries.
pub(crate) enum Body {
    Empty,
    Json(Vec<u8>),
}

impl Body {
    fn json(message: &impl Serialize, host: &str) -> Result<Self, LinkError> {
        let bytes = serde_json::to_vec(message);
        bytes.map(Self::Json).map_err(|error| LinkError::Setup { host: host.to_owned(), source: error.into() })
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Json(bytes) => bytes,
        }
    }
}

impl HostLink {
    /// A link to the host at `https://host[:port]`. Without a signer it can enrol and nothing else.
    pub(crate) fn new(
        host: &str,
        pin: Option<SpkiPin>,
        signer: Option<Signer>,
        clock: Arc<HostClock>,
        connect_timeout: Duration,
    ) -> Result<Self, LinkError> {
        let setup =
            |source: Box<dyn std::error::Error + Send + Sync>| LinkError::Setup { host: host.to_owned(), source };
        let tls = tls::client_config(pin).map_err(|error| setup(error.into()))?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("nightkeep-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(connect_timeout)
            .tcp_keepalive(KEEP_ALIVE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_while_idle(true)
            .redirect(reqwest::redirect::Policy::none())
            .https_only(true)
            .build()
            .map_err(|error| setup(error.into()))?;
        Ok(Self { http, host: host.trim_end_matches('/').to_owned(), signer, clock })
    }

    /// Address of the host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The time as the host has it.
    pub(crate) fn clock(&self) -> &Arc<HostClock> {
        &self.clock
    }

    /// The desired state when it is newer than `version`; waits up to `wait` for one.
    pub(crate) async fn desired(&self, version: u64, wait: Duration) -> Result<Option<DesiredState>, LinkError> {
        let path = format!("/desired?version={version}&wait={}", wait.as_secs());
        let response = self.signed(Method::GET, &path, &Body::Empty, wait + POLL_SLACK, &[]).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.parse(response, "GET /desired").await.map(Some)
    }

    /// Hands over reports; the answer says which of them the host has.
    pub(crate) async fn reports(&self, reports: Vec<Report>) -> Result<ReportAck, LinkError> {
        self.exchange(Method::POST, "/reports", &ReportBatch { reports }).await
    }

    /// Tells how far a job is; best effort.
    pub(crate) async fn progress(&self, progress: &JobProgress) -> Result<(), LinkError> {
        let body = Body::json(progress, &self.host)?;
        self.signed(Method::POST, "/progress", &body, REQUEST_TIMEOUT, &[]).await.map(drop)
    }

    /// Hands over the machine's catalogue key, sealed to the vault.
    pub(crate) async fn put_keys(&self, keys: &MachineKeys) -> Result<(), LinkError> {
        let body = Body::json(keys, &self.host)?;
        self.signed(Method::PUT, "/machine/keys", &body, REQUEST_TIMEOUT, &[]).await.map(drop)
    }

    /// A question in JSON with an answer in JSON.
    pub(crate) async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, LinkError> {
        let body = Body::json(message, &self.host)?;
        let request = format!("{method} {path}");
        let response = self.signed(method, path, &body, REQUEST_TIMEOUT, &[]).await?;
        self.parse(response, &request).await
    }

    /// A question without a body, with an answer in JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, LinkError> {
        let response = self.signed(Method::GET, path, &Body::Empty, REQUEST_TIMEOUT, &[]).await?;
        self.parse(response, &format!("GET {path}")).await
    }

    /// Headers alone.
    pub(crate) async fn head(&self, path: &str) -> Result<Response, LinkError> {
        self.signed(Method::HEAD, path, &Body::Empty, REQUEST_TIMEOUT, &[]).await
    }

    /// Bytes `from..to` of what lies at `path`; the server may send fewer at the end.
    pub(crate) async fn range(&self, path: &str, from: u64, to: u64) -> Result<Response, LinkError> {
        let range = format!("bytes={from}-{}", to.saturating_sub(1));
        self.signed(Method::GET, path, &Body::Empty, OBJECT_TIMEOUT, &[(RANGE.as_str(), range)]).await
    }

    /// The body of an answer.
    pub(crate) async fn bytes(&self, response: Response) -> Result<bytes::Bytes, LinkError> {
        response.bytes().await.map_err(|error| LinkError::of_exchange(&self.host, error))
    }

    /// Puts bytes to an address that carries its own grant.
    pub(crate) async fn put_granted(&self, url: &str, bytes: bytes::Bytes) -> Result<(), LinkError> {
        let request = self.http.put(url).timeout(OBJECT_TIMEOUT).header(CONTENT_TYPE, "application/octet-stream");
        self.send(request.body(bytes), "PUT of an object").await.map(drop)
    }

    /// A request before the machine has an identity.
    pub(super) async fn unsigned<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, LinkError> {
        let body = Body::json(message, &self.host)?;
        let request = self.http.post(self.url(path)?).timeout(REQUEST_TIMEOUT);
        let request = request.header(CONTENT_TYPE, "application/json").body(body.bytes().to_vec());
        let response = self.send(request, path).await?;
        self.parse(response, path).await
    }

    /// Signs and sends; a clock that is off is corrected and the request sent once more.
    async fn signed(
        &self,
        method: Method,
        path: &str,
        body: &Body,
        timeout: Duration,
        headers: &[(&str, String)],
    ) -> Result<Response, LinkError> {
        let name = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let first = self.signed_once(&method, path, body, timeout, headers)?;
        match self.send(first, &name).await {
            Err(LinkError::Problem { problem })
                if matches!(problem.code, ProblemCode::ClockSkew | ProblemCode::NonceReplayed) =>
            {
                let again = self.signed_once(&method, path, body, timeout, headers)?;
                self.send(again, &name).await
            }
            other => other,
        }
    }

    fn signed_once(
        &self,
        method: &Method,
        path: &str,
        body: &Body,
        timeout: Duration,
        headers: &[(&str, String)],
    ) -> Result<RequestBuilder, LinkError> {
        let url = self.url(path)?;
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = self.http.request(method.clone(), url).timeout(timeout);
        if let Body::Json(bytes) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(bytes.clone());
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(signer) = &self.signer {
            let parts = SignedParts {
                method: method.as_str(),
                path_and_query: &path_and_query,
                time_unix_ms: self.clock.unix_ms(),
                nonce: Nonce(random()),
                body_hash: ContentHash(*blake3::hash(body.bytes()).as_bytes()),
            };
            let signature = RequestSignature(signer.key.sign(&parts.to_bytes()));
            request = request
                .header(HEADER_MACHINE, signer.machine.to_string())
                .header(HEADER_TIME, parts.time_unix_ms.to_string())
                .header(HEADER_NONCE, parts.nonce.to_string())
                .header(HEADER_SIGNATURE, signature.to_string());
        }
        Ok(request)
    }

    fn url(&self, path: &str) -> Result<Url, LinkError> {
        let url = Url::parse(&format!("{}{AGENT_API_BASE}{path}", self.host));
        url.map_err(|error| LinkError::Setup { host: self.host.clone(), source: error.into() })
    }

    async fn send(&self, request: RequestBuilder, name: &str) -> Result<Response, LinkError> {
        let response = request.send().await.map_err(|error| LinkError::of_exchange(&self.host, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, name).await)
    }

    async fn refusal(&self, response: Response, name: &str) -> LinkError {
        let status = response.status().as_u16();
        let host_time = response.headers().get(HEADER_HOST_TIME).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => {
                if let (ProblemCode::ClockSkew, Some(host_time)) = (problem.code, host_time) {
                    self.clock.learn(host_time);
                }
                LinkError::Problem { problem: Box::new(problem) }
            }
            Err(_) => LinkError::Status { host: self.host.clone(), request: name.to_owned(), status },
        }
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response, request: &str) -> Result<T, LinkError> {
        let body = self.bytes(response).await?;
        serde_json::from_slice(&body).map_err(|error| LinkError::Answer {
            host: self.host.clone(),
            request: request.to_owned(),
            source: error.into(),
        })
    }
}
