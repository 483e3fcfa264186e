//! A vault that was opened: its store, its keys, and what may be asked of it.
//!
//! **Invariant**: nothing read from the store is believed before it was checked against keys that did not come from it.

mod collection;
mod fetch;
mod judge;
mod kept;
mod local;
mod meta_packs;
mod points;
mod quarantine;
mod segments;

pub use judge::Judge;
pub use local::Local;
pub use points::{Health, ListedPoint, Points, Retained, is_point_prefix};
pub use quarantine::{Quarantine, pack_of};
pub use segments::Segments;

use crate::codec::Time;
use crate::crypto::{SealingKeyPair, SealingPublicKey, Secret, SigningKey, VerifyingKey};
use crate::id::{MachineId, PackId, VaultId};
use crate::index::IndexError;
use crate::keys::{CustomerRoot, MachineKeys, VaultKeys};
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::pack::{Area, PACK_BYTES_MAX, PackError, PackKeys};
use crate::record::config::{ChunkerParams, Config, Custody};
use crate::record::epoch::{self, Epoch};
use crate::record::machine::{self, MachineRecord};
use crate::record::segment::SegmentPack;
use crate::record::slot::{self, Slot, SlotError};
use crate::release::ReleasedKeys;
use crate::store::{ObjectName, Put, PutSameError, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why a vault cannot do what was asked, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nothing there is a vault.
    #[error("no vault at {location}; check the location, or make one with `init`")]
    NoVault {
        /// The location asked for.
        location: String,
    },
    /// A vault is there already.
    #[error("a vault exists at {location} already; choose another location, or use that one")]
    Exists {
        /// The location asked for.
        location: String,
    },
    /// No key slot opens with the passphrase.
    #[error("wrong passphrase for the vault at {location}; try another, or use the recovery sheet with --key-file")]
    WrongPassphrase {
        /// The vault's location.
        location: String,
    },
    /// The key is that of another vault, or the configuration was exchanged.
    #[error("the key does not belong to the vault at {location}: the key is of vault {key}, there lies vault {found}")]
    WrongKey {
        /// The vault's location.
        location: String,
        /// The vault of the key.
        key: VaultId,
        /// The vault found.
        found: VaultId,
    },
    /// The configuration is signed by a stranger.
    #[error("the configuration of the vault at {location} was not made by its owner; do not use this copy")]
    Forged {
        /// The vault's location.
        location: String,
    },
    /// What was asked needs the owner's key.
    #[error("{operation} needs the vault's passphrase or key file")]
    NotOwner {
        /// What was asked.
        operation: &'static str,
    },
    /// A record is damaged.
    #[error("{name} cannot be used")]
    Object {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        #[source]
        source: ObjectError,
    },
    /// A pack is damaged.
    #[error("{name} cannot be used")]
    Pack {
        /// The pack.
        name: ObjectName,
        /// What is wrong with it.
        #[source]
        source: PackError,
    },
    /// A blob that is referenced is nowhere.
    #[error("{what} {id} is in no known pack; run `repair` to rebuild the index from the packs")]
    Missing {
        /// What kind of blob.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The name of an object that must be new is taken by another.
    #[error("{name} was written by somebody else meanwhile; is another machine using this identity?")]
    Conflict {
        /// The name.
        name: ObjectName,
    },
    /// A collector declared the session over and tombstoned packs that the point counts on: the run must send them again.
    #[error("a garbage collection took {packs} packs away that the new recovery point counts on; run the backup again")]
    Fenced {
        /// How many of the packs it references count as lost.
        packs: usize,
    },
    /// A key slot cannot be made or used.
    #[error("the key slot cannot be used")]
    Slot(#[source] SlotError),
    /// The local index failed; the vault did not.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VaultError {
    /// Whether an object is damaged or gone, so that others may still be of use; any other failure concerns them all.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Object { .. }
            | Self::Pack { .. }
            | Self::Missing { .. }
            | Self::Store(StoreError::NotFound { .. }) => true,
            Self::NoVault { .. }
            | Self::Exists { .. }
            | Self::WrongPassphrase { .. }
            | Self::WrongKey { .. }
            | Self::Forged { .. }
            | Self::NotOwner { .. }
            | Self::Conflict { .. }
            | Self::Fenced { .. }
            | Self::Slot(_)
            | Self::Index(_)
            | Self::Store(StoreError::Refused { .. } | StoreError::Full { .. } | StoreError::Failed { .. }) => false,
        }
    }
}

