//! Tickets by webhook: each order is one signed JSON message to an address of the administrator's choice.
//!
//! Invariant: nothing is sent in the clear over a network, redirections are not followed, and at most 64 KiB of an answer
//! are read.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Serialize;
use tracing::debug;

use crate::error::DeliveryError;
use crate::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, sign};
use crate::ticketing::{Delivering, TicketOrder, TicketReceipt, Ticketing};

const ANSWER_BYTES_MAX: usize = 64 * 1024;
const REFERENCE_CHARS_MAX: usize = 200;

/// Where and how to deliver.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `https://...`; `http://` only to this very machine.
    pub url: String,
    /// Signs every message.
    pub secret: Secret,
    /// How long one delivery may take in all.
    pub timeout: Duration,
}

/// Why a webhook cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookConfigError {
    /// Not an address we send to.
    #[error("{url:?} is no address for a webhook: {problem}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A ticketing system behind a webhook.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    /// The address without its path and query, which may hold secrets of the receiver.
    system: String,
    secret: Secret,
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: DateTime<Utc>,
    data: &'a TicketOrder,
}

impl Webhook {
    /// Checks the address and sets up the client; nothing is sent yet.
    pub fn new(config: WebhookConfig) -> Result<Self, WebhookConfigError> {
        let url = check_address(&config.url)?;
        let client = Client::builder()
            .timeout(config.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("nightkeep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebhookConfigError::Client)?;
        Ok(Self { client, system: url.origin().ascii_serialization(), url, secret: config.secret })
    }

    async fn send(&self, order: &TicketOrder, now: DateTime<Utc>) -> Result<TicketReceipt, DeliveryError> {
        let message = Message { r#type: "ticket", timestamp: now, data: order };
        let body = serde_json::to_vec(&message).map_err(|error| self.rejected(error.to_string()))?;
        let timestamp = u64::try_from(now.timestamp()).unwrap_or(0);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_ID, &order.key)
            .header("idempotency-key", &order.key)
            .header(HEADER_TIMESTAMP, timestamp)
            .header(HEADER_SIGNATURE, sign(&self.secret, &order.key, timestamp, &body))
            .body(body);
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        debug!(key = order.key, status = response.status().as_u16(), "Webhook answered");
        self.answer(response).await
    }

    async fn answer(&self, response: Response) -> Result<TicketReceipt, DeliveryError> {
        let status = response.status();
        let reason = format!("it answered {status}");
        match verdict(status) {
            Answer::Taken => self.receipt(response).await,
            Answer::Later => Err(self.later(reason, retry_after(&response), None)),
            Answer::Settings => Err(DeliveryError::Settings { system: self.system.clone(), reason }),
            Answer::Rejected => Err(self.rejected(reason)),
        }
    }

    /// The order was taken once the status is in; an answer that cannot be read, or is no JSON, has no reference in it.
    async fn receipt(&self, mut response: Response) -> Result<TicketReceipt, DeliveryError> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Ok(TicketReceipt::default());
            }
            body.extend_from_slice(&chunk);
        }
        let receipt: TicketReceipt = serde_json::from_slice(&body).unwrap_or_default();
        Ok(TicketReceipt { reference: receipt.reference.filter(|r| r.chars().count() <= REFERENCE_CHARS_MAX) })
    }

    fn unreachable(&self, error: reqwest::Error) -> DeliveryError {
        let reason = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "it did not answer in time",
            (false, true) => "no connection",
            (false, false) => "the connection broke",
        };
        // The address may hold secrets of the receiver, so it does not go into the log with the error.
        self.later(reason.to_owned(), None, Some(error.without_url().into()))
    }

    fn later(
        &self,
        reason: String,
        retry_after: Option<Duration>,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> DeliveryError {
        DeliveryError::Later { system: self.system.clone(), reason, retry_after, source }
    }

    fn rejected(&self, reason: String) -> DeliveryError {
        DeliveryError::Rejected { system: self.system.clone(), reason }
    }
}

impl Ticketing for Webhook {
    fn deliver<'a>(&'a self, order: &'a TicketOrder, now: DateTime<Utc>) -> Delivering<'a> {
        Box::pin(self.send(order, now))
    }
}

fn check_address(text: &str) -> Result<Url, WebhookConfigError> {
    let bad = |problem| WebhookConfigError::Address { url: text.chars().take(200).collect(), problem };
    let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a name or password in it would be logged by others; use the secret"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_this_machine(&url) => Ok(url),
        _ => Err(bad("it must start with https://")),
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

enum Answer {
    Taken,
    Later,
    Settings,
    Rejected,
}

/// What an HTTP status means for an order. 409 says that the key was seen before, which is what we want; a redirection
/// means that the address is wrong.
fn verdict(status: StatusCode) -> Answer {
    match status.as_u16() {
        200..=299 | 409 => Answer::Taken,
        408 | 425 | 429 | 500..=599 => Answer::Later,
        300..=399 | 401 | 403 | 404 | 405 | 407 | 410 | 421 => Answer::Settings,
        _ => Answer::Rejected,
    }
}

/// `Retry-After` in seconds; the date form is rare and treated as absent.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
