//! Who may speak for a machine.

use anyhow::Result;
use nightkeep_vault::crypto::{Secret, SigningKey};
use reqwest::{Method, StatusCode};

use crate::agent::{Agent, nonce, now_ms};
use crate::support::{TestHost, client};

const DESIRED: &str = "/desired?version=0&wait=0";

async fn code(request: reqwest::RequestBuilder) -> Result<(StatusCode, String)> {
    let response = request.send().await?;
    let status = response.status();
    let problem: serde_json::Value = response.json().await.unwrap_or_default();
    Ok((status, problem["code"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn a_stranger_cannot_speak_for_a_machine() -> Result<()> {
    let host = TestHost::start().await?;
    let mut agent = Agent::enrol(&host.usual_token().await?).await?;
    agent.signing = SigningKey::from_seed(Secret::generate());
    let answer = code(agent.request(Method::GET, DESIRED, None)?).await?;
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, "signature-invalid".into()));
    let bare = client()?.get(format!("{}/api/agent/v1{DESIRED}", agent.url));
    assert_eq!(code(bare).await?, (StatusCode::UNAUTHORIZED, "signature-invalid".into()));
    agent.id = uuid::Uuid::new_v4();
    let answer = code(agent.request(Method::GET, DESIRED, None)?).await?;
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, "machine-unknown".into()));
    Ok(())
}

#[tokio::test]
async fn a_signature_covers_body_and_query() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let request = agent.request(Method::POST, "/reports", Some(&serde_json::json!({ "reports": [] })))?;
    let changed = request.body(r#"{"reports":[ ]}"#);
    assert_eq!(code(changed).await?, (StatusCode::UNAUTHORIZED, "signature-invalid".into()));
    Ok(())
}

#[tokio::test]
async fn a_request_is_taken_once() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let (time, nonce) = (now_ms()?, nonce());
    let request = || agent.signed(&Method::GET, DESIRED, b"", time, &nonce);
    assert_eq!(code(request()).await?.0, StatusCode::OK);
    assert_eq!(code(request()).await?, (StatusCode::UNAUTHORIZED, "nonce-replayed".into()));
    Ok(())
}

#[tokio::test]
async fn a_wrong_clock_is_told_the_right_time() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    for wrong in [now_ms()? - 16 * 60_000, now_ms()? + 16 * 60_000] {
        let response = agent.signed(&Method::GET, DESIRED, b"", wrong, &nonce()).send().await?;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let told: u64 = response.headers()["x-nk-host-time"].to_str()?.parse()?;
        let again = agent.signed(&Method::GET, DESIRED, b"", told, &nonce());
        assert_eq!(code(again).await?.0, StatusCode::OK);
    }
    Ok(())
}