impl From<PutSameError> for VaultError {
    fn from(error: PutSameError) -> Self {
        match error {
            PutSameError::Taken { name } => VaultError::Conflict { name },
            PutSameError::Store(source) => VaultError::Store(source),
        }
    }
}

/// What an agent pinned when it enrolled; the vault must match it.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The vault.
    pub vault: VaultId,
    /// Its public key.
    pub vault_public: SealingPublicKey,
    /// Its maintenance key's public part.
    pub maintenance_public: VerifyingKey,
}

/// An opened vault. Cheap to share behind an [`Arc`].
pub struct Vault {
    store: Arc<dyn Store>,
    config: Config,
    keys: VaultKeys,
    root: Option<CustomerRoot>,
    own: Option<MachineKeys>,
    /// The maintenance key, where the vault was opened to be kept, without its root.
    keeper: Option<SigningKey>,
    /// New packs are sealed to this.
    epoch: Epoch,
    local: Local,
    /// Keys that the owner released to this machine.
    released: ReleasedKeys,
    /// Those read so far.
    machine_records: Mutex<HashMap<MachineId, MachineRecord>>,
}

/// An object that was found but cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// The object.
    pub name: ObjectName,
    /// What is wrong with it.
    pub error: VaultError,
}

impl Vault {
    /// Makes a vault. The configuration is written last of all: without it there is no vault.
    pub fn create(
        store: Arc<dyn Store>,
        root: CustomerRoot,
        vault: VaultId,
        custody: Custody,
        now: Time,
    ) -> Result<Self, VaultError> {
        let config = Config {
            vault,
            chunker: ChunkerParams::default(),
            inline_bytes_max: 512,
            small_file_bytes_max: 128 << 10,
            vault_public: root.key_pair(vault, 1).public(),
            maintenance_public: root.maintenance(vault).public(),
            created: now,
            custody,
        };
        match store.put_create(&Config::name(), &config.seal(&root.maintenance(vault)))? {
            Put::Created => {
                let epoch = Epoch { number: 1, public: config.vault_public };
                let keys = root.vault_keys(vault);
                Ok(Self { root: Some(root), ..Self::closed(store, config, keys, epoch) })
            }
            Put::Exists => Err(VaultError::Exists { location: store.location() }),
        }
    }

    /// Reads the configuration: is there a vault, and which?
    pub fn read_config(store: &dyn Store) -> Result<Config, VaultError> {
        let name = Config::name();
        let bytes = match store.get(&name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Err(VaultError::NoVault { location: store.location() }),
            other => other?,
        };
        Config::open(&bytes).map_err(|source| VaultError::Object { name, source })
    }

    /// Tries every key slot with a passphrase.
    pub fn unlock(store: &dyn Store, vault: VaultId, passphrase: &str) -> Result<CustomerRoot, VaultError> {
        for slot in read_slots(store)? {
            match slot.unlock(vault, passphrase) {
                Ok(root) => return Ok(root),
                Err(SlotError::WrongPassphrase) => {}
                Err(source @ SlotError::Parameters) => return Err(VaultError::Slot(source)),
            }
        }
        Err(VaultError::WrongPassphrase { location: store.location() })
    }

    /// Opens a vault as its owner, who can do everything.
    pub fn open_owner(store: Arc<dyn Store>, vault: VaultId, root: CustomerRoot) -> Result<Self, VaultError> {
        let config = Self::read_config(&*store)?;
        if config.vault != vault {
            return Err(VaultError::WrongKey { location: store.location(), key: vault, found: config.vault });
        }
        let genuine = config.maintenance_public == root.maintenance(vault).public()
            && config.vault_public == root.key_pair(vault, 1).public();
        if !genuine {
            return Err(VaultError::Forged { location: store.location() });
        }
        let keys = root.vault_keys(vault);
        let epoch = newest_epoch(&*store, &config, &keys)?;
        if epoch.public != root.key_pair(vault, epoch.number).public() {
            return Err(VaultError::Forged { location: store.location() });
        }
        Ok(Self { root: Some(root), ..Self::closed(store, config, keys, epoch) })
    }

