//! A tiny host for tests: real HTTPS, real signatures, a real vault in memory, and faults on demand.

#![expect(clippy::unwrap_used, reason = "a test whose host cannot be set up has failed")]

mod http;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::{SealingPublicKey, Secret};
use nightkeep_vault::id::{MachineId as VaultMachineId, VaultId};
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::Vault;
use nightkeep_wire::bytes::{Sealed, SealingPublicKey as WireSealingKey, SigningPublicKey, TokenSecret};
use nightkeep_wire::desired::{Command, DesiredState, MachineSettings};
use nightkeep_wire::enrol::{EnrollRequest, MACHINE_SECRETS_INFO, VaultGrant};
use nightkeep_wire::id::SpkiPin;
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::plan::Plan;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::report::Report;
use nightkeep_wire::token::EnrolmentToken;
use nightkeep_wire::{IncarnationId, MachineId};
use rcgen::{CertificateParams, KeyPair};

use crate::clock::HostClock;
use crate::config::Config;
use crate::identity::Identity;
use crate::link::{HostLink, Signer, enrol};
use crate::places::Places;

/// How long a test waits for something to become true.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the host does wrong, once per entry or as long as it is set.
#[derive(Default)]
pub(crate) struct Faults {
    /// So many requests are answered with 503.
    pub(crate) unavailable: usize,
    /// So many uploads are stored, and their answer is lost.
    pub(crate) lost_answers: usize,
    /// So many grants are refused as expired when they are used.
    pub(crate) expired_grants: usize,
    /// The host's clock is ahead by so many milliseconds.
    pub(crate) ahead_ms: i64,
    /// Every enrolment is refused so.
    pub(crate) token: Option<ProblemCode>,
    /// Every grant is refused so.
    pub(crate) grants: Option<ProblemCode>,
}

/// What the host knows.
pub(crate) struct Known {
    pub(crate) faults: Faults,
    pub(crate) machines: HashMap<MachineId, EnrollRequest>,
    pub(crate) meta_keys: usize,
    pub(crate) reports: Vec<Report>,
    pub(crate) incarnation: Option<IncarnationId>,
    pub(crate) applied: u64,
    pub(crate) version: u64,
    pub(crate) plans: Vec<Plan>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) requests: usize,
    pub(crate) grant_requests: usize,
}

/// The host.
pub(crate) struct FakeHost {
    pub(crate) url: String,
    pub(crate) pin: SpkiPin,
    pub(crate) shared: Arc<Shared>,
}

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) root: CustomerRoot,
    pub(crate) vault: VaultId,
    url: String,
    known: Mutex<Known>,
}

impl Shared {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeHost {
    /// Starts a host on a free port of this computer; it ends with the runtime.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (tls, pin) = self_made_tls();
        let store = Arc::new(MemoryStore::new());
        let (root, vault) = (CustomerRoot::generate(), VaultId([5; 16]));
        let now = Time { seconds: 1, nanoseconds: 0 };
        Vault::create(store.clone() as Arc<dyn Store>, root.clone(), vault, Custody::Managed, now).unwrap();
        let known = Known {
            faults: Faults::default(),
            machines: HashMap::new(),
            meta_keys: 0,
            reports: Vec::new(),
            incarnation: None,
            applied: 0,
            version: 1,
            plans: Vec::new(),
            commands: VecDeque::new(),
            requests: 0,
            grant_requests: 0,
        };
        let shared = Arc::new(Shared { store, root, vault, url: url.clone(), known: Mutex::new(known) });
        let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(tls));
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        tokio::spawn(server.serve(http::router(shared.clone()).into_make_service()));
        Self { url, pin, shared }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known()
    }

    /// Changes what the host wants, so that the next poll brings it.
    pub(crate) fn want(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        change(&mut known);
        known.version += 1;
    }

    pub(crate) fn token(&self) -> EnrolmentToken {
        EnrolmentToken { host_url: self.url.clone(), pin: self.pin, secret: TokenSecret::new([9; 32]) }
    }

    /// A link without a signer.
    pub(crate) fn link(&self, pin: SpkiPin) -> HostLink {
        HostLink::new(&self.url, Some(pin), None, Arc::new(HostClock::default()), Duration::from_secs(5)).unwrap()
    }

    /// Enrols a machine that keeps its things below `dir`.
    pub(crate) async fn enrolled(&self, dir: &Path) -> (Places, Identity, HostLink) {
        let places = places_in(dir);
        let mut identity = Identity::generate();
        let facts = crate::facts::gather(&Config::default());
        enrol(&self.link(self.pin), &self.token(), facts, &mut identity, &places).await.unwrap();
        let machine = identity.enrolled.as_ref().unwrap().machine;
        let signer = Some(Signer { machine, key: identity.signing_key() });
        let clock = Arc::new(HostClock::default());
        let link = HostLink::new(&self.url, Some(self.pin), signer, clock, Duration::from_secs(5)).unwrap();
        (places, identity, link)
    }

    /// The vault as its owner sees it.
    pub(crate) fn vault(&self) -> Vault {
        let store = self.shared.store.clone() as Arc<dyn Store>;
        Vault::open_owner(store, self.shared.vault, self.shared.root.clone()).unwrap()
    }
}

impl Shared {
    fn grant(&self, machine: MachineId, sealing: WireSealingKey) -> VaultGrant {
        let keys = self.root.vault_keys(self.vault);
        let secrets = [keys.id, keys.chunk, keys.index].iter().flat_map(Secret::expose).copied().collect::<Vec<_>>();
        let info = std::str::from_utf8(MACHINE_SECRETS_INFO).unwrap();
        let sealed = SealingPublicKey(*sealing.as_bytes()).seal(info, machine.as_bytes(), &secrets).unwrap();
        VaultGrant {
            vault_id: self.vault.0.into(),
            location: format!("nightkeep+{}/{}", self.url, self.vault),
            public_key: WireSealingKey(self.root.key_pair(self.vault, 1).public().0),
            epoch: 1,
            maintenance_key: SigningPublicKey(self.root.maintenance(self.vault).public().0),
            secrets_sealed: Sealed(sealed),
        }
    }

    fn desired(&self) -> DesiredState {
        let known = self.known();
        let applied_at = chrono::Utc::now() - chrono::Duration::minutes(1);
        DesiredState {
            version: known.version,
            state: MachineState::Active,
            vault: None,
            plans: known
                .plans
                .iter()
                .map(|plan| nightkeep_wire::desired::AppliedPlan { plan: plan.clone(), revision: 1, applied_at })
                .collect(),
            commands: known.commands.iter().cloned().collect(),
            settings: MachineSettings { poll_wait_seconds: 1, ..MachineSettings::default() },
            exclusions: None,
        }
    }
}

/// A machine's places below a directory.
pub(crate) fn places_in(dir: &Path) -> Places {
    let at = |name: &str| dir.join(name);
    Places { state: at("state"), identity: at("identity"), log: at("log"), config_file: at("agent.toml") }
}

/// Waits until something is true, and fails the test when it does not become so.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// The id under which the vault knows a machine.
pub(crate) fn in_vault(machine: MachineId) -> VaultMachineId {
    VaultMachineId(*machine.as_bytes())
}

fn self_made_tls() -> (rustls::ServerConfig, SpkiPin) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let parsed = rustls::server::ParsedCertificate::try_from(certificate.der()).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.subject_public_key_info().as_ref());
    let pin = SpkiPin(digest.as_ref().try_into().unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let chain = vec![certificate.der().clone()];
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (config, pin)
}
