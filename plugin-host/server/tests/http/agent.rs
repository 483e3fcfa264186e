//! A machine that speaks the protocol by hand.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nightkeep_vault::crypto::{SealingKeyPair, Secret, SigningKey, random};
use nightkeep_wire::token::EnrolmentToken;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client;

const BASE: &str = "/api/agent/v1";

pub(crate) struct Agent {
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) id: Uuid,
    pub(crate) incarnation: Uuid,
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKeyPair,
    pub(crate) enrolled: Value,
}

/// What a machine brings to its enrolment.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) signing: SigningKey,
    pub(crate) sealing: SealingKeyPair,
    pub(crate) incarnation: Uuid,
    pub(crate) fingerprint: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        Self {
            signing: SigningKey::from_seed(Secret::generate()),
            sealing: SealingKeyPair::derive(&Secret::generate()),
            incarnation: Uuid::new_v4(),
            fingerprint: Uuid::new_v4().to_string(),
        }
    }

    pub(crate) fn request(&self, token: &EnrolmentToken) -> Value {
        json!({
            "version": 1,
            "secret": token.secret,
            "facts": {
                "hostname": "front-desk",
                "os": { "family": "linux", "name": "Debian GNU/Linux", "version": "13" },
                "arch": "x86_64", "class": "server", "hardware_fingerprint": self.fingerprint,
                "agent_version": "0.1.0", "zone": "Europe/Berlin",
            },
            "signing_key": STANDARD.encode(self.signing.public().0),
            "sealing_key": STANDARD.encode(self.sealing.public().0),
            "incarnation": self.incarnation,
        })
    }

    /// Asks to be let in, whatever the answer.
    pub(crate) async fn ask(&self, token: &EnrolmentToken) -> Result<(StatusCode, Value)> {
        let response =
            client()?.post(format!("{}{BASE}/enroll", token.host_url)).json(&self.request(token)).send().await?;
        Ok((response.status(), response.json().await?))
    }
}

impl Agent {
    pub(crate) async fn enrol(token: &EnrolmentToken) -> Result<Self> {
        Self::enrol_as(Identity::new(), token).await
    }

    pub(crate) async fn enrol_as(identity: Identity, token: &EnrolmentToken) -> Result<Self> {
        let (status, enrolled) = identity.ask(token).await?;
        anyhow::ensure!(status.is_success(), "enrolment answered {status}: {enrolled}");
        Ok(Self {
            client: client()?,
            url: token.host_url.clone(),
            id: enrolled["machine_id"].as_str().context("no id")?.parse()?,
            incarnation: identity.incarnation,
            signing: identity.signing,
            sealing: identity.sealing,
            enrolled,
        })
    }

    /// A request signed at this time with this nonce.
    pub(crate) fn signed(&self, method: &Method, path: &str, body: &[u8], time_ms: u64, nonce: &str) -> RequestBuilder {
        let path = format!("{BASE}{path}");
        let hash = blake3::hash(body).to_hex();
        let text = format!("nightkeep request v1\n{method}\n{path}\n{time_ms}\n{nonce}\n{hash}");
        self.client
            .request(method.clone(), format!("{}{path}", self.url))
            .header("x-nk-machine", self.id.to_string())
            .header("x-nk-time", time_ms)
            .header("x-nk-nonce", nonce)
            .header("x-nk-signature", STANDARD.encode(self.signing.sign(text.as_bytes())))
            .body(body.to_vec())
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<RequestBuilder> {
        let body = body.map(Value::to_string).unwrap_or_default();
        Ok(self.signed(&method, path, body.as_bytes(), now_ms()?, &nonce()))
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let response = self.request(method, path, body)?.send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    pub(crate) fn started(&self, sequence: u64, job: Uuid) -> Value {
        json!({
            "machine": self.id, "incarnation": self.incarnation, "sequence": sequence, "at": "2026-03-02T22:00:00Z",
            "body": { "kind": "job_started", "job": job, "job_kind": "backup", "cause": "manual",
                      "started": "2026-03-02T22:00:00Z" },
        })
    }

    pub(crate) async fn report(&self, reports: &[Value]) -> Result<(StatusCode, Value)> {
        self.send(Method::POST, "/reports", Some(&json!({ "reports": reports }))).await
    }

    /// Asks for the right to create one object with these bytes.
    pub(crate) async fn grant(&self, name: &str, bytes: &[u8]) -> Result<Value> {
        let wish = json!({ "objects": [{ "name": name, "len": bytes.len(), "hash": hash_of(bytes) }] });
        let (status, answer) = self.send(Method::POST, "/vault/grants", Some(&wish)).await?;
        anyhow::ensure!(status.is_success(), "grants answered {status}: {answer}");
        Ok(answer["grants"][0].clone())
    }

    pub(crate) async fn put(&self, grant: &Value, bytes: &[u8]) -> Result<StatusCode> {
        let url = grant["url"].as_str().with_context(|| format!("no address in {grant}"))?;
        Ok(self.client.put(url).body(bytes.to_vec()).send().await?.status())
    }

    /// The machine's name in object names.
    pub(crate) fn name(&self) -> String {
        self.id.simple().to_string()
    }
}

pub(crate) fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

pub(crate) fn nonce() -> String {
    hex::encode(random::<16>())
}

pub(crate) fn hash_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