    /// Opens a vault as one of its machines, which can write, and read its own catalogues, but no data.
    pub fn open_machine(
        store: Arc<dyn Store>,
        pins: &Pins,
        keys: VaultKeys,
        own: MachineKeys,
    ) -> Result<Self, VaultError> {
        let config = Self::read_config(&*store)?;
        if config.vault != pins.vault {
            return Err(VaultError::WrongKey { location: store.location(), key: pins.vault, found: config.vault });
        }
        if config.maintenance_public != pins.maintenance_public || config.vault_public != pins.vault_public {
            return Err(VaultError::Forged { location: store.location() });
        }
        let epoch = newest_epoch(&*store, &config, &keys)?;
        Ok(Self { own: Some(own), ..Self::closed(store, config, keys, epoch) })
    }

    /// A vault that nobody's private key opens yet; who opens it adds the own one.
    fn closed(store: Arc<dyn Store>, config: Config, keys: VaultKeys, epoch: Epoch) -> Self {
        Self {
            store,
            config,
            keys,
            root: None,
            own: None,
            keeper: None,
            epoch,
            local: Local::default(),
            released: ReleasedKeys::default(),
            machine_records: Mutex::default(),
        }
    }

    /// Adds keys that the owner released to this machine for a restore.
    #[must_use]
    pub fn with_release(self, released: ReleasedKeys) -> Self {
        Self { released, ..self }
    }

    /// Says what this machine keeps of the vault, and how many requests it has in flight.
    #[must_use]
    pub fn with_local(self, local: Local) -> Self {
        Self { local, ..self }
    }

