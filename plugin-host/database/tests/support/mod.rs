//! A fresh database per test: SQLite in a temporary folder, or PostgreSQL where `NIGHTKEEP_TEST_POSTGRES` names a server
//! (`postgres://user:password@host/postgres`, a user who may create databases).
#![allow(dead_code, reason = "each test file uses a part")]

use chrono::{DateTime, TimeZone, Utc};
use nightkeep_database::{Client, Customer, Database, Location, NewMachine, NewToken, TenantKind};
use nightkeep_wire::bytes::{SealingPublicKey, SigningPublicKey};
use nightkeep_wire::machine::{MachineClass, MachineFacts, OsFacts, OsFamily};
use nightkeep_wire::{IncarnationId, LocationId, MachineId};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = match std::env::var("NIGHTKEEP_TEST_POSTGRES") {
            Ok(server) => new_postgres(&server).await?,
            Err(_) => nightkeep_database::default_url(folder.path()),
        };
        Ok(Self { database: Database::open(&url).await?, url, _folder: folder })
    }

    /// Another host on the same database.
    pub(crate) async fn second_host(&self) -> anyhow::Result<Database> {
        Ok(Database::open(&self.url).await?)
    }

    pub(crate) async fn location(&self) -> anyhow::Result<Location> {
        let customer = self.database.ensure_customer(customer("Harbour Dental")).await?;
        let client = Client {
            id: Uuid::new_v4().into(),
            customer: customer.id,
            name: "Harbour Dental".into(),
            auto_apply: true,
        };
        let client = self.database.ensure_client(client, at(0)).await?;
        let location =
            Location { id: Uuid::new_v4().into(), client: client.id, name: "Main".into(), auto_apply: false };
        Ok(self.database.ensure_location(location, at(0)).await?)
    }

    pub(crate) async fn token(&self, location: LocationId, uses: u32) -> anyhow::Result<[u8; 32]> {
        let secret_hash = *blake(Uuid::new_v4().as_bytes());
        let token = NewToken {
            id: Uuid::new_v4(),
            secret_hash,
            location,
            plan: None,
            backup_monitor: false,
            expires_at: at(7 * 24 * 3600),
            uses,
            created_by: "admin".into(),
        };
        self.database.create_token(token, at(0)).await?;
        Ok(secret_hash)
    }

    pub(crate) async fn machine(&self) -> anyhow::Result<NewMachine> {
        let location = self.location().await?;
        let token = self.token(location.id, 1).await?;
        let wish = new_machine("front-desk");
        self.database.enrol(token, wish.clone(), at(0)).await?;
        Ok(wish)
    }
}

async fn new_postgres(server: &str) -> anyhow::Result<String> {
    use sea_orm::ConnectionTrait as _;
    let name = format!("nightkeep_test_{}", Uuid::new_v4().simple());
    let connection = sea_orm::Database::connect(server).await?;
    connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
    connection.close().await?;
    let (base, _) = server.rsplit_once('/').ok_or_else(|| anyhow::anyhow!("the address needs a database"))?;
    Ok(format!("{base}/{name}"))
}

pub(crate) fn customer(name: &str) -> Customer {
    Customer {
        id: Uuid::new_v4().into(),
        kind: TenantKind::Customer,
        parent: Customer::PROVIDER,
        name: name.into(),
        created_at: at(0),
    }
}

pub(crate) fn new_machine(hostname: &str) -> NewMachine {
    NewMachine {
        id: MachineId::from_uuid(Uuid::new_v4()),
        facts: facts(hostname),
        class: MachineClass::Workstation,
        signing_key: SigningPublicKey(*blake(Uuid::new_v4().as_bytes())),
        sealing_key: SealingPublicKey(*blake(Uuid::new_v4().as_bytes())),
        incarnation: IncarnationId::from_uuid(Uuid::new_v4()),
    }
}

pub(crate) fn facts(hostname: &str) -> MachineFacts {
    MachineFacts {
        hostname: hostname.into(),
        os: OsFacts { family: OsFamily::Linux, name: "Debian GNU/Linux".into(), version: "13".into() },
        arch: "x86_64".into(),
        class: MachineClass::Workstation,
        hardware_fingerprint: format!("board-of-{hostname}"),
        agent_version: "0.1.0".into(),
        zone: "Europe/Berlin".into(),
        boot_id: None,
        booted_at: None,
        virtual_machine: false,
        used_bytes: None,
        abilities: vec![],
    }
}

/// Seconds after the start of the test's time.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000 + seconds, 0).single().unwrap_or_default()
}

/// Thirty-two bytes that differ as their input does; these tests need no real hash.
pub(crate) fn blake(bytes: &[u8]) -> Box<[u8; 32]> {
    let mut out = [0; 32];
    for (n, byte) in bytes.iter().enumerate() {
        out[n % 32] ^= byte.rotate_left((n / 32) as u32);
    }
    Box::new(out)
}
