//! `s/…`: recovery points. The one write that makes a backup exist; header for the keepers, body for the readers.

use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::{Secret, VerifyingKey};
use crate::id::{BlobId, MachineId, PackId, PointId, SessionId, VaultId};
use crate::keys::{MachineKeys, VaultKeys};
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::record::config::refuse_unknown_features;
use crate::store::ObjectName;

/// The backup set a point belongs to, decided when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum BackupSet {
    /// Made outside any plan.
    #[default]
    None = 0,
    /// The first of a month.
    Monthly = 1,
    /// The first of the plan's day of the week.
    Weekly = 2,
    /// Every other.
    Daily = 3,
}

/// A moment with the civil time of the machine where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CivilTime {
    /// The moment.
    pub at: Time,
    /// Minutes east of UTC that were in force.
    pub offset_minutes: i32,
    /// The zone's name, such as `Europe/Berlin`.
    pub zone: String,
}

/// What a run counted. All byte counts are of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Regular files in the point.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links, pipes, sockets, devices.
    pub others: u64,
    /// Sum of file sizes.
    pub bytes: u64,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files taken over from the parent unread.
    pub files_unchanged: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Bytes of chunks that the vault did not hold, before compression.
    pub bytes_new: u64,
    /// Bytes of the objects written up to the point.
    pub bytes_stored: u64,
    /// Objects written up to the point.
    pub objects: u64,
    /// Findings of the run, also those beyond the list.
    pub findings: u64,
}

impl Totals {
    fn fields(&mut self) -> [&mut u64; 12] {
        [
            &mut self.files,
            &mut self.directories,
            &mut self.others,
            &mut self.bytes,
            &mut self.files_new,
            &mut self.files_changed,
            &mut self.files_unchanged,
            &mut self.bytes_read,
            &mut self.bytes_new,
            &mut self.bytes_stored,
            &mut self.objects,
            &mut self.findings,
        ]
    }
}

/// What everybody with `K_index` reads of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointHeader {
    /// The machine.
    pub machine: MachineId,
    /// Its place in the machine's chain, from 1.
    pub sequence: u64,
    /// The hash of the point before; zero for the first.
    pub previous: [u8; 32],
    /// The session that made it.
    pub session: SessionId,
    /// The generation it builds on.
    pub base: u64,
    /// The plan's id, where there is one.
    pub plan: Option<[u8; 16]>,
    /// The plan's name.
    pub plan_name: String,
    /// The backup set.
    pub set: BackupSet,
    /// The scheduled occurrence that the run served.
    pub occurrence: Option<CivilTime>,
    /// When it began.
    pub started: CivilTime,
    /// When it ended.
    pub finished: CivilTime,
    /// What was counted.
    pub totals: Totals,
    /// The references root.
    pub references: BlobId,
    /// Every metadata pack that catalogue and references need.
    pub meta_packs: Vec<PackId>,
    /// The machine's name.
    pub machine_name: String,
    /// The version of the agent.
    pub agent_version: String,
    /// Whether the point can be booted.
    pub bootable: bool,
    /// How volumes were held still; empty when they were not.
    pub snapshot_method: String,
    /// The epoch of `K_meta`.
    pub meta_epoch: u32,
    /// Whether there were findings.
    pub complete: bool,
    /// The hash of plan and roots; a parent has the same.
    pub source: [u8; 16],
}

/// A finding kept with the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFinding {
    /// Its kind's number.
    pub kind: u64,
    /// Raw path bytes.
    pub path: Vec<u8>,
    /// What happened.
    pub text: String,
}

/// What only readers of the machine's catalogues see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PointBody {
    /// The hunk list.
    pub hunk_list: Option<BlobId>,
    /// What was asked to be backed up.
    pub roots: Vec<Vec<u8>>,
    /// Names of the owners in the catalogue.
    pub users: Vec<(u32, Vec<u8>)>,
    /// Names of the groups in the catalogue.
    pub groups: Vec<(u32, Vec<u8>)>,
    /// The first findings.
    pub findings: Vec<StoredFinding>,
}

/// A point as it lies in the vault: verified header, body still sealed.
#[derive(Debug, Clone)]
pub struct Point {
    /// The start of the hash of its object.
    pub id: PointId,
    /// The hash of its object, for the chain.
    pub hash: [u8; 32],
    /// The header.
    pub header: PointHeader,
    kind: Kind,
    name: ObjectName,
    vault: VaultId,
    bytes: Vec<u8>,
}

