//! A vault that was opened: its store, its keys, and what may be asked of it.
//!
//! **Invariant**: nothing read from the store is believed before it was checked against keys that did not come from it.

use crate::codec::Time;
use crate::crypto::{SealingKeyPair, SealingPublicKey, Secret, SigningKey, VerifyingKey};
use crate::id::{MachineId, PackId, PointId, VaultId};
use crate::index::Index;
use crate::keys::{CustomerRoot, MachineKeys, VaultKeys};
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::pack::{Area, PACK_BYTES_MAX, PackError, PackKeys};
use crate::record::config::{ChunkerParams, Config, Custody};
use crate::record::epoch::{self, Epoch};
use crate::record::generation::{self, Generation, Keeper};
use crate::record::machine::{self, MachineRecord};
use crate::record::point::Point;
use crate::record::retention::{self, Action, RetentionRecord};
use crate::record::segment::{self, Segment, SegmentPack};
use crate::record::slot::{self, Slot, SlotError};
use crate::record::{number_of, points_prefix};
use crate::store::{ObjectName, Put, PutSameError, Store, StoreError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

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
    /// A key slot cannot be made or used.
    #[error("the key slot cannot be used")]
    Slot(#[source] SlotError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// New packs are sealed to this.
    epoch: Epoch,
}

/// Why a segment may be believed.
#[derive(Debug, Clone, Copy)]
enum Trust {
    /// It may not.
    None,
    /// This key must have signed it.
    Signer(VerifyingKey),
    /// A generation lists it with this hash.
    Hash([u8; 32]),
}

/// Where a point stands with retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// In the trash: hidden, can be undeleted.
    pub trashed: bool,
    /// Forgotten: no root any more.
    pub forgotten: bool,
    /// Under a hold.
    pub held: bool,
    /// How many records there are, so which number the next has.
    pub records: u32,
}

/// A point and where it stands.
#[derive(Debug, Clone)]
pub struct ListedPoint {
    /// The point.
    pub point: Point,
    /// Its retention.
    pub retained: Retained,
}

/// An object that was found but cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// The object.
    pub name: ObjectName,
    /// What is wrong with it.
    pub error: VaultError,
}

/// Index segments, and those that cannot be used.
#[derive(Debug, Default)]
pub struct Segments {
    /// What counts.
    pub segments: Vec<Segment>,
    /// Damaged or exchanged segments.
    pub problems: Vec<Problem>,
}

/// The points of a machine, and what of its chain cannot be used.
#[derive(Debug, Default)]
pub struct Points {
    /// Oldest first.
    pub points: Vec<ListedPoint>,
    /// Damaged or unsigned points.
    pub problems: Vec<Problem>,
}

