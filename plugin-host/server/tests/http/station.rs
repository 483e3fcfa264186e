//! A machine that holds its vault keys and writes real packs, segments and points through the gateway.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::{SealingPublicKey, Secret, VerifyingKey};
use nightkeep_vault::id::{BlobId, MachineId, SessionId, VaultId};
use nightkeep_vault::keys::{MachineKeys, VaultKeys, parse_key_text};
use nightkeep_vault::pack::{Area, BlockType, Codec, FinishedPack, GroupKey, Member, PackWriter, PreparedBlock};
use nightkeep_vault::reader::{BlockReader, read_chunk};
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::record::point::{BackupSet, CivilTime, PointBody, PointHeader, Totals};
use nightkeep_vault::session::Session;
use nightkeep_vault::store::{MemoryStore, ObjectName, Store, open_location};
use nightkeep_vault::vault::{Pins, Vault};
use nightkeep_wire::enrol::MACHINE_SECRETS_INFO;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::agent::Agent;
use crate::support::TestHost;

/// The machine, with a copy of what it has written.
pub(crate) struct Station {
    pub(crate) agent: Agent,
    pub(crate) vault: Arc<Vault>,
    pub(crate) local: MemoryStore,
}

/// What one backup put into the vault.
pub(crate) struct Backup {
    pub(crate) chunk: BlobId,
    pub(crate) data_pack: String,
    pub(crate) meta_pack: String,
    pub(crate) point: String,
    pub(crate) session: SessionId,
}

impl Station {
    pub(crate) async fn enrol(host: &TestHost) -> Result<Self> {
        let agent = Agent::enrol(&host.usual_token().await?).await?;
        let grant = agent.enrolled["vault"].clone();
        let bytes = |field: &str| anyhow::Ok(STANDARD.decode(grant[field].as_str().context("no field")?)?);
        let key = |field: &str| anyhow::Ok(<[u8; 32]>::try_from(bytes(field)?).ok().context("32 bytes")?);
        let id = MachineId(*agent.id.as_bytes());
        let info = std::str::from_utf8(MACHINE_SECRETS_INFO)?;
        let secrets = agent.sealing.open(info, id.as_bytes(), &bytes("secrets_sealed")?)?;
        let secret = |n: usize| anyhow::Ok(Secret::new(secrets[32 * n..32 * (n + 1)].try_into()?));
        let keys = VaultKeys { id: secret(0)?, chunk: secret(1)?, index: secret(2)? };
        let meta = Secret::generate();
        let sealed = MachineRecord::seal_meta(id, SealingPublicKey(key("public_key")?), &meta)?;
        let body = json!({ "meta_key_sealed": STANDARD.encode(&sealed) });
        let (status, answer) = agent.send(Method::PUT, "/machine/keys", Some(&body)).await?;
        ensure!(status == StatusCode::NO_CONTENT, "{answer}");
        let local = MemoryStore::new();
        copy_down(&agent, &local, "cfg/1").await?;
        let pins = Pins {
            vault: grant["vault_id"].as_str().context("no vault")?.parse()?,
            vault_public: SealingPublicKey(key("public_key")?),
            maintenance_public: VerifyingKey(key("maintenance_key")?),
        };
        let own = MachineKeys { id, name: "front-desk".into(), signing: agent.signing.clone(), meta };
        let vault = Arc::new(Vault::open_machine(Arc::new(local.clone()), &pins, keys, own)?);
        Ok(Self { agent, vault, local })
    }

    /// The id that a content has in the vault.
    pub(crate) fn name_of(&self, content: &[u8]) -> BlobId {
        BlobId(*blake3::keyed_hash(self.vault.keys().id.expose(), content).as_bytes())
    }

    pub(crate) fn id(&self) -> MachineId {
        MachineId(*self.agent.id.as_bytes())
    }

    /// Backs up one file, honestly.
    pub(crate) async fn back_up(&self, content: &[u8]) -> Result<Backup> {
        self.back_up_as(self.name_of(content), content).await
    }

