//! Reports over HTTP.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::agent::Agent;
use crate::support::TestHost;

#[tokio::test]
async fn a_report_counts_once_a_gap_is_named_and_a_clone_is_caught() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let first = agent.started(1, Uuid::new_v4());
    for _ in 0..2 {
        assert_eq!(
            agent.report(std::slice::from_ref(&first)).await?,
            (StatusCode::OK, json!({ "applied_through": 1 }))
        );
    }
    let (status, problem) = agent.report(&[agent.started(3, Uuid::new_v4())]).await?;
    assert_eq!(
        (status, &problem["code"], &problem["expected"]),
        (StatusCode::CONFLICT, &json!("sequence-gap"), &json!(2))
    );
    let (status, problem) = agent.report(&[agent.started(1, Uuid::new_v4())]).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("sequence-conflict")));
    let jobs = host.admin.get(&format!("/api/v1/machines/{}/jobs", agent.id)).await?;
    assert_eq!(jobs.as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn fields_of_a_newer_agent_are_ignored_but_not_forgotten_when_telling_clones() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let mut report = agent.started(1, Uuid::new_v4());
    report["body"]["from_the_future"] = json!(1);
    assert_eq!(agent.report(std::slice::from_ref(&report)).await?.0, StatusCode::OK);
    assert_eq!(agent.report(std::slice::from_ref(&report)).await?.0, StatusCode::OK);
    report["body"]["from_the_future"] = json!(2);
    assert_eq!(agent.report(&[report]).await?.0, StatusCode::CONFLICT);
    Ok(())
}

#[tokio::test]
async fn a_machine_reports_for_itself_alone() -> Result<()> {
    let host = TestHost::start().await?;
    let one = Agent::enrol(&host.usual_token().await?).await?;
    let two = Agent::enrol(&host.usual_token().await?).await?;
    let (status, problem) = one.report(&[two.started(1, Uuid::new_v4())]).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not-allowed")));
    Ok(())
}

#[tokio::test]
async fn progress_shows_until_the_job_has_ended() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let job = Uuid::new_v4();
    agent.report(&[agent.started(1, job)]).await?;
    let progress = json!({
        "job": job, "job_kind": "backup", "phase": "backing_up", "started": "2026-03-02T22:00:00Z",
        "at": "2026-03-02T22:01:00Z", "files_done": 42, "files_total": 100, "bytes_done": 42, "bytes_total": 100,
    });
    assert_eq!(agent.send(Method::POST, "/progress", Some(&progress)).await?.0, StatusCode::NO_CONTENT);
    let path = format!("/api/v1/machines/{}", agent.id);
    assert_eq!(host.admin.get(&path).await?["backing_up"]["percent"], 42);
    let finished = json!({
        "machine": agent.id, "incarnation": agent.incarnation, "sequence": 2, "at": "2026-03-02T22:02:00Z",
        "body": { "kind": "job_finished", "job": job, "job_kind": "backup", "cause": "manual", "outcome": "ok",
                  "started": "2026-03-02T22:00:00Z", "finished": "2026-03-02T22:02:00Z",
                  "recovery_point": "00112233445566778899aabbccddeeff", "set": "monthly" },
    });
    assert_eq!(agent.report(&[finished]).await?.0, StatusCode::OK);
    // A straggler changes nothing.
    agent.send(Method::POST, "/progress", Some(&progress)).await?;
    let detail = host.admin.get(&path).await?;
    assert_eq!(detail["backing_up"], json!(null));
    assert_eq!((&detail["jobs"][0]["outcome"], &detail["jobs"][0]["set"]), (&json!("ok"), &json!("monthly")));
    Ok(())
}