impl Points {
    /// The points that can be listed and restored: neither in the trash nor forgotten.
    pub fn visible(&self) -> impl DoubleEndedIterator<Item = &ListedPoint> {
        self.points.iter().filter(|listed| !listed.retained.trashed && !listed.retained.forgotten)
    }
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
                Ok(Self { keys: root.vault_keys(vault), store, config, root: Some(root), own: None, epoch })
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
        Ok(Self { keys, store, config, root: Some(root), own: None, epoch })
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
        Ok(Self { store, config, keys, root: None, own: Some(own), epoch })
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
        Ok(self.owner(operation)?.maintenance(self.id()))
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
        let name = MachineRecord::name_of(machine);
        match self.store.get(&name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(bytes) => self.read_machine(name, &bytes).map(Some),
        }
    }

    fn read_machine(&self, name: ObjectName, bytes: &[u8]) -> Result<MachineRecord, VaultError> {
        MachineRecord::open(self.id(), &name, bytes, &self.keys, self.config.maintenance_public)
            .map_err(|source| VaultError::Object { name, source })
    }

    /// Every machine that the vault knows.
    pub fn machines(&self) -> Result<Vec<MachineRecord>, VaultError> {
        let mut machines = Vec::new();
        for info in self.store.list_all(machine::PREFIX)? {
            let bytes = self.store.get(&info.name, OBJECT_BYTES_MAX)?;
            match self.read_machine(info.name, &bytes) {
                Ok(record) => machines.push(record),
                // FORMAT.md: what the maintenance key did not sign counts as absent.
                Err(error) => tracing::warn!(%error, "A machine record is ignored"),
            }
        }
        Ok(machines)
    }

    /// The key that verifies a machine's points and segments.
    fn verifying_key(&self, machine: MachineId) -> Result<Option<VerifyingKey>, VaultError> {
        match &self.own {
            Some(own) if own.id == machine => Ok(Some(own.signing.public())),
            Some(_) | None => Ok(self.machine(machine)?.map(|record| record.signing)),
        }
    }

    /// `K_meta` of a machine, for reading its catalogues.
    pub fn meta_of(&self, machine: MachineId) -> Result<Secret, VaultError> {
        if let Some(own) = self.own.as_ref().filter(|own| own.id == machine) {
            return Ok(own.meta.clone());
        }
        let root = self.owner("reading another machine's catalogue")?;
        let Some(record) = self.machine(machine)? else { return Ok(root.machine_meta(self.id(), machine)) };
        let name = MachineRecord::name_of(machine);
        let opened = record.open_meta(&root.key_pair(self.id(), record.epoch));
        let meta = opened.map_err(|source| VaultError::Object { name, source })?;
        Ok(meta.unwrap_or_else(|| root.machine_meta(self.id(), machine)))
    }

    /// The points of a machine with their retention, oldest first.
    pub fn points(&self, machine: MachineId) -> Result<Points, VaultError> {
        let mut points = Points::default();
        let listed = self.store.list_all(&points_prefix(machine))?;
        if listed.is_empty() {
            return Ok(points);
        }
        let signer = self.verifying_key(machine)?;
        let retention = self.retention(machine)?;
        for info in listed {
            match self.read_point(&info.name, signer) {
                Ok(point) => {
                    let retained = retention.get(&point.header.sequence).copied().unwrap_or_default();
                    points.points.push(ListedPoint { point, retained });
                }
                Err(VaultError::Store(StoreError::NotFound { .. })) => {}
                Err(error @ VaultError::Object { .. }) => points.problems.push(Problem { name: info.name, error }),
                Err(error) => return Err(error),
            }
        }
        Ok(points)
    }

    fn read_point(&self, name: &ObjectName, signer: Option<VerifyingKey>) -> Result<Point, VaultError> {
        let bytes = self.store.get(name, OBJECT_BYTES_MAX)?;
        let object = |source| VaultError::Object { name: name.clone(), source };
        let signer = signer.ok_or(ObjectError::Signature).map_err(object)?;
        Point::open(self.id(), name, bytes, &self.keys, signer).map_err(object)
    }

    fn retention(&self, machine: MachineId) -> Result<BTreeMap<u64, Retained>, VaultError> {
        let mut all: BTreeMap<u64, Retained> = BTreeMap::new();
        for info in self.store.list_all(&format!("{}{machine}/", retention::PREFIX))? {
            let bytes = self.store.get(&info.name, OBJECT_BYTES_MAX)?;
            let maintenance = self.config.maintenance_public;
            let Ok(record) = RetentionRecord::open(self.id(), &info.name, &bytes, &self.keys, maintenance) else {
                continue;
            };
            let retained = all.entry(record.sequence).or_default();
            retained.records = retained.records.max(record.counter + 1);
            match record.action {
                Action::Trash => retained.trashed = true,
                Action::Undelete => retained.trashed = false,
                Action::Forget => retained.forgotten = true,
                Action::Hold => retained.held = true,
                Action::Release => retained.held = false,
            }
        }
        Ok(all)
    }

    /// Records a decision about a point.
    pub fn retain(&self, listed: &ListedPoint, action: Action, at: Time, reason: &str) -> Result<(), VaultError> {
        let maintenance = self.maintenance("deciding what is kept")?;
        let record = RetentionRecord {
            machine: listed.point.header.machine,
            sequence: listed.point.header.sequence,
            counter: listed.retained.records,
            hash: listed.point.hash,
            action,
            at,
            reason: reason.to_owned(),
        };
        self.store.put_same(&record.name(), &record.seal(self.id(), &self.keys, &maintenance))?;
        Ok(())
    }

    /// Finds a point by its id, or the start of it, among the visible points of all machines, or of one.
    pub fn find_point(&self, id: &str, machine: Option<MachineId>) -> Result<Vec<Point>, VaultError> {
        let machines = match machine {
            Some(machine) => vec![machine],
            None => self.machines()?.into_iter().map(|record| record.machine).collect(),
        };
        let mut found = Vec::new();
        for machine in machines {
            let points = self.points(machine)?;
            let matching = points.visible().filter(|listed| listed.point.id.to_string().starts_with(id));
            found.extend(matching.map(|listed| listed.point.clone()));
        }
        Ok(found)
    }

    /// The newest generation, or generation 0 where nothing was ever collected.
    pub fn newest_generation(&self) -> Result<Generation, VaultError> {
        let listed = self.store.list_all(generation::PREFIX)?;
        for info in listed.iter().rev() {
            let bytes = self.store.get(&info.name, OBJECT_BYTES_MAX)?;
            let keeper = Keeper { vault: self.id(), keys: &self.keys };
            let opened = Generation::open(keeper, &info.name, &bytes, self.config.maintenance_public);
            match opened {
                Ok(generation) if Some(generation.number) == number_of(&info.name) => return Ok(generation),
                Ok(_) | Err(_) => {
                    tracing::warn!(name = %info.name, "A generation that the owner did not sign is ignored")
                }
            }
        }
        Ok(Generation::default())
    }

    /// Publishes a generation. Another that took its number first wins: [`VaultError::Conflict`].
    pub fn publish(&self, generation: &Generation) -> Result<(), VaultError> {
        let maintenance = self.maintenance("publishing a generation")?;
        let name = Generation::name_of(generation.number);
        let keeper = Keeper { vault: self.id(), keys: &self.keys };
        match self.store.put_create(&name, &generation.seal(keeper, &maintenance))? {
            Put::Created => Ok(()),
            Put::Exists => Err(VaultError::Conflict { name }),
        }
    }

    /// Every live segment that counts for `reader`: its own, those of owner machines, and those the generation lists as
    /// verified. With no `reader` (restore and check), every signed one.
    pub fn segments(&self, generation: &Generation, reader: Option<MachineId>) -> Result<Segments, VaultError> {
        let replaced: HashSet<&str> = generation.replaced_segments.iter().map(String::as_str).collect();
        let verified: BTreeMap<&str, [u8; 32]> =
            generation.verified_segments.iter().map(|(name, hash)| (name.as_str(), *hash)).collect();
        let mut writers = BTreeMap::new();
        let mut found = Segments::default();
        for info in self.store.list_all(segment::PREFIX)? {
            let Some(writer) = Segment::writer_of(&info.name).filter(|_| !replaced.contains(info.name.as_str())) else {
                continue;
            };
            let verified = verified.get(info.name.as_str()).copied();
            let trust = match verified {
                Some(hash) => Trust::Hash(hash),
                None => *match writers.entry(writer) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(self.trust(writer, reader)?),
                },
            };
            match self.read_segment(&info.name, trust) {
                Ok(segment) => found.segments.extend(segment),
                Err(error @ VaultError::Object { .. }) => found.problems.push(Problem { name: info.name, error }),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// How far segments of `writer` that nobody verified are trusted.
    fn trust(&self, writer: MachineId, reader: Option<MachineId>) -> Result<Trust, VaultError> {
        if let Some(own) = &self.own {
            return Ok(if own.id == writer { Trust::Signer(own.signing.public()) } else { Trust::None });
        }
        let record = self.machine(writer)?;
        let counts = |record: &MachineRecord| record.owner_machine || reader.is_none_or(|reader| reader == writer);
        Ok(record.filter(counts).map_or(Trust::None, |record| Trust::Signer(record.signing)))
    }

    fn read_segment(&self, name: &ObjectName, trust: Trust) -> Result<Option<Segment>, VaultError> {
        let bytes = match trust {
            Trust::None => return Ok(None),
            Trust::Signer(_) | Trust::Hash(_) => self.store.get(name, OBJECT_BYTES_MAX)?,
        };
        let opened = match trust {
            Trust::Hash(hash) if blake3::hash(&bytes) != hash => Err(ObjectError::Signature),
            // The maintenance key signed this hash, so the machine's own signature adds nothing.
            Trust::None | Trust::Hash(_) => Segment::open(self.id(), name, &bytes, &self.keys, None),
            Trust::Signer(signer) => Segment::open(self.id(), name, &bytes, &self.keys, Some(signer)),
        };
        opened.map(Some).map_err(|source| VaultError::Object { name: name.clone(), source })
    }

    /// The index of what may be reused or read by `reader`; see [`Vault::segments`]. Tombstoned packs are left out.
    pub fn load_index(&self, generation: &Generation, reader: Option<MachineId>) -> Result<Index, VaultError> {
        let tombstones: HashSet<PackId> = match reader {
            Some(_) => generation.tombstones.iter().copied().collect(),
            None => HashSet::new(),
        };
        let mut index = Index::new();
        let found = self.segments(generation, reader)?;
        for problem in &found.problems {
            tracing::warn!(name = %problem.name, error = %problem.error, "An index segment is ignored; `check` tells more");
        }
        for segment in found.segments {
            segment.packs.iter().filter(|pack| !tombstones.contains(&pack.id)).for_each(|pack| {
                index.add_pack(pack);
            });
        }
        Ok(index)
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

    /// The id of a visible point's predecessor chain head: sequence and hash of the newest object, for the next one.
    pub fn chain_head(&self, machine: MachineId) -> Result<(u64, [u8; 32]), VaultError> {
        let listed = self.store.list_all(&points_prefix(machine))?;
        let retained = self.store.list_all(&format!("{}{machine}/", retention::PREFIX))?;
        let newest_record = retained.iter().filter_map(|info| sequence_of_record(&info.name)).max().unwrap_or(0);
        let Some(newest) = listed.last() else { return Ok((newest_record, [0; 32])) };
        let bytes = self.store.get(&newest.name, OBJECT_BYTES_MAX)?;
        let sequence = number_of(&newest.name).unwrap_or(0).max(newest_record);
        Ok((sequence, *blake3::hash(&bytes).as_bytes()))
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

fn sequence_of_record(name: &ObjectName) -> Option<u64> {
    let (sequence, _) = name.as_str().rsplit('/').next()?.split_once('-')?;
    u64::from_str_radix(sequence, 16).ok()
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
        self.meta_of(machine).ok()
    }
}

/// A point id as people type it: its start is enough when only one point has it.
pub fn is_point_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The id of the point an object holds.
pub fn point_id_of(bytes: &[u8]) -> PointId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    PointId(id)
}
