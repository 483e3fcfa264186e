//! The scan, commands, and the long poll that carries them.

use std::time::{Duration, Instant};

use anyhow::Result;
use nightkeep_wire::plan::Plan;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::agent::Agent;
use crate::support::TestHost;

#[tokio::test]
async fn two_scans_at_once_apply_the_default_plan_once() -> Result<()> {
    let host = TestHost::start().await?;
    let token =
        host.token(json!({ "client": "Harbour Dental", "location": "Main", "uses": 5, "auto_plan": true })).await?;
    let mut agents = Vec::new();
    for _ in 0..5 {
        agents.push(Agent::enrol(&token).await?);
    }
    let scan = || host.admin.post("/api/v1/scan", json!({}));
    let (one, two) = tokio::try_join!(scan(), scan())?;
    let applied = |report: &serde_json::Value| report["plans_applied"].as_u64().unwrap_or(0);
    assert_eq!(applied(&one) + applied(&two), 5);
    assert_eq!(applied(&scan().await?), 0);
    for agent in &agents {
        let (_, desired) = agent.send(Method::GET, "/desired?version=0&wait=0", None).await?;
        assert_eq!(desired["plans"].as_array().map(Vec::len), Some(1));
        assert_eq!(desired["plans"][0]["plan"], serde_json::to_value(Plan::default_plan())?);
        assert_eq!(desired["version"], 2);
    }
    Ok(())
}

#[tokio::test]
async fn no_plan_is_applied_where_automatic_application_is_off() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let report = host.admin.post("/api/v1/scan", json!({})).await?;
    assert_eq!((&report["machines"], &report["plans_applied"]), (&json!(1), &json!(0)));
    let detail = host.admin.get(&format!("/api/v1/machines/{}", agent.id)).await?;
    assert_eq!(detail["bucket"], "without_plan");
    assert_eq!(host.admin.get("/api/v1/summary").await?["without_plan"], 1);
    Ok(())
}

#[tokio::test]
async fn a_poll_wakes_when_a_backup_is_started_and_the_command_stays_until_it_is_answered() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.token(json!({ "client": "Harbour Dental", "location": "Main", "auto_plan": true })).await?;
    let agent = Agent::enrol(&token).await?;
    host.admin.post("/api/v1/scan", json!({})).await?;
    let poll = agent.request(Method::GET, "/desired?version=2&wait=50", None)?;
    let begun = Instant::now();
    let poll = tokio::spawn(poll.send());
    let start = format!("/api/v1/machines/{}/start", agent.id);
    let given = host.admin.post(&start, json!({})).await?;
    assert_eq!(host.admin.post(&start, json!({})).await?, given, "asking twice is asking once");
    let desired: serde_json::Value = poll.await??.json().await?;
    assert!(begun.elapsed() < Duration::from_secs(20), "the poll waited for its end");
    assert_eq!(desired["commands"][0]["id"], given["command"]);
    assert_eq!(desired["commands"][0]["action"]["kind"], "start");
    let done = json!({
        "machine": agent.id, "incarnation": agent.incarnation, "sequence": 1, "at": "2026-03-02T22:00:00Z",
        "body": { "kind": "command_done", "command": given["command"], "outcome": "done" },
    });
    assert_eq!(agent.report(&[done]).await?.0, StatusCode::OK);
    let (_, desired) = agent.send(Method::GET, "/desired?version=3&wait=0", None).await?;
    assert_eq!(desired["commands"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_poll_without_news_ends_empty_and_at_once_when_the_host_stops() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let (status, _) = agent.send(Method::GET, "/desired?version=1&wait=0", None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let poll = tokio::spawn(agent.request(Method::GET, "/desired?version=1&wait=50", None)?.send());
    let begun = Instant::now();
    host.host.stop().await?;
    // Whether the poll had reached the host or not, it is over.
    let _ = poll.await?;
    assert!(begun.elapsed() < Duration::from_secs(20));
    Ok(())
}

#[tokio::test]
async fn status_follows_the_reports() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.token(json!({ "client": "Harbour Dental", "location": "Main", "auto_plan": true })).await?;
    let agent = Agent::enrol(&token).await?;
    host.admin.post("/api/v1/scan", json!({})).await?;
    let path = format!("/api/v1/machines/{}", agent.id);
    let before = host.admin.get(&path).await?;
    assert_eq!(before["bucket"], "not_protected", "{before}");
    assert!(before["next_backup"].is_string());
    let now = chrono::Utc::now();
    let finished = json!({
        "machine": agent.id, "incarnation": agent.incarnation, "sequence": 1, "at": now,
        "body": { "kind": "job_finished", "job": uuid::Uuid::new_v4(), "plan": Plan::DEFAULT_ID, "job_kind": "backup",
                  "cause": "manual", "outcome": "ok", "started": now, "finished": now,
                  "recovery_point": "00112233445566778899aabbccddeeff", "set": "monthly" },
    });
    agent.report(&[finished]).await?;
    let after = host.admin.get(&path).await?;
    assert_eq!((&after["bucket"], &after["status"]), (&json!("ok"), &json!("OK")), "{after}");
    assert!(after["last_backup"].is_string());
    Ok(())
}

#[tokio::test]
async fn a_plan_revoked_for_good_is_not_applied_again() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.token(json!({ "client": "Harbour Dental", "location": "Main", "auto_plan": true })).await?;
    let agent = Agent::enrol(&token).await?;
    host.admin.post("/api/v1/scan", json!({})).await?;
    let path = format!("/api/v1/machines/{}/plans/{}", agent.id, Plan::DEFAULT_ID);
    let revoke = format!("{path}?exclude_from_automatic=true");
    assert_eq!(host.admin.send(Method::DELETE, &revoke, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(host.admin.post("/api/v1/scan", json!({})).await?["plans_applied"], 0);
    assert_eq!(host.admin.send(Method::PUT, &path, Some(json!({}))).await?.0, StatusCode::CREATED);
    Ok(())
}
