//! Small objects: their frame, and what each kind holds.

use super::sealed::{KEYS, MACHINE, VAULT, join, plain, seal, split};
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::SigningKey;
use nightkeep_vault::id::{BlobId, MachineId, PackId, SessionId};
use nightkeep_vault::object::{Binding, Draft, Kind, Object, check_frame};
use nightkeep_vault::pack::{Area, BlockInfo, BlockType, Codec, Footer, Member};
use nightkeep_vault::record::config::{ChunkerParams, Config, Custody};
use nightkeep_vault::record::epoch::Epoch;
use nightkeep_vault::record::generation::{Decision, Fence, Generation, Keeper};
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::record::point::{
    self, BackupSet, CivilTime, Point, PointBody, PointHeader, StoredFinding, Totals,
};
use nightkeep_vault::record::retention::{Action, RetentionRecord};
use nightkeep_vault::record::segment::{Segment, SegmentPack};
use nightkeep_vault::record::session::SessionRecord;
use nightkeep_vault::record::slot::Slot;
use nightkeep_vault::record::{partial, retention};
use nightkeep_vault::store::ObjectName;

const KINDS: [Kind; 12] = [
    Kind::Config,
    Kind::KeySlot,
    Kind::Machine,
    Kind::Epoch,
    Kind::Session,
    Kind::Partial,
    Kind::Segment,
    Kind::Point,
    Kind::Retention,
    Kind::Generation,
    Kind::Fence,
    Kind::Decision,
];

fn name(text: &str) -> ObjectName {
    match ObjectName::new(text) {
        Ok(name) => name,
        Err(error) => unreachable!("{error}"),
    }
}

/// The frame, and every part of it under every key.
pub(super) fn frame(bytes: &[u8]) -> bool {
    let mut is_read = false;
    let name = name("cfg/1");
    let binding = Binding { vault: VAULT, name: &name };
    for kind in KINDS {
        if let Ok(object) = Object::parse(bytes, kind) {
            let _ = object.verify(binding, KEYS.maintenance.public());
            let _ = object.open_header(binding, &KEYS.vault.index);
            let _ = object.open_body(binding, &KEYS.vault.index);
            is_read = check_frame(bytes).is_ok();
        }
    }
    is_read
}

/// Frames by hand, as real ones have random salts.
pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, signature: u16, lengths: [u32; 4]| {
        let mut bytes = b"NKO1".to_vec();
        bytes.extend_from_slice(&[kind, 0]);
        bytes.extend_from_slice(&signature.to_le_bytes());
        lengths.iter().for_each(|length| bytes.extend_from_slice(&length.to_le_bytes()));
        let parts: u32 = lengths.iter().sum();
        bytes.extend((0..32 + parts as usize + usize::from(signature)).map(|n| n as u8));
        bytes.extend_from_slice(&[0; 44]);
        mend_frame(&mut bytes);
        bytes
    };
    vec![
        frame(1, 64, [20, 0, 0, 0]),
        frame(2, 0, [40, 0, 0, 0]),
        frame(7, 64, [0, 32, 64, 0]),
        frame(8, 64, [0, 99, 20, 0]),
    ]
}

/// Makes hash, checksum, length and end right.
pub(super) fn mend_frame(bytes: &mut Vec<u8>) {
    if bytes.len() < 56 + 44 {
        bytes.resize(100, 0);
    }
    bytes[..4].copy_from_slice(b"NKO1");
    let end = bytes.len() - 44;
    let hash = blake3::hash(&bytes[..end]);
    bytes[end..end + 32].copy_from_slice(hash.as_bytes());
    let crc = crc32c::crc32c(&bytes[..end + 32]);
    bytes[end + 32..end + 36].copy_from_slice(&crc.to_le_bytes());
    let total = bytes.len() as u32;
    bytes[end + 36..end + 40].copy_from_slice(&total.to_le_bytes());
    bytes[end + 40..].copy_from_slice(b"NKO.");
}

/// The open part of an object without header or body.
fn open_part(kind: Kind, name: &ObjectName, open: &[u8], signer: Option<&SigningKey>) -> Vec<u8> {
    let draft = Draft { open: open.to_vec(), header: None, body: None, signer };
    draft.seal(kind, Binding { vault: VAULT, name })
}

pub(super) fn config(bytes: &[u8]) -> bool {
    Config::open(&open_part(Kind::Config, &Config::name(), bytes, Some(&KEYS.maintenance))).is_ok()
}

