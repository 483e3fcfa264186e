//! The host as a program of its own, killed between a report and its answer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::agent::Agent;
use crate::support::Admin;

struct Program {
    child: Child,
    url: String,
    password: Option<String>,
}

impl Program {
    /// Starts the host and waits until it listens.
    fn start(data: &Path, listen: &str) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nightkeep-host"))
            .args(["serve", "--json", "--listen", listen, "--data"])
            .arg(data)
            .env("NIGHTKEEP_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let listening: Value = serde_json::from_str(&lines.next().context("it ended")??)?;
        let url = listening["console"].as_str().context("no address")?.trim_end_matches('/').to_owned();
        let password = match listen.ends_with(":0") {
            true => {
                let line: Value = serde_json::from_str(&lines.next().context("it ended")??)?;
                Some(line["password"].as_str().context("no password")?.to_owned())
            }
            false => None,
        };
        Ok(Self { child, url, password })
    }
}

/// Killed, not asked to stop; also when a test fails half-way.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a report until there is an answer, as agents do: connections died with the host.
async fn deliver(agent: &Agent, report: &Value) -> Result<(StatusCode, Value)> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        if let Ok(answer) = agent.report(std::slice::from_ref(report)).await {
            return Ok(answer);
        }
    }
    anyhow::bail!("no answer in {TRIES} tries")
}

#[tokio::test]
async fn a_host_killed_between_report_and_answer_has_applied_the_report_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut program = Program::start(folder.path(), "127.0.0.1:0")?;
    let listen = program.url.trim_start_matches("https://").to_owned();
    let admin = Admin::sign_in(&program.url, &program.password.clone().context("no password")?).await?;
    let token = admin.token(json!({ "client": "Harbour Dental", "location": "Main" })).await?;
    let agent = Agent::enrol(&token).await?;
    let rounds = 10;
    for round in 1..=rounds {
        let report = agent.started(round, Uuid::new_v4());
        let body = json!({ "reports": [report.clone()] });
        let sent = tokio::spawn(agent.request(reqwest::Method::POST, "/reports", Some(&body))?.send());
        // Some rounds kill before the report arrives, some while it is applied, some after the answer.
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        drop(program);
        // Answered or not: both may happen, and neither tells what was applied.
        let _ = sent.await?;
        program = Program::start(folder.path(), &listen)?;
        assert_eq!(deliver(&agent, &report).await?, (StatusCode::OK, json!({ "applied_through": round })));
    }
    let jobs = admin.get(&format!("/api/v1/machines/{}/jobs", agent.id)).await?;
    assert_eq!(jobs.as_array().map(Vec::len), Some(usize::try_from(rounds)?));
    Ok(())
}