    /// Opens a vault to keep it: to collect and to decide what is retained, with no key to any data or catalogue.
    pub fn open_keeper(
        store: Arc<dyn Store>,
        vault: VaultId,
        keys: VaultKeys,
        maintenance: SigningKey,
    ) -> Result<Self, VaultError> {
        let config = Self::read_config(&*store)?;
        if config.vault != vault {
            return Err(VaultError::WrongKey { location: store.location(), key: vault, found: config.vault });
        }
        if config.maintenance_public != maintenance.public() {
            return Err(VaultError::Forged { location: store.location() });
        }
        let epoch = newest_epoch(&*store, &config, &keys)?;
        Ok(Self { keeper: Some(maintenance), ..Self::closed(store, config, keys, epoch) })
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The vault's id.
    pub fn id(&self) -> VaultId {
        self.config.vault
    }

    /// The keys every machine holds.
    pub fn keys(&self) -> &VaultKeys {
        &self.keys
    }

    /// The root, where the vault was opened by its owner.
    pub fn root(&self) -> Option<&CustomerRoot> {
        self.root.as_ref()
    }

    /// The epoch new pack keys are sealed to, and its public key.
    pub fn sealing_key(&self) -> (u32, SealingPublicKey) {
        (self.epoch.number, self.epoch.public)
    }

    /// Begins a new epoch: what is written from now on is sealed to a new key pair. What was written stays readable.
    pub fn rotate(&mut self) -> Result<u32, VaultError> {
        let root = self.owner("rotating the vault's key")?;
        let number = self.epoch.number + 1;
        let epoch = Epoch { number, public: root.key_pair(self.id(), number).public() };
        let bytes = epoch.seal(self.id(), &self.keys, &root.maintenance(self.id()));
        match self.store.put_create(&epoch.name(), &bytes)? {
            Put::Created => self.epoch = epoch,
            Put::Exists => return Err(VaultError::Conflict { name: epoch.name() }),
        }
        Ok(number)
    }

    fn maintenance(&self, operation: &'static str) -> Result<SigningKey, VaultError> {
        match &self.keeper {
            Some(maintenance) => Ok(maintenance.clone()),
            None => Ok(self.owner(operation)?.maintenance(self.id())),
        }
    }

    fn owner(&self, operation: &'static str) -> Result<&CustomerRoot, VaultError> {
        self.root.as_ref().ok_or(VaultError::NotOwner { operation })
    }

    /// Adds a passphrase.
    pub fn add_slot(&self, passphrase: &str, label: &str) -> Result<Slot, VaultError> {
        let slot = Slot::create(self.id(), self.owner("adding a passphrase")?, passphrase, label);
        let slot = slot.map_err(VaultError::Slot)?;
        self.store.put_same(&slot.name, &slot.seal(self.id()))?;
        Ok(slot)
    }

    /// The passphrase slots.
    pub fn slots(&self) -> Result<Vec<Slot>, VaultError> {
        read_slots(&*self.store)
    }

    /// Removes a passphrase slot.
    pub fn remove_slot(&self, name: &ObjectName) -> Result<(), VaultError> {
        self.owner("removing a passphrase")?;
        Ok(self.store.delete(name)?)
    }

    /// The keys of this machine as a writer, made known to the vault when they are not yet.
    ///
    /// An owner's machine follows from its name; an enrolled machine has the keys the vault was opened with.
    pub fn writer(&self, name: &str) -> Result<MachineKeys, VaultError> {
        if let Some(own) = &self.own {
            return Ok(own.clone());
        }
        let root = self.owner("writing a recovery point")?;
        let keys = root.machine(self.id(), name);
        if self.machine(keys.id)?.is_none() {
            self.write_machine(&MachineRecord::of_owner(&keys))?;
        }
        Ok(keys)
    }

    /// Makes a machine known to the vault.
    pub fn write_machine(&self, record: &MachineRecord) -> Result<(), VaultError> {
        let maintenance = self.maintenance("registering a machine")?;
        let name = MachineRecord::name_of(record.machine);
        match self.store.put_create(&name, &record.seal(self.id(), &self.keys, &maintenance))? {
            Put::Created => Ok(()),
            Put::Exists => match self.machine(record.machine)? {
                Some(there) if there.signing == record.signing => Ok(()),
                Some(_) | None => Err(VaultError::Conflict { name }),
            },
        }
    }

    /// A machine's record, when there is one that the maintenance key signed.
    pub fn machine(&self, machine: MachineId) -> Result<Option<MachineRecord>, VaultError> {
        if let Some(record) = self.remembered().get(&machine) {
            return Ok(Some(record.clone()));
        }
        let name = MachineRecord::name_of(machine);
        match self.store.get(&name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(bytes) => {
                let record = self.read_machine(name, &bytes)?;
                self.remembered().insert(machine, record.clone());
                Ok(Some(record))
            }
        }
    }

    /// Whether a machine's keys follow from the owner's, so that what it writes needs nobody's verification.
    pub(crate) fn is_of_owner(&self, machine: MachineId) -> Result<bool, VaultError> {
        Ok(self.machine(machine)?.is_some_and(|record| record.owner_machine))
    }

    /// Machine records never change, so each is read once.
    fn remembered(&self) -> MutexGuard<'_, HashMap<MachineId, MachineRecord>> {
        self.machine_records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_machine(&self, name: ObjectName, bytes: &[u8]) -> Result<MachineRecord, VaultError> {
        MachineRecord::open(self.id(), &name, bytes, &self.keys, self.config.maintenance_public)
            .map_err(|source| VaultError::Object { name, source })
    }

    /// Every machine that the vault knows.
    pub fn machines(&self) -> Result<Vec<MachineRecord>, VaultError> {
        let mut machines = Vec::new();
        let listed = self.store.list_all(machine::PREFIX)?;
        self.read_kept(machine::PREFIX, &listed, &mut |info, bytes| {
            match self.read_machine(info.name.clone(), &bytes?) {
                Ok(record) => machines.push(record),
                // FORMAT.md: what the maintenance key did not sign counts as absent.
                Err(error) => tracing::warn!(%error, "A machine record is ignored"),
            }
            Ok(())
        })?;
        self.remembered().extend(machines.iter().map(|record| (record.machine, record.clone())));
        Ok(machines)
    }

    /// The key that verifies a machine's points and segments.
    pub(crate) fn verifying_key(&self, machine: MachineId) -> Result<Option<VerifyingKey>, VaultError> {
        match &self.own {
            Some(own) if own.id == machine => Ok(Some(own.signing.public())),
            Some(_) | None => Ok(self.machine(machine)?.map(|record| record.signing)),
        }
    }

    /// Whether this vault was opened by a machine that a host enrolled: the only one with these keys.
    pub(crate) fn is_enrolled(&self, machine: MachineId) -> bool {
        self.own.as_ref().is_some_and(|own| own.id == machine)
    }

    /// `K_meta` of a machine, for reading its catalogues.
    pub fn meta_of(&self, machine: MachineId) -> Result<Secret, VaultError> {
        if let Some(own) = self.own.as_ref().filter(|own| own.id == machine) {
            return Ok(own.meta.clone());
        }
        if let Some(meta) = self.released.meta(machine) {
            return Ok(meta.clone());
        }
        let root = self.owner("reading another machine's catalogue")?;
        let Some(record) = self.machine(machine)? else { return Ok(root.machine_meta(self.id(), machine)) };
        let name = MachineRecord::name_of(machine);
        let opened = record.open_meta(&root.key_pair(self.id(), record.epoch));
        let meta = opened.map_err(|source| VaultError::Object { name, source })?;
        Ok(meta.unwrap_or_else(|| root.machine_meta(self.id(), machine)))
    }

    /// Reads a whole pack, checks its name, and describes it as a segment would.
    pub fn read_pack(&self, area: Area, id: PackId) -> Result<(Vec<u8>, SegmentPack), VaultError> {
        let name = area.name(id);
        let bytes = self.store.get(&name, PACK_BYTES_MAX)?;
        if blake3::hash(&bytes).as_bytes() != &id.0 {
            return Err(VaultError::Pack { name, source: PackError::Hash });
        }
        let described = SegmentPack::of_bytes(area, id, self.id(), &self.keys, &bytes);
        let pack = described.map_err(|source| VaultError::Pack { name, source })?;
        Ok((bytes, pack))
    }
}

/// The epoch that new packs are sealed to.
fn newest_epoch(store: &dyn Store, config: &Config, keys: &VaultKeys) -> Result<Epoch, VaultError> {
    for info in store.list_all(epoch::PREFIX)?.iter().rev() {
        let bytes = store.get(&info.name, OBJECT_BYTES_MAX)?;
        match Epoch::open(config.vault, &info.name, &bytes, keys, config.maintenance_public) {
            Ok(epoch) => return Ok(epoch),
            Err(error) => tracing::warn!(name = %info.name, %error, "An epoch that the owner did not sign is ignored"),
        }
    }
    Ok(Epoch { number: 1, public: config.vault_public })
}

fn read_slots(store: &dyn Store) -> Result<Vec<Slot>, VaultError> {
    let mut slots = Vec::new();
    for info in store.list_all(slot::PREFIX)? {
        let bytes = store.get(&info.name, OBJECT_BYTES_MAX)?;
        match Slot::open(info.name.clone(), &bytes) {
            Ok(slot) => slots.push(slot),
            Err(error) => tracing::warn!(name = %info.name, %error, "A key slot is damaged and not tried"),
        }
    }
    Ok(slots)
}

impl PackKeys for Vault {
    fn vault_key(&self, epoch: u32) -> Option<SealingKeyPair> {
        self.root.as_ref().map(|root| root.key_pair(self.id(), epoch))
    }

    fn meta_key(&self, machine: MachineId, _epoch: u32) -> Option<Secret> {
        self.meta_of(machine)
            .inspect_err(|error| tracing::debug!(%machine, %error, "A catalogue key is not at hand"))
            .ok()
    }

    fn released(&self, group_salt: &[u8; 32]) -> Option<Secret> {
        self.released.group(group_salt).cloned()
    }
}