/// Where points lie.
pub const PREFIX: &str = "s/";

/// Where a point of a machine lies.
pub fn name_of(machine: MachineId, sequence: u64) -> ObjectName {
    super::name(format!("s/{machine}/{sequence:016x}"))
}

/// Seals a point; answers the bytes and its id.
pub fn seal(
    vault: VaultId,
    header: &PointHeader,
    body: &PointBody,
    keys: &VaultKeys,
    machine: &MachineKeys,
) -> (Vec<u8>, PointId) {
    let name = name_of(header.machine, header.sequence);
    let bytes = seal_as(Kind::Point, &name, vault, (header, body), keys, machine);
    let id = point_id(blake3::hash(&bytes).as_bytes());
    (bytes, id)
}

/// Seals header and body as a point or a partial point.
pub(super) fn seal_as(
    kind: Kind,
    name: &ObjectName,
    vault: VaultId,
    (header, body): (&PointHeader, &PointBody),
    keys: &VaultKeys,
    machine: &MachineKeys,
) -> Vec<u8> {
    let draft = Draft {
        header: Some((header.encode(), &keys.index)),
        body: Some((body.encode(), &machine.meta)),
        signer: Some(&machine.signing),
        ..Draft::default()
    };
    draft.seal(kind, Binding { vault, name })
}

fn point_id(hash: &[u8; 32]) -> PointId {
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    PointId(id)
}

impl Point {
    /// Reads a point that `signer` signed.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: Vec<u8>,
        keys: &VaultKeys,
        signer: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let point = Self::open_as(Kind::Point, vault, name, bytes, keys, signer)?;
        if name_of(point.header.machine, point.header.sequence) != *name {
            return Err(ObjectError::Frame("the point's name is not its machine and sequence"));
        }
        Ok(point)
    }

    /// Reads a point or a partial point; that its name fits its header is the caller's check.
    pub(super) fn open_as(
        kind: Kind,
        vault: VaultId,
        name: &ObjectName,
        bytes: Vec<u8>,
        keys: &VaultKeys,
        signer: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let object = Object::parse(&bytes, kind)?;
        let binding = Binding { vault, name };
        object.verify(binding, signer)?;
        let header = PointHeader::decode(&object.open_header(binding, &keys.index)?)?;
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(Self { id: point_id(&hash), hash, header, kind, name: name.clone(), vault, bytes })
    }

    /// Opens the body with the machine's `K_meta`.
    pub fn body(&self, meta: &Secret) -> Result<PointBody, ObjectError> {
        let object = Object::parse(&self.bytes, self.kind)?;
        let binding = Binding { vault: self.vault, name: &self.name };
        Ok(PointBody::decode(&object.open_body(binding, meta)?)?)
    }

    /// Where it lies.
    pub fn name(&self) -> &ObjectName {
        &self.name
    }
}

