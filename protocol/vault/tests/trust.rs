//! Who may write what, and whom a machine believes: claims about the vault at its boundary.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its vault has failed")]

use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::{Secret, SigningKey};
use nightkeep_vault::id::{BlobId, MachineId, VaultId};
use nightkeep_vault::keys::{CustomerRoot, MachineKeys};
use nightkeep_vault::object::OBJECT_BYTES_MAX;
use nightkeep_vault::pack::{Area, BlockType, Codec, FinishedPack, GroupKey, Member, PackWriter, PreparedBlock};
use nightkeep_vault::reader::{BlockReader, read_chunk};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::generation::{Generation, Keeper};
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::session::Session;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::{Pins, Vault, VaultError};
use nightkeep_vault::verify::verify_segments;
use std::sync::Arc;

const VAULT: VaultId = VaultId([4; 16]);

struct Customer {
    store: MemoryStore,
    root: CustomerRoot,
    owner: Arc<Vault>,
}

impl Customer {
    fn new() -> Self {
        let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
        let owner = Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Managed, Time::default());
        Self { store, root, owner: Arc::new(owner.unwrap()) }
    }

    /// A machine as a host enrols it: with keys of its own, and a record in the vault.
    fn enrol(&self, number: u8) -> Arc<Vault> {
        let keys = MachineKeys {
            id: MachineId([number; 16]),
            name: format!("pc-{number}"),
            signing: SigningKey::from_seed(Secret::generate()),
            meta: Secret::generate(),
        };
        let public = self.root.key_pair(VAULT, 1).public();
        let record = MachineRecord {
            machine: keys.id,
            name: keys.name.clone(),
            signing: keys.signing.public(),
            sealing: None,
            meta_sealed: Some(MachineRecord::seal_meta(keys.id, public, &keys.meta).unwrap()),
            epoch: 1,
            owner_machine: false,
        };
        self.owner.write_machine(&record).unwrap();
        let config = self.owner.config();
        let pins =
            Pins { vault: VAULT, vault_public: config.vault_public, maintenance_public: config.maintenance_public };
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        Arc::new(Vault::open_machine(store, &pins, self.root.vault_keys(VAULT), keys).unwrap())
    }
}

fn name(vault: &Vault, content: &[u8]) -> BlobId {
    BlobId(*blake3::keyed_hash(vault.keys().id.expose(), content).as_bytes())
}

/// Writes one chunk under an id, as a session of this machine; honest when the id is the content's.
fn write_chunk(vault: &Arc<Vault>, id: BlobId, content: &[u8]) -> FinishedPack {
    write_chunk_into(vault, Area::Data, id, content)
}

fn write_chunk_into(vault: &Arc<Vault>, area: Area, id: BlobId, content: &[u8]) -> FinishedPack {
    let session = Session::open(vault.clone(), vault.writer("").unwrap(), Time::default()).unwrap();
    let (epoch, public) = vault.sealing_key();
    let group = GroupKey::for_data(VAULT, public, epoch).unwrap();
    let mut writer = PackWriter::new(VAULT, vec![group], 0);
    let bytes = content.len() as u32;
    writer.append(
        0,
        PreparedBlock {
            block_type: BlockType::Chunk,
            codec: Codec::Stored,
            payload: content.to_vec(),
            plain_bytes: bytes,
            members: vec![Member { id, bytes }],
        },
    );
    let pack = writer.finish(&vault.keys().index);
    session.put_pack(area, &pack).unwrap();
    session.write_segment().unwrap();
    pack
}

fn knows(vault: &Vault, id: &BlobId) -> bool {
    let generation = vault.newest_generation().unwrap();
    let reader = vault.writer("").unwrap().id;
    vault.load_index(&generation, Some(reader)).unwrap().chunk(id).unwrap().is_some()
}

#[test]
fn a_machine_counts_on_anothers_chunks_only_after_they_were_verified() {
    let customer = Customer::new();
    let (one, two) = (customer.enrol(1), customer.enrol(2));
    let id = name(&one, b"content");
    write_chunk(&one, id, b"content");
    assert!(knows(&one, &id));
    assert!(!knows(&two, &id));
    let verified = verify_segments(&customer.owner, &|| false).unwrap();
    assert_eq!((verified.segments, verified.packs, verified.rejected.len()), (1, 1, 0));
    assert!(knows(&two, &id));
    assert_eq!(verify_segments(&customer.owner, &|| false).unwrap().segments, 0, "nothing is verified twice");
}

#[test]
fn a_poisoned_chunk_is_never_offered_to_others() {
    let customer = Customer::new();
    let (liar, victim) = (customer.enrol(1), customer.enrol(2));
    let id = name(&liar, b"what everybody has");
    write_chunk(&liar, id, b"something else");
    let verified = verify_segments(&customer.owner, &|| false).unwrap();
    assert_eq!((verified.segments, verified.rejected.len()), (0, 1));
    assert!(!knows(&victim, &id));
}

