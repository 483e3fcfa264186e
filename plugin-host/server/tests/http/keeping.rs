//! Retention and collection by the host: on demand, and what it says of them.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::agent::Agent;
use crate::support::{TestHost, client};

#[tokio::test]
async fn keeping_runs_on_demand_and_its_listing_tells_the_truth_also_when_it_fails() -> Result<()> {
    let host = TestHost::start().await?;
    Agent::enrol(&host.usual_token().await?).await?;
    let kept = host.admin.post("/api/v1/keeping", json!({})).await?;
    ensure!(kept[0]["customer"].is_string() && kept[0]["error"].is_null(), "{kept}");
    assert_eq!(host.admin.get("/api/v1/keeping").await?, kept);

    // A pack that nobody can have written: there is not one recovery point or session.
    let vault = kept[0]["vault"].as_str().context("no vault")?;
    let name = "ab".repeat(32);
    let pack = host.folder.path().join("vaults").join(vault).join("p/ab").join(&name);
    std::fs::create_dir_all(pack.parent().context("a folder")?)?;
    std::fs::write(&pack, b"a pack")?;
    let kept = host.admin.post("/api/v1/keeping", json!({ "confirm": true })).await?;
    let error = kept[0]["error"].as_str().context("no error")?;
    ensure!(error.contains("nothing was deleted"), "{error}");
    assert_eq!(host.admin.get("/api/v1/keeping").await?[0]["error"], json!(error));
    ensure!(pack.is_file());
    std::fs::remove_file(&pack)?;
    let kept = host.admin.post("/api/v1/keeping", json!({})).await?;
    ensure!(kept[0]["error"].is_null(), "the trouble is over: {kept}");
    Ok(())
}

#[tokio::test]
async fn nobody_keeps_vaults_without_signing_in() -> Result<()> {
    let host = TestHost::start().await?;
    let request = client()?.request(Method::POST, format!("{}/api/v1/keeping", host.host.url()));
    let status = request.json(&json!({})).send().await?.status();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    Ok(())
}