pub(super) fn config_seeds() -> Vec<Vec<u8>> {
    let config = Config {
        vault: VAULT,
        chunker: ChunkerParams::default(),
        inline_bytes_max: 1024,
        small_file_bytes_max: 128 << 10,
        vault_public: KEYS.root.key_pair(VAULT, 1).public(),
        maintenance_public: KEYS.maintenance.public(),
        created: Time { seconds: 1_700_000_000, nanoseconds: 5 },
        custody: Custody::Managed,
    };
    let sealed = config.seal(&KEYS.maintenance);
    vec![Object::parse(&sealed, Kind::Config).map(|object| object.open.to_vec()).unwrap_or_default()]
}

pub(super) fn slot(bytes: &[u8]) -> bool {
    let name = name("keys/slot-0000000000000001");
    let sealed = open_part(Kind::KeySlot, &name, bytes, None);
    // Never unlocked here: a slot may ask for a gibibyte.
    Slot::open(name, &sealed).is_ok()
}

pub(super) fn slot_seeds() -> Vec<Vec<u8>> {
    let fields: [(u8, &[u8]); 7] =
        [(2, &[1]), (4, &[0x80, 0x80, 4]), (6, &[3]), (8, &[1]), (10, &[9; 16]), (11, b"label"), (12, &[3; 48])];
    vec![fields.iter().flat_map(|(tag, value)| [&[*tag, value.len() as u8], *value].concat()).collect()]
}

fn header_only(kind: Kind, name: &ObjectName, bytes: &[u8]) -> Vec<u8> {
    seal(kind, name, bytes, None)
}

pub(super) fn machine(bytes: &[u8]) -> bool {
    let name = MachineRecord::name_of(MACHINE);
    let sealed = header_only(Kind::Machine, &name, bytes);
    MachineRecord::open(VAULT, &name, &sealed, &KEYS.vault, KEYS.maintenance.public()).is_ok()
}

pub(super) fn machine_seeds() -> Vec<Vec<u8>> {
    let owner = MachineRecord::of_owner(&KEYS.machine);
    let record = MachineRecord {
        machine: MACHINE,
        name: "pc-1".into(),
        signing: KEYS.machine.signing.public(),
        sealing: Some(KEYS.root.key_pair(VAULT, 2).public()),
        meta_sealed: Some(vec![4; 80]),
        epoch: 2,
        ..owner.clone()
    };
    let seed = |record: &MachineRecord| {
        let sealed = record.seal(VAULT, &KEYS.vault, &KEYS.maintenance);
        plain(Kind::Machine, &MachineRecord::name_of(record.machine), &sealed, None).0
    };
    vec![seed(&owner), seed(&record)]
}

pub(super) fn epoch(bytes: &[u8]) -> bool {
    let name = name("keys/epoch-00000002");
    let sealed = header_only(Kind::Epoch, &name, bytes);
    Epoch::open(VAULT, &name, &sealed, &KEYS.vault, KEYS.maintenance.public()).is_ok()
}

pub(super) fn epoch_seeds() -> Vec<Vec<u8>> {
    let epoch = Epoch { number: 2, public: KEYS.root.key_pair(VAULT, 2).public() };
    let sealed = epoch.seal(VAULT, &KEYS.vault, &KEYS.maintenance);
    vec![plain(Kind::Epoch, &epoch.name(), &sealed, None).0]
}

const SESSION: SessionId = SessionId([2; 16]);

pub(super) fn session(bytes: &[u8]) -> bool {
    let name = name(&format!("w/{MACHINE}/{SESSION}/00000001"));
    let sealed = header_only(Kind::Session, &name, bytes);
    SessionRecord::open(VAULT, &name, &sealed, &KEYS.vault, KEYS.machine.signing.public()).is_ok()
}

pub(super) fn session_seeds() -> Vec<Vec<u8>> {
    // By hand: machine, session, state, base, time, outcome, successor.
    let record = |state: u8, rest: &[u8]| {
        let mut bytes = vec![2, 16];
        bytes.extend_from_slice(MACHINE.as_bytes());
        bytes.extend_from_slice(&[4, 16]);
        bytes.extend_from_slice(SESSION.as_bytes());
        bytes.extend_from_slice(&[6, 1, state, 8, 1, 3, 9, 2, 2, 0]);
        bytes.extend_from_slice(rest);
        bytes
    };
    let successor = [&[11u8, 16], [8u8; 16].as_slice()].concat();
    vec![record(1, &successor), record(2, &[]), record(3, &[10, 1, 1])]
}

