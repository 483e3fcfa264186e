//! What a thief can do with a stolen machine's identity and vault keys (security.md): nothing to others.
//!
//! Each test is one attempt; it is refused, or shown to be harmless by reading the other machine's data back.

use anyhow::{Context, Result, ensure};
use chrono::Duration;
use nightkeep_vault::crypto::SigningKey;
use nightkeep_vault::record::generation::{Decision, Generation, Keeper};
use nightkeep_vault::record::retention::{Action, RetentionRecord};
use nightkeep_vault::store::Store;
use nightkeep_vault::verify::verify_segments;
use nightkeep_wire::gateway::GRANTS_PER_REQUEST_MAX;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::agent::{hash_of, nonce, now_ms};
use crate::station::{Backup, Station, assert_restorable, owner};
use crate::support::{TestHost, client};

const CONTENT: &[u8] = b"what the victim must get back";

struct Scene {
    host: TestHost,
    victim: Station,
    backup: Backup,
    thief: Station,
}

impl Scene {
    /// Two machines of one customer; one has a backup, the other is in wrong hands.
    async fn set() -> Result<Self> {
        let host = TestHost::start().await?;
        let victim = Station::enrol(&host).await?;
        let backup = victim.back_up(CONTENT).await?;
        let thief = Station::enrol(&host).await?;
        Ok(Self { host, victim, backup, thief })
    }

    /// The victim's data is what it was.
    fn victim_restores(&self) -> Result<()> {
        assert_restorable(&owner(&self.host, &self.victim)?, &self.victim, &self.backup, CONTENT)
    }

    /// Reading, looking and listing by name is refused, with a code.
    async fn refuses_to_show(&self, name: &str) -> Result<()> {
        for method in [Method::GET, Method::HEAD] {
            let (status, problem) =
                self.thief.agent.send(method.clone(), &format!("/vault/object/{name}"), None).await?;
            ensure!(status == StatusCode::FORBIDDEN, "{method} {name} answered {status}: {problem}");
        }
        Ok(())
    }

    /// Creating it is refused, and the refusal names it.
    async fn refuses_to_create(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let grant = self.thief.agent.grant(name, bytes).await?;
        ensure!(grant["result"] == "refused" && grant["code"] == "not-allowed", "{name}: {grant}");
        ensure!(grant["reason"].as_str().is_some_and(|reason| reason.contains(name)), "{grant}");
        Ok(())
    }
}

#[tokio::test]
async fn a_thief_reads_no_other_machines_points_and_sessions() -> Result<()> {
    let scene = Scene::set().await?;
    let victim = scene.victim.agent.name();
    scene.refuses_to_show(&scene.backup.point).await?;
    scene.refuses_to_show(&format!("w/{victim}/{}/00000000", scene.backup.session)).await?;
    scene.refuses_to_show(&format!("r/{victim}/0000000000000001-00000000")).await
}

