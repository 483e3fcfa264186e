//! A machine with a valid identity that speaks the protocol by hand, and so can ask for what an honest agent never does.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use nightkeep_wire::token::EnrolmentToken;

use crate::api::{Api, answer};

/// Where agents speak to the host.
const AGENT_API: &str = "/api/agent/v1";

/// The machine.
#[derive(Debug)]
pub struct Rogue {
    api: Api,
    machine: String,
    key: Ed25519KeyPair,
}

impl Rogue {
    /// Enrols with a token, as a machine called `hostname` on hardware of its own.
    pub async fn enrol(token: &str, hostname: &str) -> Result<Self> {
        let (status, answer, rogue) = Self::try_enrol(token, hostname).await?;
        rogue.with_context(|| format!("enrolment answered {status}: {answer}"))
    }

    /// Tries to enrol; answers what the host said, and the machine when it was let in.
    pub async fn try_enrol(token: &str, hostname: &str) -> Result<(StatusCode, Value, Option<Self>)> {
        let token: EnrolmentToken = token.trim().parse()?;
        let api = Api::new(&token.host_url, Some(&token.pin.to_string()))?;
        let key = Ed25519KeyPair::generate().map_err(|_| anyhow!("no key"))?;
        let random = blake3::hash(Uuid::new_v4().as_bytes());
        let request = json!({
            "version": 1,
            "secret": token.secret,
            "facts": {
                "hostname": hostname,
                "os": { "family": "linux", "name": "Test", "version": "1" },
                "arch": "x86_64",
                "class": "server",
                "hardware_fingerprint": random.to_hex().to_string(),
                "agent_version": "0.1.0",
                "zone": "UTC",
            },
            "signing_key": STANDARD.encode(key.public_key().as_ref()),
            "sealing_key": STANDARD.encode(random.as_bytes()),
            "incarnation": Uuid::new_v4(),
        });
        let (status, answer) = api.send(Method::POST, &format!("{AGENT_API}/enroll"), Some(&request)).await?;
        let machine = answer["machine_id"].as_str().filter(|_| status.is_success()).map(str::to_owned);
        Ok((status, answer, machine.map(|machine| Self { api, machine, key })))
    }

    /// Its id.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Sends a signed request; `path` is below the agent API.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        self.send_at(method, path, body, now_ms()?).await
    }

    /// The same with a time of the caller's choice.
    pub async fn send_at(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        time_ms: u64,
    ) -> Result<(StatusCode, Value)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        answer(self.signed(method, path, body, time_ms, &self.machine)).await
    }

    fn signed(&self, method: Method, path: &str, body: String, time_ms: u64, machine: &str) -> RequestBuilder {
        let path = format!("{AGENT_API}{path}");
        let nonce = Uuid::new_v4().simple().to_string();
        let hash = blake3::hash(body.as_bytes()).to_hex();
        let signed = format!("nightkeep request v1\n{method}\n{path}\n{time_ms}\n{nonce}\n{hash}");
        let signature = STANDARD.encode(self.key.sign(signed.as_bytes()).as_ref());
        let request = self.api.request(method, &path).header("x-nk-machine", machine);
        let request = request.header("x-nk-time", time_ms).header("x-nk-nonce", nonce);
        let request = request.header("x-nk-signature", signature).header("content-type", "application/json");
        request.body(body)
    }

    /// Signs as itself and claims to be `other`.
    pub async fn send_as(&self, other: &Self, method: Method, path: &str) -> Result<(StatusCode, Value)> {
        answer(self.signed(method, path, String::new(), now_ms()?, &other.machine)).await
    }

    /// Asks for the right to create one object with these bytes, and answers the single grant.
    pub async fn ask_to_create(&self, name: &str, bytes: &[u8]) -> Result<Value> {
        let hash = blake3::hash(bytes).to_hex().to_string();
        let wish = json!({ "objects": [{ "name": name, "len": bytes.len(), "hash": hash }] });
        let (status, answer) = self.send(Method::POST, "/vault/grants", Some(&wish)).await?;
        if !status.is_success() {
            return Ok(answer);
        }
        Ok(answer["grants"][0].clone())
    }

    /// Puts bytes to a granted address, over a connection of its own: the host closes one whose body it refuses, and the
    /// next request must not meet it.
    pub async fn put(&self, url: &str, bytes: &[u8]) -> Result<(StatusCode, Value)> {
        let api = Api::new(self.api.base(), None)?;
        answer(api.request(Method::PUT, url).body(bytes.to_vec())).await
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
