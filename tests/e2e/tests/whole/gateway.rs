//! What a machine with a valid identity may not do, whatever its program wants.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::binaries::output_dir;
use nightkeep_harness::cluster::Cluster;
use nightkeep_harness::reqwest::{Method, StatusCode};
use nightkeep_harness::rogue::{Rogue, now_ms};
use nightkeep_harness::tree;
use nightkeep_harness::wait::wait_for_async;
use serde_json::{Value, json};

const STRANGER: &str = "00000000000040008000000000000000";

#[tokio::test]
async fn a_machine_creates_only_what_is_its_own() -> Result<()> {
    let cluster = Cluster::start(&output_dir("gateway-names")?).await?;
    let rogue = Rogue::enrol(&cluster.host.token(&[])?, "rogue").await?;
    let before = tree::files(&cluster.host.vault_dir()?)?;
    let forbidden = [
        "g/0000000000000001".to_owned(),
        "d/0000000000000001".to_owned(),
        "f/0000000000000001".to_owned(),
        "cfg/2".to_owned(),
        "keys/slot-0000000000000000".to_owned(),
        format!("keys/machine-{STRANGER}"),
        format!("s/{STRANGER}/0000000000000001"),
        format!("w/{STRANGER}/{STRANGER}/00000000"),
        "p/../cfg/1".to_owned(),
        "/etc/passwd".to_owned(),
        "elsewhere/x".to_owned(),
    ];
    for name in &forbidden {
        let grant = rogue.ask_to_create(name, b"x").await?;
        ensure!(grant["url"].is_null(), "{name} was granted: {grant}");
        ensure!(grant.to_string().contains(name.as_str()), "the answer does not name {name}: {grant}");
    }
    ensure!(tree::files(&cluster.host.vault_dir()?)? == before, "something was created");
    Ok(())
}

#[tokio::test]
async fn a_pack_is_created_once_with_exactly_the_bytes_that_were_announced() -> Result<()> {
    let cluster = Cluster::start(&output_dir("gateway-overwrite")?).await?;
    let rogue = Rogue::enrol(&cluster.host.token(&[])?, "rogue").await?;
    let bytes = vec![7; 100_000];
    let hash = blake3_hex(&bytes);
    let name = format!("p/{}/{hash}", &hash[..2]);
    let grant = rogue.ask_to_create(&name, &bytes).await?;
    let url = grant["url"].as_str().with_context(|| format!("no address: {grant}"))?.to_owned();
    let mut altered = bytes.clone();
    altered[50_000] ^= 1;
    for wrong in [altered.as_slice(), &bytes[..99_999], &[bytes.as_slice(), b"x"].concat()] {
        let answer = rogue.put(&url, wrong).await;
        // A body that is too long may end in a closed connection instead of an answer.
        ensure!(!answer.is_ok_and(|(status, _)| status.is_success()), "{} wrong bytes were taken", wrong.len());
    }
    let grant = rogue.ask_to_create(&name, &bytes).await?;
    let url = grant["url"].as_str().with_context(|| format!("no address after failures: {grant}"))?.to_owned();
    ensure!(rogue.put(&url, &bytes).await?.0 == StatusCode::CREATED);
    let (status, _) = rogue.put(&url, &altered).await?;
    ensure!(status.is_client_error(), "a second write answered {status}");
    ensure!(std::fs::read(cluster.host.vault_dir()?.join(&name))? == bytes, "the pack was overwritten");
    let again = rogue.ask_to_create(&name, &bytes).await?;
    ensure!(again["result"] == "exists", "{again}");
    let (status, answer) = rogue.send(Method::GET, &format!("/vault/object/{name}"), None).await?;
    ensure!(status == StatusCode::FORBIDDEN, "reading a pack without a restore grant answered {status}: {answer}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_not_signed_now_and_by_the_machine_is_refused() -> Result<()> {
    let cluster = Cluster::start(&output_dir("gateway-signature")?).await?;
    let rogue = Rogue::enrol(&cluster.host.token(&[])?, "rogue").await?;
    let other = Rogue::enrol(&cluster.host.token(&[])?, "other").await?;
    ensure!(rogue.send(Method::GET, "/vault/list?prefix=cfg/", None).await?.0.is_success());
    let hour = 3_600_000;
    for time in [now_ms()? - hour, now_ms()? + hour] {
        let (status, answer) = rogue.send_at(Method::GET, "/vault/list?prefix=cfg/", None, time).await?;
        ensure!(status == StatusCode::UNAUTHORIZED && answer["code"] == "clock-skew", "{status}: {answer}");
    }
    let (status, answer) = rogue.send_as(&other, Method::GET, "/vault/list?prefix=cfg/").await?;
    ensure!(status == StatusCode::UNAUTHORIZED, "another's signature answered {status}: {answer}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_unknown_or_used_up_is_refused_with_its_reason() -> Result<()> {
    let cluster = Cluster::start(&output_dir("gateway-tokens")?).await?;
    let once = cluster.host.token(&["--uses", "1"])?;
    Rogue::enrol(&once, "first").await?;
    let (status, answer, second) = Rogue::try_enrol(&once, "second").await?;
    ensure!(second.is_none() && status == StatusCode::UNAUTHORIZED, "{status}: {answer}");
    ensure!(answer["code"] == "token-used", "{answer}");
    let elsewhere = Cluster::start(&output_dir("gateway-tokens-elsewhere")?).await?;
    let root = tempfile::tempdir()?;
    let machine = cluster.machine("stranger", root.path())?;
    let foreign = elsewhere.host.token(&[])?;
    // The same host's address and pin with another host's secret.
    let mixed = mixed_token(&once, &foreign)?;
    let outcome = machine.try_enrol(&mixed)?.expect_code(1)?;
    ensure!(outcome.stderr.to_lowercase().contains("token"), "{outcome:?}");
    ensure!(!outcome.stderr.contains(&mixed), "the error repeats the token");
    Ok(())
}

#[tokio::test]
async fn a_token_is_refused_once_it_has_expired() -> Result<()> {
    let cluster = Cluster::start(&output_dir("gateway-expired")?).await?;
    let token = cluster.host.token(&["--uses", "100000", "--valid-for", "1s"])?;
    let refusal = wait_for_async("the token's end", Duration::from_secs(20), || async {
        let (status, answer, machine) = Rogue::try_enrol(&token, "late").await?;
        Ok(machine.is_none().then_some((status, answer)))
    });
    let (status, answer) = refusal.await?;
    ensure!(status == StatusCode::UNAUTHORIZED && answer["code"] == "token-expired", "{status}: {answer}");
    Ok(())
}

fn blake3_hex(bytes: &[u8]) -> String {
    nightkeep_harness::blake3::hash(bytes).to_hex().to_string()
}

/// Address and pin of `host`, secret of `secret`.
fn mixed_token(host: &str, secret: &str) -> Result<String> {
    let mut mixed = fields(host)?;
    mixed["s"] = fields(secret)?["s"].clone();
    Ok(format!("nk1.{}", nightkeep_harness::base64_url(mixed.to_string().as_bytes())))
}

fn fields(token: &str) -> Result<Value> {
    let text = token.strip_prefix("nk1.").context("not a token")?;
    Ok(serde_json::from_slice(&nightkeep_harness::from_base64_url(text)?).unwrap_or(json!(null)))
}