fn point_header() -> PointHeader {
    let at = |seconds| CivilTime {
        at: Time { seconds, nanoseconds: 7 },
        offset_minutes: -210,
        zone: "America/St_Johns".into(),
    };
    PointHeader {
        machine: MACHINE,
        sequence: 900,
        previous: [2; 32],
        session: SESSION,
        base: 4,
        plan: Some([5; 16]),
        plan_name: "Entire machine".into(),
        set: BackupSet::Weekly,
        occurrence: Some(at(-1)),
        started: at(1_700_000_000),
        finished: at(1_700_000_100),
        totals: Totals { files: 3, findings: 9, ..Totals::default() },
        references: BlobId([6; 32]),
        meta_packs: vec![PackId([7; 32]), PackId([8; 32])],
        machine_name: "pc-1".into(),
        agent_version: "1.2.3".into(),
        bootable: false,
        snapshot_method: "btrfs".into(),
        meta_epoch: 1,
        complete: false,
        source: [9; 16],
    }
}

fn point_body() -> PointBody {
    PointBody {
        hunk_list: Some(BlobId([1; 32])),
        roots: vec![b"home/\xff".to_vec()],
        users: vec![(0, b"root".to_vec())],
        groups: vec![(5, b"tty".to_vec())],
        findings: vec![StoredFinding { kind: 1, path: b"x".to_vec(), text: "denied".into() }],
    }
}

fn point_at(kind: Kind, name: &ObjectName, bytes: &[u8]) -> Vec<u8> {
    let (header, body) = split(bytes);
    seal(kind, name, header, Some((body, &KEYS.machine.meta)))
}

pub(super) fn point(bytes: &[u8]) -> bool {
    let name = point::name_of(MACHINE, 900);
    let sealed = point_at(Kind::Point, &name, bytes);
    Point::open(VAULT, &name, sealed, &KEYS.vault, KEYS.machine.signing.public())
        .is_ok_and(|point| point.body(&KEYS.machine.meta).is_ok())
}

pub(super) fn point_seeds() -> Vec<Vec<u8>> {
    let (sealed, _) = point::seal(VAULT, &point_header(), &point_body(), &KEYS.vault, &KEYS.machine);
    let (header, body) = plain(Kind::Point, &point::name_of(MACHINE, 900), &sealed, Some(&KEYS.machine.meta));
    vec![join(&header, &body), join(&header, &[])]
}

pub(super) fn partial(bytes: &[u8]) -> bool {
    let name = partial::name_of(MACHINE, SESSION, 1);
    let sealed = point_at(Kind::Partial, &name, bytes);
    partial::open(VAULT, &name, sealed, &KEYS.vault, KEYS.machine.signing.public())
        .is_ok_and(|point| point.body(&KEYS.machine.meta).is_ok())
}

pub(super) fn partial_seeds() -> Vec<Vec<u8>> {
    let (name, sealed) = partial::seal(VAULT, 1, &point_header(), &point_body(), &KEYS.vault, &KEYS.machine);
    let (header, body) = plain(Kind::Partial, &name, &sealed, Some(&KEYS.machine.meta));
    vec![join(&header, &body)]
}

pub(super) fn retention(bytes: &[u8]) -> bool {
    let name = name(&format!("{}{MACHINE}/{:016x}-00000000", retention::PREFIX, 900));
    let sealed = header_only(Kind::Retention, &name, bytes);
    RetentionRecord::open(VAULT, &name, &sealed, &KEYS.vault, KEYS.maintenance.public()).is_ok()
}

pub(super) fn retention_seeds() -> Vec<Vec<u8>> {
    let actions = [Action::Trash, Action::Forget, Action::Hold];
    let seed = |action| {
        let record = RetentionRecord {
            machine: MACHINE,
            sequence: 900,
            counter: 0,
            hash: [4; 32],
            action,
            at: Time { seconds: 9, nanoseconds: 0 },
            reason: "too old".into(),
        };
        let sealed = record.seal(VAULT, &KEYS.vault, &KEYS.maintenance);
        plain(Kind::Retention, &record.name(), &sealed, None).0
    };
    actions.map(seed).to_vec()
}

fn keeper() -> Keeper<'static> {
    Keeper { vault: VAULT, keys: &KEYS.vault }
}

fn of_collector(kind: Kind, name: &ObjectName, bytes: &[u8]) -> Vec<u8> {
    let (header, body) = split(bytes);
    seal(kind, name, header, Some((body, &KEYS.vault.index)))
}