impl PointHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let varint = |out: &mut Writer, tag, value: u64| {
            out.field(tag, |w| {
                w.varint(value);
            });
        };
        let raw = |out: &mut Writer, tag, value: &[u8]| {
            out.field(tag, |w| {
                w.raw(value);
            });
        };
        raw(&mut out, 2, self.machine.as_bytes());
        varint(&mut out, 4, self.sequence);
        raw(&mut out, 6, &self.previous);
        raw(&mut out, 8, self.session.as_bytes());
        varint(&mut out, 10, self.base);
        if let Some(plan) = &self.plan {
            raw(&mut out, 11, plan);
        }
        varint(&mut out, 12, self.set as u64);
        if let Some(occurrence) = &self.occurrence {
            out.field(13, |w| occurrence.write(w));
        }
        out.field(15, |w| self.started.write(w));
        out.field(17, |w| self.finished.write(w));
        raw(&mut out, 19, self.plan_name.as_bytes());
        out.field(25, |w| {
            let mut totals = self.totals;
            w.list(&totals.fields(), |w, number| {
                w.varint(**number);
            });
        });
        raw(&mut out, 26, self.references.as_bytes());
        out.field(28, |w| {
            w.list(&self.meta_packs, |w, pack| {
                w.raw(pack.as_bytes());
            });
        });
        raw(&mut out, 29, self.machine_name.as_bytes());
        raw(&mut out, 31, self.agent_version.as_bytes());
        varint(&mut out, 33, self.bootable.into());
        raw(&mut out, 35, self.snapshot_method.as_bytes());
        varint(&mut out, 36, 0);
        varint(&mut out, 37, self.meta_epoch.into());
        varint(&mut out, 39, if self.complete { 1 } else { 2 });
        raw(&mut out, 41, &self.source);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut header = Self::empty();
        let text = |value: &mut Reader<'_>| -> Result<String, DecodeError> {
            Ok(String::from_utf8_lossy(value.take(value.rest().len())?).into_owned())
        };
        Reader::new(bytes, "recovery point").fields(|tag, value| {
            match tag {
                2 => header.machine = MachineId(value.array()?),
                4 => header.sequence = value.varint()?,
                6 => header.previous = value.array()?,
                8 => header.session = SessionId(value.array()?),
                10 => header.base = value.varint()?,
                11 => header.plan = Some(value.array()?),
                12 => header.set = decode_set(value)?,
                13 => header.occurrence = Some(CivilTime::read(value)?),
                15 => header.started = CivilTime::read(value)?,
                17 => header.finished = CivilTime::read(value)?,
                19 => header.plan_name = text(value)?,
                25 => {
                    let numbers = value.list(Reader::varint)?;
                    header.totals.fields().into_iter().zip(numbers).for_each(|(field, number)| *field = number);
                }
                26 => header.references = BlobId(value.array()?),
                28 => header.meta_packs = value.list(|r| Ok(PackId(r.array()?)))?,
                29 => header.machine_name = text(value)?,
                31 => header.agent_version = text(value)?,
                33 => header.bootable = value.varint_max(1)? == 1,
                35 => header.snapshot_method = text(value)?,
                36 => refuse_unknown_features("recovery point", value)?,
                37 => header.meta_epoch = value.varint_max(u32::MAX.into())? as u32,
                39 => header.complete = value.varint_max(2)? == 1,
                41 => header.source = value.array()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }

    fn empty() -> Self {
        Self {
            machine: MachineId([0; 16]),
            sequence: 0,
            previous: [0; 32],
            session: SessionId([0; 16]),
            base: 0,
            plan: None,
            plan_name: String::new(),
            set: BackupSet::None,
            occurrence: None,
            started: CivilTime::default(),
            finished: CivilTime::default(),
            totals: Totals::default(),
            references: BlobId([0; 32]),
            meta_packs: Vec::new(),
            machine_name: String::new(),
            agent_version: String::new(),
            bootable: false,
            snapshot_method: String::new(),
            meta_epoch: 1,
            complete: false,
            source: [0; 16],
        }
    }
}

fn decode_set(value: &mut Reader<'_>) -> Result<BackupSet, DecodeError> {
    Ok(match value.varint_max(3)? {
        0 => BackupSet::None,
        1 => BackupSet::Monthly,
        2 => BackupSet::Weekly,
        _ => BackupSet::Daily,
    })
}

impl CivilTime {
    fn write(&self, out: &mut Writer) {
        self.at.write(out);
        out.zigzag(self.offset_minutes.into()).bytes(self.zone.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = Time::read(reader)?;
        let offset_minutes = i32::try_from(reader.zigzag()?).map_err(|_| reader.out_of_bounds())?;
        Ok(Self { at, offset_minutes, zone: reader.text()? })
    }
}

impl PointBody {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        if let Some(id) = &self.hunk_list {
            out.field(2, |w| {
                w.raw(id.as_bytes());
            });
        }
        out.field(4, |w| {
            w.list(&self.roots, |w, root| {
                w.bytes(root);
            });
        });
        for (tag, names) in [(5, &self.users), (7, &self.groups)] {
            out.field(tag, |w| {
                w.list(names, |w, (id, name)| {
                    w.varint((*id).into()).bytes(name);
                });
            });
        }
        out.field(9, |w| {
            w.list(&self.findings, |w, finding| {
                w.varint(finding.kind).bytes(&finding.path).bytes(finding.text.as_bytes());
            });
        });
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body = Self::default();
        let names =
            |value: &mut Reader<'_>| value.list(|r| Ok((r.varint_max(u32::MAX.into())? as u32, r.bytes()?.to_vec())));
        Reader::new(bytes, "recovery point body").fields(|tag, value| {
            match tag {
                2 => body.hunk_list = Some(BlobId(value.array()?)),
                4 => body.roots = value.list(|r| Ok(r.bytes()?.to_vec()))?,
                5 => body.users = names(value)?,
                7 => body.groups = names(value)?,
                9 => {
                    body.findings = value.list(|r| {
                        Ok(StoredFinding { kind: r.varint()?, path: r.bytes()?.to_vec(), text: r.text()? })
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(body)
    }
}
