//! The webhook: conformance, its signature, its addresses, what a hostile receiver can do.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has failed")]

mod suite;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use nightkeep_connectors::{
    DeliveryError, Secret, SignatureError, Ticketing, Webhook, WebhookConfig, WebhookConfigError, retry_delay, sign,
    verify,
};
use nightkeep_monitoring::Action;
use serde_json::{Value, json};
use suite::{Stand, Trouble, content, now, order};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn secret() -> Secret {
    SECRET.parse().unwrap()
}

/// A receiver as one would write it: checks the signature, remembers keys, answers with a reference.
#[derive(Default)]
struct Receiver {
    troubles: Mutex<VecDeque<Trouble>>,
    effects: Mutex<Vec<(String, String)>>,
    bodies: Mutex<Vec<Value>>,
    astray: Mutex<bool>,
    answer: Mutex<Option<Vec<u8>>>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (key, timestamp) = (text("webhook-id"), text("webhook-timestamp").parse().unwrap_or(0));
    let at = u64::try_from(now().timestamp()).unwrap();
    if verify(&secret(), &key, timestamp, &body, &text("webhook-signature"), at).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let trouble = receiver.troubles.lock().unwrap().pop_front();
    match trouble {
        Some(Trouble::Overloaded { retry_after_seconds }) => {
            let header = [(header::RETRY_AFTER, retry_after_seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, header).into_response();
        }
        Some(Trouble::Broken) => return StatusCode::BAD_GATEWAY.into_response(),
        Some(Trouble::CredentialsRefused) => return StatusCode::FORBIDDEN.into_response(),
        Some(Trouble::OrderRefused) => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Some(Trouble::Redirects) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response();
        }
        Some(Trouble::Hangs) => {
            take(&receiver, &key, &body);
            std::future::pending::<()>().await;
        }
        None => {}
    }
    assert_eq!(text("idempotency-key"), key);
    if !take(&receiver, &key, &body) {
        return StatusCode::CONFLICT.into_response();
    }
    let answer = receiver.answer.lock().unwrap().clone();
    answer.unwrap_or_else(|| br#"{"reference": "T-17"}"#.to_vec()).into_response()
}

/// Takes an order unless its key was seen.
fn take(receiver: &Receiver, key: &str, body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap();
    let mut effects = receiver.effects.lock().unwrap();
    if effects.iter().any(|(seen, _)| seen == key) {
        return false;
    }
    effects.push((key.to_owned(), body["data"]["action"].as_str().unwrap_or_default().to_owned()));
    receiver.bodies.lock().unwrap().push(body);
    true
}

async fn lead_astray(State(receiver): State<Arc<Receiver>>) {
    *receiver.astray.lock().unwrap() = true;
}

struct WebhookStand {
    receiver: Arc<Receiver>,
    webhook: Webhook,
    server: JoinHandle<()>,
}

impl Drop for WebhookStand {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stand for WebhookStand {
    async fn start() -> Result<Self> {
        let receiver = Arc::new(Receiver::default());
        let app = Router::new().route("/hook", post(receive)).route("/elsewhere", post(lead_astray));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook?token=hidden-part", listener.local_addr()?);
        let app = app.with_state(receiver.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        let timeout = Duration::from_millis(700);
        let webhook = Webhook::new(WebhookConfig { url, secret: secret(), timeout })?;
        Ok(Self { receiver, webhook, server })
    }

    fn ticketing(&self) -> &dyn Ticketing {
        &self.webhook
    }

    fn trouble(&self, trouble: Trouble) {
        self.receiver.troubles.lock().unwrap().push_back(trouble);
    }

    fn effects(&self) -> Vec<(String, String)> {
        self.receiver.effects.lock().unwrap().clone()
    }

    fn was_led_astray(&self) -> bool {
        *self.receiver.astray.lock().unwrap()
    }

    async fn stop(&mut self) -> Result<()> {
        self.server.abort();
        ensure!((&mut self.server).await.is_err_and(|e| e.is_cancelled()), "the server ended by itself");
        Ok(())
    }
}

#[tokio::test]
async fn the_webhook_conforms() -> Result<()> {
    suite::conforms::<WebhookStand>().await
}

#[tokio::test]
async fn the_message_is_the_documented_one() -> Result<()> {
    let stand = WebhookStand::start().await?;
    stand.webhook.deliver(&order(1, Action::Open { content: content() }), now()).await?;
    let expected = json!({
        "type": "ticket",
        "timestamp": "2026-11-20T12:00:00Z",
        "data": {
            "key": "00000000-0000-0000-0000-000000000017-1",
            "ticket": "00000000-0000-0000-0000-000000000017",
            "cause": "everywhere/storage",
            "revision": 1,
            "reference": null,
            "action": "open",
            "content": {
                "summary": "Backup: Bäckerei box - backup failed",
                "body": "box: disk full\n\"quotes\" and \u{2028} line separators",
                "severity": "error",
                "priority": "high",
                "customer": null,
                "machines": [],
                "machine_count": 1
            }
        }
    });
    assert_eq!(stand.receiver.bodies.lock().unwrap()[0], expected);
    Ok(())
}

#[tokio::test]
async fn an_answer_without_sense_still_means_taken() -> Result<()> {
    let long_reference = format!("{{\"reference\": \"{}\"}}", "x".repeat(201)).into_bytes();
    for answer in [vec![], b"thanks!".to_vec(), vec![b'['; 100_000], long_reference, vec![0xff, 0xfe]] {
        let stand = WebhookStand::start().await?;
        *stand.receiver.answer.lock().unwrap() = Some(answer);
        let receipt = stand.webhook.deliver(&order(1, Action::Note { note: String::new() }), now()).await?;
        assert_eq!(receipt.reference, None);
    }
    Ok(())
}

#[tokio::test]
async fn errors_name_the_system_and_hide_the_rest_of_its_address() -> Result<()> {
    let mut stand = WebhookStand::start().await?;
    stand.trouble(Trouble::CredentialsRefused);
    let order = order(1, Action::Note { note: String::new() });
    let refused = stand.webhook.deliver(&order, now()).await.unwrap_err();
    assert!(refused.to_string().contains("http://127.0.0.1:") && refused.to_string().contains("403"), "{refused}");
    stand.stop().await?;
    let away = stand.webhook.deliver(&order, now()).await.unwrap_err();
    assert!(matches!(away, DeliveryError::Later { .. }));
    let chain = format!("{refused:?} {away:?}");
    assert!(!chain.contains("hidden-part"), "{chain}");
    Ok(())
}

#[test]
fn only_safe_addresses_are_taken() {
    let check =
        |url: &str| Webhook::new(WebhookConfig { url: url.into(), secret: secret(), timeout: Duration::from_secs(1) });
    for good in ["https://tickets.example/hook", "http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/x"] {
        assert!(check(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "tickets",
        "http://tickets.example/",
        "ftp://x/",
        "file:///etc/passwd",
        "https://me:secret@x/",
        "http://127.0.0.1.example/",
    ] {
        assert!(matches!(check(bad), Err(WebhookConfigError::Address { .. })), "{bad}");
    }
}

/// The example of the Standard Webhooks specification.
#[test]
fn the_signature_is_the_one_of_the_specification() {
    let body = br#"{"test": 2432232314}"#;
    let signature = sign(&secret(), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_message_is_taken_for_five_minutes_unchanged_and_from_us_alone() {
    let check = |id, time, body: &[u8], header: &str, at| verify(&secret(), id, time, body, header, at);
    let good = sign(&secret(), "a", 1000, b"body");
    assert_eq!(check("a", 1000, b"body", &good, 1300), Ok(()));
    assert_eq!(check("a", 1000, b"body", &format!("v1,AAAA v2,xyz {good}"), 1000), Ok(()));
    assert_eq!(check("a", 1000, b"body", &good, 1301), Err(SignatureError::Stale));
    assert_eq!(check("a", 1000, b"body", &good, 699), Err(SignatureError::Stale));
    for (id, time, body) in [("b", 1000, "body"), ("a", 1001, "body"), ("a", 1000, "bodY")] {
        assert_eq!(check(id, time, body.as_bytes(), &good, 1000), Err(SignatureError::Wrong));
    }
    assert_eq!(check("a", 1000, b"body", "", 1000), Err(SignatureError::Wrong));
    let other = sign(&Secret::from_bytes(&[7; 32]).unwrap(), "a", 1000, b"body");
    assert_eq!(check("a", 1000, b"body", &other, 1000), Err(SignatureError::Wrong));
}

#[test]
fn secrets_have_a_form_a_length_and_no_debug_text() {
    for bad in
        ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64 at all, not at all......"]
    {
        assert!(bad.parse::<Secret>().is_err(), "{bad}");
    }
    assert_eq!(format!("{:?}", secret()), "Secret(hidden)");
}

#[test]
fn waits_double_up_to_an_hour_and_respect_what_the_other_side_asks() {
    let seconds =
        |tries, asked: Option<u64>, jitter| retry_delay(tries, asked.map(Duration::from_secs), jitter).as_secs();
    let waits: Vec<u64> = (1..=9).map(|tries| seconds(tries, None, 0)).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    assert_eq!(seconds(u32::MAX, None, 0), 3600);
    assert!((22..=23).contains(&seconds(1, None, 255)));
    assert_eq!(seconds(1, Some(600), 255), 600);
    assert_eq!(seconds(1, Some(u64::MAX), 0), 24 * 3600);
}
