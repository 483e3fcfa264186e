//! Being let in.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Duration;
use nightkeep_vault::crypto::{SealingPublicKey, Secret};
use nightkeep_vault::id::{MachineId, VaultId};
use nightkeep_vault::keys::parse_key_text;
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::vault::Vault;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::agent::{Agent, Identity};
use crate::support::TestHost;

#[tokio::test]
async fn a_machine_is_given_the_keys_of_its_vault_and_nothing_that_opens_data() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let grant = &agent.enrolled["vault"];
    let sealed = STANDARD.decode(grant["secrets_sealed"].as_str().context("no secrets")?)?;
    let secrets = agent.sealing.open("nightkeep machine secrets v1", agent.id.as_bytes(), &sealed)?;
    let sheet = std::process::Command::new(env!("CARGO_BIN_EXE_nightkeep-host"))
        .args(["vault", "sheet", "--customer", "Harbour Dental", "--data"])
        .arg(host.folder.path())
        .output()?;
    let (vault, root) = parse_key_text(&String::from_utf8(sheet.stdout)?)?;
    assert_eq!(grant["vault_id"], vault.to_string());
    let keys = root.vault_keys(vault);
    assert_eq!(secrets, [*keys.id.expose(), *keys.chunk.expose(), *keys.index.expose()].concat());
    let maintenance = STANDARD.encode(root.maintenance(vault).public().0);
    assert_eq!(grant["maintenance_key"], maintenance);
    Ok(())
}

#[tokio::test]
async fn the_vault_knows_the_machine_once_it_gave_its_own_key() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let grant = &agent.enrolled["vault"];
    let public: [u8; 32] =
        STANDARD.decode(grant["public_key"].as_str().context("no key")?)?.try_into().ok().context("32")?;
    let meta = Secret::generate();
    let id = MachineId(*agent.id.as_bytes());
    let sealed = MachineRecord::seal_meta(id, SealingPublicKey(public), &meta)?;
    let body = json!({ "meta_key_sealed": STANDARD.encode(&sealed) });
    for _ in 0..2 {
        let (status, answer) = agent.send(Method::PUT, "/machine/keys", Some(&body)).await?;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }
    let other = MachineRecord::seal_meta(id, SealingPublicKey(public), &Secret::generate())?;
    let body = json!({ "meta_key_sealed": STANDARD.encode(&other) });
    assert_eq!(agent.send(Method::PUT, "/machine/keys", Some(&body)).await?.0, StatusCode::CONFLICT);

    let vault_id: VaultId = grant["vault_id"].as_str().context("no vault")?.parse()?;
    let folder = host.folder.path().join("vaults").join(vault_id.to_string());
    let store = nightkeep_vault::store::open_location(&format!("file://{}", folder.display()))?;
    let sheet = std::process::Command::new(env!("CARGO_BIN_EXE_nightkeep-host"))
        .args(["vault", "sheet", "--customer", "Harbour Dental", "--data"])
        .arg(host.folder.path())
        .output()?;
    let (vault, root) = parse_key_text(&String::from_utf8(sheet.stdout)?)?;
    let opened = Vault::open_owner(store, vault, root)?;
    let record = opened.machine(id)?.context("no machine record")?;
    assert_eq!(record.signing, agent.signing.public());
    assert_eq!(opened.meta_of(id)?, meta);
    Ok(())
}

#[tokio::test]
async fn the_same_machine_is_given_the_same_id_also_when_the_token_is_used_up() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.usual_token().await?;
    let identity = Identity::new();
    let first = Agent::enrol_as(identity.clone(), &token).await?;
    let second = Agent::enrol_as(identity, &token).await?;
    assert_eq!(first.id, second.id);
    Ok(())
}

#[tokio::test]
async fn a_token_that_opens_nothing_says_why_and_what_to_do() -> Result<()> {
    let host = TestHost::start().await?;
    let used = host.usual_token().await?;
    Agent::enrol(&used).await?;
    let mut unknown = used.clone();
    unknown.secret = nightkeep_wire::bytes::TokenSecret::new([7; 32]);
    let expired = host.token(json!({ "client": "Harbour Dental", "location": "Main", "valid_days": 1 })).await?;
    host.advance(Duration::days(2));
    for (token, code, words) in [
        (used, "token-used", "used up"),
        (unknown, "token-unknown", "does not know"),
        (expired, "token-expired", "expired on"),
    ] {
        let (status, problem) = Identity::new().ask(&token).await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(problem["code"], code);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words) && detail.contains("token create"), "{detail}");
    }
    Ok(())
}

#[tokio::test]
async fn a_copied_identity_waits_in_the_lobby_and_reaches_nothing_until_approved() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.token(json!({ "client": "Harbour Dental", "location": "Main", "uses": 2 })).await?;
    let identity = Identity::new();
    Agent::enrol_as(identity.clone(), &token).await?;
    let copy = Identity { fingerprint: "another board".into(), ..identity };
    let copy = Agent::enrol_as(copy, &token).await?;
    assert_eq!(copy.enrolled["state"], "lobby");
    assert_eq!(copy.enrolled["vault"], serde_json::Value::Null);
    let (status, problem) = copy.send(Method::GET, "/vault/object/cfg/1", None).await?;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::FORBIDDEN, Some("machine-in-lobby")));
    let (_, desired) = copy.send(Method::GET, "/desired?version=0&wait=0", None).await?;
    assert_eq!(desired["state"], "lobby");
    let path = format!("/api/v1/machines/{}/approve", copy.id);
    assert_eq!(host.admin.send(Method::POST, &path, None).await?.0, StatusCode::NO_CONTENT);
    let (_, desired) = copy.send(Method::GET, "/desired?version=1&wait=0", None).await?;
    assert_eq!(desired["state"], "active");
    assert!(desired["vault"].is_object());
    Ok(())
}