fn collector_seed(kind: Kind, name: &ObjectName, sealed: &[u8]) -> Vec<Vec<u8>> {
    let (header, body) = plain(kind, name, sealed, Some(&KEYS.vault.index));
    vec![join(&header, &body)]
}

pub(super) fn generation(bytes: &[u8]) -> bool {
    let name = Generation::name_of(3);
    let sealed = of_collector(Kind::Generation, &name, bytes);
    Generation::open(keeper(), &name, &sealed, KEYS.maintenance.public()).is_ok()
}

pub(super) fn generation_seeds() -> Vec<Vec<u8>> {
    let generation = Generation {
        number: 3,
        previous: 2,
        replaced_segments: vec!["i/0/a".into()],
        tombstones: vec![PackId([1; 32]), PackId([2; 32])],
        verified_segments: vec![("i/0/b".into(), [4; 32])],
        merged_segments: vec![("i/2/c".into(), [5; 32])],
        never_closed: vec![(MachineId([6; 16]), SESSION)],
        ..Generation::default()
    };
    let sealed = generation.seal(keeper(), &KEYS.maintenance);
    collector_seed(Kind::Generation, &Generation::name_of(3), &sealed)
}

pub(super) fn fence(bytes: &[u8]) -> bool {
    let name = Fence::name_of(3, SESSION);
    let sealed = of_collector(Kind::Fence, &name, bytes);
    Fence::open(keeper(), &name, &sealed, KEYS.maintenance.public()).is_ok()
}

#[allow(clippy::needless_update, reason = "fields of a later version stay at their defaults")]
pub(super) fn fence_seeds() -> Vec<Vec<u8>> {
    let fence = Fence { generation: 3, sessions: vec![(MACHINE, SESSION)], ..Fence::default() };
    let name = Fence::name_of(3, SESSION);
    let sealed = fence.seal(keeper(), &name, &KEYS.maintenance);
    collector_seed(Kind::Fence, &name, &sealed)
}

pub(super) fn decision(bytes: &[u8]) -> bool {
    let name = Decision::name_of(3);
    let sealed = of_collector(Kind::Decision, &name, bytes);
    Decision::open(keeper(), &name, &sealed, KEYS.maintenance.public()).is_ok()
}

pub(super) fn decision_seeds() -> Vec<Vec<u8>> {
    let decision = Decision { generation: 3, packs: vec![PackId([1; 32])] };
    let sealed = decision.seal(keeper(), &KEYS.maintenance);
    collector_seed(Kind::Decision, &Decision::name_of(3), &sealed)
}

fn a_segment() -> Segment {
    Segment {
        machine: MACHINE,
        session: SESSION,
        counter: 1,
        packs: vec![SegmentPack { area: Area::Data, id: PackId([3; 32]), bytes: 4096, footer: a_footer() }],
    }
}

/// A footer with every kind of block.
pub(super) fn a_footer() -> Footer {
    let mut offset = 100;
    let block = |(n, block_type): (usize, &BlockType)| {
        let member = |bytes| Member { id: BlobId([n as u8; 32]), bytes };
        let members = if *block_type == BlockType::Bundle { vec![member(40), member(60)] } else { vec![member(100)] };
        let info = BlockInfo {
            block_type: *block_type,
            codec: if n % 2 == 0 { Codec::Stored } else { Codec::Zstd },
            group: 0,
            ordinal: n as u32,
            offset,
            sealed_bytes: 116,
            plain_bytes: 100,
            members,
        };
        offset += 116;
        info
    };
    use BlockType::{Bundle, Chunk, ContentList, Hunk, HunkList, ReferencesLeaf, ReferencesRoot};
    let types = [Chunk, Bundle, Hunk, HunkList, ContentList, ReferencesLeaf, ReferencesRoot];
    Footer { blocks: types.iter().enumerate().map(block).collect() }
}

pub(super) fn segment(bytes: &[u8]) -> bool {
    let name = a_segment().name(3);
    let (header, body) = split(bytes);
    let sealed = seal(Kind::Segment, &name, header, Some((body, &KEYS.vault.index)));
    Segment::open(VAULT, &name, &sealed, &KEYS.vault, Some(KEYS.machine.signing.public())).is_ok()
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    let (segment, name) = (a_segment(), a_segment().name(3));
    let sealed = segment.seal(VAULT, &name, &KEYS.vault, &KEYS.machine);
    let (header, body) = plain(Kind::Segment, &name, &sealed, Some(&KEYS.vault.index));
    vec![join(&header, &body)]
}