    /// Lists `content` under an id of the caller's choice, and commits a point.
    pub(crate) async fn back_up_as(&self, chunk: BlobId, content: &[u8]) -> Result<Backup> {
        let keys = self.vault.writer("")?;
        let session = Session::open(self.vault.clone(), keys.clone(), Time::default())?;
        let (epoch, public) = self.vault.sealing_key();
        let data = self.pack(GroupKey::for_data(self.vault.id(), public, epoch)?, BlockType::Chunk, chunk, content);
        session.put_pack(Area::Data, &data)?;
        let catalogue = GroupKey::for_catalogue(keys.id, 1, &keys.meta);
        let meta = self.pack(catalogue, BlockType::Hunk, BlobId([1; 32]), b"names of files");
        session.put_pack(Area::Meta, &meta)?;
        let sequence = self.vault.chain_head(self.id())?.0 + 1;
        session.commit(
            PointHeader { machine: keys.id, ..header(&data, &meta) },
            &PointBody::default(),
            Time::default(),
        )?;
        self.send_up().await?;
        Ok(Backup {
            chunk,
            data_pack: Area::Data.name(data.id).to_string(),
            meta_pack: Area::Meta.name(meta.id).to_string(),
            point: format!("s/{}/{sequence:016x}", self.agent.name()),
            session: session.id(),
        })
    }

    fn pack(&self, group: GroupKey, block_type: BlockType, id: BlobId, content: &[u8]) -> FinishedPack {
        let mut writer = PackWriter::new(self.vault.id(), vec![group], 0);
        let bytes = content.len() as u32;
        let members = vec![Member { id, bytes }];
        let (payload, plain_bytes) = (content.to_vec(), bytes);
        writer.append(0, PreparedBlock { block_type, codec: Codec::Stored, payload, plain_bytes, members });
        writer.finish(&self.vault.keys().index)
    }

    /// Creates through the gateway what lies in the local copy and not in the vault.
    async fn send_up(&self) -> Result<()> {
        let local: &dyn Store = &self.local;
        for info in local.list_all("")? {
            let bytes = local.get(&info.name, 1 << 30)?;
            let grant = self.agent.grant(info.name.as_str(), &bytes).await?;
            if grant["result"] == "url" {
                ensure!(self.agent.put(&grant, &bytes).await? == StatusCode::CREATED, "{}", info.name);
            }
        }
        Ok(())
    }
}

fn header(data: &FinishedPack, meta: &FinishedPack) -> PointHeader {
    let at = CivilTime { at: Time::default(), offset_minutes: 0, zone: "UTC".into() };
    PointHeader {
        machine: MachineId([0; 16]),
        sequence: 0,
        previous: [0; 32],
        session: SessionId([0; 16]),
        base: 0,
        plan: None,
        plan_name: "by hand".into(),
        set: BackupSet::None,
        occurrence: None,
        started: at.clone(),
        finished: at,
        totals: Totals::default(),
        references: BlobId(data.id.0),
        meta_packs: vec![meta.id],
        machine_name: "front-desk".into(),
        agent_version: "0.1.0".into(),
        bootable: false,
        snapshot_method: String::new(),
        meta_epoch: 1,
        complete: true,
        source: [3; 16],
    }
}

async fn copy_down(agent: &Agent, local: &MemoryStore, name: &str) -> Result<()> {
    let response = agent.request(Method::GET, &format!("/vault/object/{name}"), None)?.send().await?;
    ensure!(response.status().is_success(), "{name} answered {}", response.status());
    local.put_create(&ObjectName::new(name)?, &response.bytes().await?)?;
    Ok(())
}

/// The vault on the host's disk, opened with its recovery sheet.
pub(crate) fn owner(host: &TestHost, station: &Station) -> Result<Arc<Vault>> {
    let folder = host.folder.path().join("vaults").join(station.vault.id().to_string());
    let store = open_location(&format!("file://{}", folder.display()))?;
    let sheet = std::process::Command::new(env!("CARGO_BIN_EXE_nightkeep-host"))
        .args(["vault", "sheet", "--customer", "Harbour Dental", "--data"])
        .arg(host.folder.path())
        .output()?;
    let (vault, root): (VaultId, _) = parse_key_text(&String::from_utf8(sheet.stdout)?)?;
    Ok(Arc::new(Vault::open_owner(store, vault, root)?))
}

/// What was backed up is there: its point is listed, and its content comes back equal.
pub(crate) fn assert_restorable(owner: &Arc<Vault>, station: &Station, backup: &Backup, content: &[u8]) -> Result<()> {
    let points = owner.points(station.id())?;
    ensure!(points.problems.is_empty(), "{:?}", points.problems);
    ensure!(points.visible().any(|listed| listed.point.name().as_str() == backup.point), "the point is not listed");
    let index = owner.load_index(&owner.newest_generation()?, None)?;
    let read = read_chunk(&BlockReader::new(owner.clone()), &index, &backup.chunk)?;
    ensure!(read == content, "the content came back changed");
    Ok(())
}