#[tokio::test]
async fn a_thief_reads_no_data_also_not_of_its_own_machine() -> Result<()> {
    let scene = Scene::set().await?;
    let own = scene.thief.back_up(b"the thief's own").await?;
    for pack in [&scene.backup.data_pack, &own.data_pack] {
        let (status, problem) = scene.thief.agent.send(Method::GET, &format!("/vault/object/{pack}"), None).await?;
        ensure!(status == StatusCode::FORBIDDEN && problem["code"] == "not-allowed", "{status}: {problem}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thief_reads_no_other_machines_catalogue() -> Result<()> {
    let scene = Scene::set().await?;
    let own = scene.thief.back_up(b"the thief's own").await?;
    let read = async |name: &str| scene.thief.agent.send(Method::GET, &format!("/vault/object/{name}"), None).await;
    ensure!(read(&own.meta_pack).await?.0 == StatusCode::OK, "a machine reads its own catalogue");
    let (status, problem) = read(&scene.backup.meta_pack).await?;
    ensure!(status == StatusCode::FORBIDDEN && problem["code"] == "not-allowed", "{status}: {problem}");
    Ok(())
}

#[tokio::test]
async fn a_thief_reads_no_passphrase_slot_and_no_other_machines_record() -> Result<()> {
    let scene = Scene::set().await?;
    scene.refuses_to_show("keys/slot-0123456789abcdef").await?;
    scene.refuses_to_show(&format!("keys/machine-{}", scene.victim.agent.name())).await
}

#[tokio::test]
async fn a_thief_lists_nothing_of_others() -> Result<()> {
    let scene = Scene::set().await?;
    let victim = scene.victim.agent.name();
    let prefixes = [String::new(), "s/".into(), "w/".into(), "r/".into(), "p/".into(), "keys/".into()];
    let of_victim = ["s", "w", "r"].map(|area| format!("{area}/{victim}/"));
    for prefix in prefixes.iter().chain(&of_victim) {
        let (status, answer) =
            scene.thief.agent.send(Method::GET, &format!("/vault/list?prefix={prefix}"), None).await?;
        ensure!(status == StatusCode::FORBIDDEN && answer["code"] == "not-allowed", "{prefix:?} answered {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thief_reaches_no_name_by_a_detour() -> Result<()> {
    let scene = Scene::set().await?;
    let (own, point) = (scene.thief.agent.name(), &scene.backup.point);
    let detours = [
        format!("s/{own}/../../{point}"),
        format!("s/{own}/%2e%2e/%2e%2e/{point}"),
        format!("cfg/..%2f{}", point.replace('/', "%2f")),
        format!("./{point}"),
        format!("s//{}", point.trim_start_matches("s/")),
        format!("{}%00", point),
        format!("s%5c..%5c{point}"),
    ];
    for detour in detours {
        let (status, answer) = scene.thief.agent.send(Method::GET, &format!("/vault/object/{detour}"), None).await?;
        ensure!(status.is_client_error(), "{detour} answered {status}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_thief_deletes_nothing() -> Result<()> {
    let scene = Scene::set().await?;
    let own = scene.thief.back_up(b"the thief's own").await?;
    for name in [&scene.backup.point, &scene.backup.data_pack, &scene.backup.meta_pack, &own.point, "cfg/1"] {
        for method in [Method::DELETE, Method::PUT, Method::POST, Method::PATCH] {
            let (status, _) = scene.thief.agent.send(method.clone(), &format!("/vault/object/{name}"), None).await?;
            ensure!(status == StatusCode::METHOD_NOT_ALLOWED, "{method} {name} answered {status}");
        }
    }
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_overwrites_nothing() -> Result<()> {
    let scene = Scene::set().await?;
    let own = scene.thief.back_up(b"the thief's own").await?;
    // Its own point with other bytes: the name is taken.
    ensure!(scene.thief.agent.grant(&own.point, b"another history").await?["result"] == "exists");
    // A pack's name with other bytes: names are hashes.
    scene.refuses_to_create(&scene.backup.data_pack, b"other bytes").await?;
    scene.refuses_to_create(&scene.backup.meta_pack, b"other bytes").await?;
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_creates_nothing_that_only_the_host_writes() -> Result<()> {
    let scene = Scene::set().await?;
    let (own, victim) = (scene.thief.agent.name(), scene.victim.agent.name());
    let names = [
        "g/0000000000000001".to_owned(),
        "d/0000000000000001".into(),
        format!("f/0000000000000001/{}", "0".repeat(32)),
        "cfg/1".into(),
        "cfg/2".into(),
        "keys/slot-0123456789abcdef".into(),
        "keys/epoch-00000002".into(),
        format!("keys/machine-{own}"),
        format!("keys/machine-{victim}"),
        format!("r/{victim}/0000000000000001-00000000"),
        format!("r/{own}/0000000000000001-00000000"),
        format!("q/{}", scene.backup.point),
        "tmp/x".into(),
        "trash/x".into(),
    ];
    for name in names {
        scene.refuses_to_create(&name, b"bytes").await?;
    }
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_creates_nothing_in_the_name_of_another_machine() -> Result<()> {
    let scene = Scene::set().await?;
    let (victim, session) = (scene.victim.agent.name(), "0123456789abcdef0123456789abcdef");
    for name in [
        format!("s/{victim}/0000000000000002"),
        format!("w/{victim}/{session}/00000000"),
        format!("w/{victim}/{session}/partial-00000000"),
        format!("w/{victim}/{}/00000001", scene.backup.session),
        format!("i/0000000000000000/{victim}-{session}-00000000"),
    ] {
        scene.refuses_to_create(&name, b"bytes").await?;
    }
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_who_writes_to_the_disk_itself_forges_nothing_that_counts() -> Result<()> {
    let scene = Scene::set().await?;
    let owner = owner(&scene.host, &scene.victim)?;
    let keys = scene.thief.vault.keys();
    let keeper = Keeper { vault: owner.id(), keys };
    let signing: &SigningKey = &scene.thief.agent.signing;
    let victim = scene.victim.id();
    let points = owner.points(victim)?;
    let packs = points.points.iter().flat_map(|listed| listed.point.header.meta_packs.clone()).collect::<Vec<_>>();
    let generation = Generation { number: 9, tombstones: packs.clone(), ..Generation::default() };
    let decision = Decision { generation: 9, packs };
    let forget = RetentionRecord {
        machine: victim,
        sequence: 1,
        counter: 0,
        hash: points.points[0].point.hash,
        action: Action::Forget,
        at: Default::default(),
        reason: "stolen".into(),
    };
    let store: &dyn Store = &**owner.store();
    store.put_create(&Generation::name_of(9), &generation.seal(keeper, signing))?;
    store.put_create(&Decision::name_of(9), &decision.seal(keeper, signing))?;
    store.put_create(&forget.name(), &forget.seal(owner.id(), keys, signing))?;
    ensure!(owner.newest_generation()?.number == 0, "a generation of a stranger's signature counts");
    scene.victim_restores()
}

#[tokio::test]
async fn scenario_26_what_a_thief_poisons_no_other_machine_counts_on() -> Result<()> {
    let scene = Scene::set().await?;
    let wanted = scene.victim.name_of(b"what everybody has");
    scene.thief.back_up_as(wanted, b"something else").await?;
    let owner = owner(&scene.host, &scene.victim)?;
    // The victim's own segment holds, the poisoned one does not.
    let verified = verify_segments(&owner, &|| false)?;
    ensure!((verified.segments, verified.rejected.len()) == (1, 1), "{verified:?}");
    let index = owner.load_index(&owner.newest_generation()?, Some(scene.victim.id()))?;
    ensure!(index.chunk(&wanted)?.is_none(), "the poisoned chunk is offered to another machine");
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_rolls_nothing_back() -> Result<()> {
    let scene = Scene::set().await?;
    let before = scene.thief.back_up(b"before the theft").await?;
    // A second history from the same beginning: the sequence is taken, in the vault and for ever.
    ensure!(scene.thief.agent.grant(&before.point, b"a history without it").await?["result"] == "exists");
    // And a point far ahead hides none of those before it.
    let after = scene.thief.back_up(b"after the theft").await?;
    let owner = owner(&scene.host, &scene.victim)?;
    assert_restorable(&owner, &scene.thief, &before, b"before the theft")?;
    assert_restorable(&owner, &scene.thief, &after, b"after the theft")?;
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_that_floods_leaves_room_for_the_others_to_commit() -> Result<()> {
    let scene = Scene::set().await?;
    let wish = |n: usize| {
        let hash = hash_of(&n.to_le_bytes());
        json!({ "name": format!("p/{}/{hash}", &hash[..2]), "len": 128 << 20, "hash": hash })
    };
    let ask = |count: usize| json!({ "objects": (0..count).map(wish).collect::<Vec<_>>() });
    let agent = &scene.thief.agent;
    let (status, answer) = agent.send(Method::POST, "/vault/grants", Some(&ask(GRANTS_PER_REQUEST_MAX + 1))).await?;
    ensure!(status == StatusCode::PAYLOAD_TOO_LARGE && answer["code"] == "too-large", "{status}: {answer}");
    let huge = json!({ "objects": [{ "name": wish(0)["name"], "len": 1u64 << 40, "hash": wish(0)["hash"] }] });
    let (_, answer) = agent.send(Method::POST, "/vault/grants", Some(&huge)).await?;
    ensure!(answer["grants"][0]["code"] == "too-large", "{answer}");
    // As many reservations as it gets; whatever the disk refuses, the victim still commits.
    agent.send(Method::POST, "/vault/grants", Some(&ask(GRANTS_PER_REQUEST_MAX))).await?;
    let later = scene.victim.back_up(b"in the middle of the flood").await?;
    assert_restorable(&owner(&scene.host, &scene.victim)?, &scene.victim, &later, b"in the middle of the flood")
}

#[tokio::test]
async fn a_thief_with_anothers_upload_address_creates_that_object_or_nothing() -> Result<()> {
    let scene = Scene::set().await?;
    let bytes = b"the victim's next pack".as_slice();
    let hash = hash_of(bytes);
    let grant = scene.victim.agent.grant(&format!("p/{}/{hash}", &hash[..2]), bytes).await?;
    for other in [b"other bytes of this lengt".as_slice(), b"", b"the victim's next pac"] {
        ensure!(scene.thief.agent.put(&grant, other).await? == StatusCode::UNPROCESSABLE_ENTITY);
    }
    ensure!(scene.victim.agent.put(&grant, bytes).await? == StatusCode::CREATED, "the address is still good");
    ensure!(scene.thief.agent.put(&grant, bytes).await? == StatusCode::FORBIDDEN, "and used up");
    scene.victim_restores()
}

#[tokio::test]
async fn a_thief_with_an_expired_upload_address_creates_nothing() -> Result<()> {
    let scene = Scene::set().await?;
    let bytes = b"kept for later".as_slice();
    let hash = hash_of(bytes);
    let grant = scene.thief.agent.grant(&format!("p/{}/{hash}", &hash[..2]), bytes).await?;
    scene.host.advance(Duration::minutes(16));
    ensure!(scene.thief.agent.put(&grant, bytes).await? == StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn a_thief_replays_no_request() -> Result<()> {
    let scene = Scene::set().await?;
    let agent = &scene.victim.agent;
    let body = json!({ "objects": [] }).to_string();
    let (time, nonce) = (now_ms()?, nonce());
    let heard = || agent.signed(&Method::POST, "/vault/grants", body.as_bytes(), time, &nonce);
    ensure!(heard().send().await?.status().is_success());
    for _ in 0..2 {
        let answer = heard().send().await?;
        ensure!(answer.status() == StatusCode::UNAUTHORIZED);
        ensure!(answer.json::<Value>().await?["code"] == "nonce-replayed");
    }
    let altered = heard().body(json!({ "objects": [], "x": 1 }).to_string()).send().await?;
    ensure!(altered.status() == StatusCode::UNAUTHORIZED, "another body under the same signature");
    Ok(())
}

#[tokio::test]
async fn a_thief_speaks_for_no_other_machine() -> Result<()> {
    let mut scene = Scene::set().await?;
    scene.thief.agent.id = scene.victim.agent.id;
    let (status, answer) = scene.thief.agent.send(Method::GET, "/desired?version=0&wait=0", None).await?;
    ensure!(status == StatusCode::UNAUTHORIZED && answer["code"] == "signature-invalid", "{status}: {answer}");
    let bare = client()?.get(format!("{}/api/agent/v1/vault/object/{}", scene.victim.agent.url, scene.backup.point));
    ensure!(bare.send().await?.status() == StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn a_thief_reports_for_no_other_machine() -> Result<()> {
    let scene = Scene::set().await?;
    let report = scene.victim.agent.started(1, uuid::Uuid::new_v4());
    let (status, answer) = scene.thief.agent.report(&[report]).await?;
    ensure!(status.is_client_error(), "{status}: {answer}");
    Ok(())
}

#[tokio::test]
async fn a_thief_reaches_nothing_that_technicians_may() -> Result<()> {
    let scene = Scene::set().await?;
    let url = &scene.thief.agent.url;
    for path in ["/api/v1/machines", "/api/v1/customers", "/api/v1/tokens", "/api/v1/users"] {
        let agent = &scene.thief.agent;
        let request = client()?.get(format!("{url}{path}")).header("x-nk-machine", agent.id.to_string());
        let status = request.send().await?.status();
        ensure!(!status.is_success(), "{path} answered {status}");
    }
    let machine = scene.host.admin.get("/api/v1/machines").await?;
    machine["machines"].as_array().context("a technician sees the machines")?;
    Ok(())
}