#[test]
fn a_chunk_hidden_among_metadata_is_never_offered_to_others() {
    let customer = Customer::new();
    let (liar, victim) = (customer.enrol(1), customer.enrol(2));
    let id = name(&liar, b"what everybody has");
    write_chunk_into(&liar, Area::Meta, id, b"something else");
    verify_segments(&customer.owner, &|| false).unwrap();
    assert!(!knows(&victim, &id));
}

#[test]
fn a_machine_opens_no_data_also_not_its_own() {
    let customer = Customer::new();
    let machine = customer.enrol(1);
    let id = name(&machine, b"content");
    write_chunk(&machine, id, b"content");
    let generation = machine.newest_generation().unwrap();
    let index = machine.load_index(&generation, Some(MachineId([1; 16]))).unwrap();
    assert!(read_chunk(&BlockReader::new(machine.clone()), &index, &id).is_err());
    let index = customer.owner.load_index(&generation, None).unwrap();
    assert_eq!(read_chunk(&BlockReader::new(customer.owner.clone()), &index, &id).unwrap(), b"content");
}

#[test]
fn a_generation_that_a_machine_signs_counts_for_nobody() {
    let customer = Customer::new();
    let machine = customer.enrol(1);
    let keys = machine.writer("").unwrap();
    let forged = Generation { number: 7, ..Generation::default() };
    let bytes = forged.seal(Keeper { vault: VAULT, keys: machine.keys() }, &keys.signing);
    customer.store.put_create(&Generation::name_of(7), &bytes).unwrap();
    assert_eq!(machine.newest_generation().unwrap().number, 0);
    assert!(matches!(machine.publish(&forged), Err(VaultError::NotOwner { .. })));
}

#[test]
fn an_exchanged_vault_is_refused() {
    let (customer, stranger) = (Customer::new(), Customer::new());
    let config = customer.owner.config();
    let pins = Pins { vault: VAULT, vault_public: config.vault_public, maintenance_public: config.maintenance_public };
    let keys = customer.enrol(1).writer("").unwrap();
    let store: Arc<dyn Store> = Arc::new(stranger.store.clone());
    let opened = Vault::open_machine(store.clone(), &pins, customer.root.vault_keys(VAULT), keys);
    assert!(matches!(opened.err(), Some(VaultError::Forged { .. })));
    assert!(matches!(Vault::open_owner(store, VAULT, customer.root.clone()).err(), Some(VaultError::Forged { .. })));
}

#[test]
fn a_rotated_key_seals_what_comes_and_opens_what_was() {
    let store = MemoryStore::new();
    let root = CustomerRoot::generate();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let mut owner = Vault::create(shared.clone(), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap();
    assert_eq!(owner.rotate().unwrap(), 2);
    let owner = Arc::new(Vault::open_owner(shared, VAULT, root).unwrap());
    assert_eq!(owner.sealing_key().0, 2);
    let id = name(&owner, b"content");
    write_chunk(&owner, id, b"content");
    let index = owner.load_index(&Generation::default(), None).unwrap();
    assert_eq!(read_chunk(&BlockReader::new(owner.clone()), &index, &id).unwrap(), b"content");
}

#[test]
fn every_passphrase_opens_the_vault_until_it_is_removed() {
    let customer = Customer::new();
    let first = customer.owner.add_slot("one", "first").unwrap();
    customer.owner.add_slot("two", "second").unwrap();
    let unlock = |passphrase| Vault::unlock(&customer.store, VAULT, passphrase);
    assert_eq!(unlock("one").unwrap(), customer.root);
    assert_eq!(unlock("two").unwrap(), customer.root);
    assert!(matches!(unlock("three"), Err(VaultError::WrongPassphrase { .. })));
    customer.owner.remove_slot(&first.name).unwrap();
    assert!(matches!(unlock("one"), Err(VaultError::WrongPassphrase { .. })));
}

#[test]
fn a_segment_of_countless_tiny_chunks_is_cut_before_it_passes_its_bound() {
    let customer = Customer::new();
    let vault = customer.enrol(1);
    let session = Session::open(vault.clone(), vault.writer("").unwrap(), Time::default()).unwrap();
    for _ in 0..5 {
        let (epoch, public) = vault.sealing_key();
        let mut writer = PackWriter::new(VAULT, vec![GroupKey::for_data(VAULT, public, epoch).unwrap()], 0);
        let member = |n: u32| Member { id: BlobId([n.to_le_bytes(); 8].concat().try_into().unwrap()), bytes: 1 };
        writer.append(
            0,
            PreparedBlock {
                block_type: BlockType::Bundle,
                codec: Codec::Stored,
                payload: vec![0; 600_000],
                plain_bytes: 600_000,
                members: (0..600_000).map(member).collect(),
            },
        );
        session.put_pack(Area::Data, &writer.finish(&vault.keys().index)).unwrap();
    }
    session.write_segment().unwrap();
    let store: &dyn Store = &customer.store;
    let segments = store.list_all("i/").unwrap();
    assert!(segments.iter().all(|segment| segment.bytes < OBJECT_BYTES_MAX), "{segments:?}");
    let found = vault.segments(&vault.newest_generation().unwrap(), Some(MachineId([1; 16]))).unwrap();
    assert_eq!(found.segments.iter().map(|segment| segment.packs.len()).sum::<usize>(), 5);
}
