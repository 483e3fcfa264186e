//! The storage gateway: who may create and read what, and that bytes arrive whole or not at all.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::agent::{Agent, hash_of};
use crate::support::{TestHost, client};

fn pack_name(bytes: &[u8]) -> String {
    let hash = hash_of(bytes);
    format!("p/{}/{hash}", &hash[..2])
}

#[tokio::test]
async fn an_object_is_created_once_and_lies_in_the_vault_as_it_came() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let bytes = vec![42; 3 << 20];
    let name = pack_name(&bytes);
    let grant = agent.grant(&name, &bytes).await?;
    let second = agent.grant(&name, &bytes).await?;
    assert_eq!(agent.put(&grant, &bytes).await?, StatusCode::CREATED);
    assert_eq!(agent.put(&second, &bytes).await?, StatusCode::CONFLICT);
    assert_eq!(agent.put(&grant, &bytes).await?, StatusCode::FORBIDDEN, "a grant is used once");
    assert_eq!(agent.grant(&name, &bytes).await?["result"], "exists");
    let vault = agent.enrolled["vault"]["vault_id"].as_str().context("no vault")?;
    let folder = host.folder.path().join("vaults").join(vault);
    assert_eq!(std::fs::read(folder.join(&name))?, bytes);
    assert_eq!(std::fs::read_dir(folder.join("tmp"))?.count(), 0, "no temporary file stays");
    Ok(())
}

#[tokio::test]
async fn bytes_that_were_not_announced_are_refused_and_leave_nothing() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let name = pack_name(b"right");
    let grant = agent.grant(&name, b"right").await?;
    for wrong in [b"wrong".as_slice(), b"longer than announced", b"no"] {
        assert_eq!(agent.put(&grant, wrong).await?, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (status, _) = agent.send(Method::HEAD, &format!("/vault/object/{name}"), None).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(agent.put(&grant, b"right").await?, StatusCode::CREATED, "the grant is still good for the right bytes");
    Ok(())
}

#[tokio::test]
async fn nobody_creates_what_is_not_theirs() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let other = Agent::enrol(&host.usual_token().await?).await?;
    let (own, foreign) = (agent.name(), other.name());
    let refused = [
        format!("s/{foreign}/0000000000000001"),
        format!("w/{foreign}/0123456789abcdef0123456789abcdef/00000000"),
        format!("i/0000000000000000/{foreign}-0123456789abcdef0123456789abcdef-00000000"),
        "g/0000000000000001".to_owned(),
        "cfg/1".to_owned(),
        format!("keys/machine-{own}"),
        format!("r/{own}/0000000000000001-00000000"),
        format!("p/00/{}", "0".repeat(64)),
    ];
    for name in refused {
        let grant = agent.grant(&name, b"bytes").await?;
        assert_eq!((&grant["result"], &grant["code"]), (&json!("refused"), &json!("not-allowed")), "{name}");
        let reason = grant["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&name), "the refusal names {name}: {reason}");
    }
    assert_eq!(agent.grant(&format!("s/{own}/0000000000000001"), b"bytes").await?["result"], "url");
    Ok(())
}

#[tokio::test]
async fn a_machine_reads_its_own_and_what_all_may_know() -> Result<()> {
    let host = TestHost::start().await?;
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let other = Agent::enrol(&host.usual_token().await?).await?;
    let bytes = b"a recovery point".as_slice();
    for machine in [&agent, &other] {
        let name = format!("s/{}/0000000000000001", machine.name());
        let grant = machine.grant(&name, bytes).await?;
        assert_eq!(machine.put(&grant, bytes).await?, StatusCode::CREATED);
    }
    let own = format!("/vault/object/s/{}/0000000000000001", agent.name());
    let response = agent.request(Method::GET, &own, None)?.header("range", "bytes=2-9").send().await?;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.headers()["content-range"], "bytes 2-9/16");
    assert_eq!(response.bytes().await?, &bytes[2..10]);
    let looked = agent.request(Method::HEAD, &own, None)?.send().await?;
    assert_eq!(looked.headers()["content-length"], "16");
    let (_, listed) = agent.send(Method::GET, &format!("/vault/list?prefix=s/{}/", agent.name()), None).await?;
    let name = format!("s/{}/0000000000000001", agent.name());
    assert_eq!(listed, json!({ "objects": [{ "name": name, "len": 16 }], "more": false }));
    assert_eq!(agent.send(Method::GET, "/vault/object/cfg/1", None).await?.0, StatusCode::OK);

    let foreign = format!("s/{}/0000000000000001", other.name());
    for path in [format!("/vault/object/{foreign}"), "/vault/list?prefix=s/".into(), "/vault/list?prefix=".into()] {
        let (status, problem) = agent.send(Method::GET, &path, None).await?;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not-allowed")), "{path}");
    }
    let (status, _) = agent.send(Method::GET, "/vault/object/cfg%2f..%2f..%2f..%2fmaster.key", None).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, problem) = agent.send(Method::GET, &format!("/vault/object/{}", pack_name(b"data")), None).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("not-allowed")));
    Ok(())
}

#[tokio::test]
async fn an_address_that_nobody_was_given_takes_nothing() -> Result<()> {
    let host = TestHost::start().await?;
    let url = format!("{}/api/agent/v1/vault/upload/{}", host.host.url(), "0".repeat(64));
    assert_eq!(client()?.put(url).body("bytes").send().await?.status(), StatusCode::FORBIDDEN);
    let agent = Agent::enrol(&host.usual_token().await?).await?;
    let grant = agent.grant(&pack_name(b"late"), b"late").await?;
    host.advance(chrono::Duration::minutes(16));
    assert_eq!(agent.put(&grant, b"late").await?, StatusCode::FORBIDDEN, "a grant ends after fifteen minutes");
    Ok(())
}

#[tokio::test]
async fn customers_do_not_share_a_vault() -> Result<()> {
    let host = TestHost::start().await?;
    let one = Agent::enrol(&host.usual_token().await?).await?;
    let two = Agent::enrol(&host.token(json!({ "client": "Quay Books", "location": "Shop" })).await?).await?;
    assert_ne!(one.enrolled["vault"]["vault_id"], two.enrolled["vault"]["vault_id"]);
    let bytes = b"the same pack".as_slice();
    let grant = one.grant(&pack_name(bytes), bytes).await?;
    assert_eq!(one.put(&grant, bytes).await?, StatusCode::CREATED);
    assert_eq!(two.grant(&pack_name(bytes), bytes).await?["result"], "url", "it is not in the other's vault");
    Ok(())
}
