//! `i/…`: footers of written packs, so that no reader needs to open the packs to know what they hold.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::id::{MachineId, PackId, SessionId, VaultId};
use crate::keys::{MachineKeys, VaultKeys};
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::pack::{Area, FinishedPack, Footer, PackError, PackHeader};
use crate::store::ObjectName;

/// Where segments lie.
pub const PREFIX: &str = "i/";

/// Chunks that one segment lists at most when it is rebuilt or written for what moved; more would pass the bound of an object.
pub(crate) const CHUNKS_MAX: usize = 500_000;

/// What the counter of a merged segment's name begins with.
const MERGED: char = 'm';

/// Packs in groups that fit one segment each.
pub(crate) fn cut(mut packs: Vec<SegmentPack>) -> Vec<Vec<SegmentPack>> {
    let mut groups = Vec::new();
    while !packs.is_empty() {
        let mut chunks = 0;
        let fits = |pack: &&SegmentPack| {
            let fits = chunks < CHUNKS_MAX;
            chunks += pack.chunks();
            fits
        };
        let behind = packs.split_off(packs.iter().take_while(fits).count());
        groups.push(std::mem::replace(&mut packs, behind));
    }
    groups
}

/// A segment's name without the generation it was written in.
pub(crate) fn own_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A pack as a segment lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPack {
    /// With data or with metadata.
    pub area: Area,
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
    /// What it holds.
    pub footer: Footer,
}

/// The packs that a session wrote, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Who wrote it.
    pub machine: MachineId,
    /// In which session.
    pub session: SessionId,
    /// Which of the session's segments.
    pub counter: u32,
    /// The packs.
    pub packs: Vec<SegmentPack>,
}

impl SegmentPack {
    /// How many chunks or blobs it holds.
    pub(crate) fn chunks(&self) -> usize {
        self.footer.blocks.iter().map(|block| block.members.len()).sum()
    }

    /// The line for a finished pack.
    pub fn of(area: Area, pack: &FinishedPack) -> Self {
        Self { area, id: pack.id, bytes: pack.bytes.len() as u64, footer: pack.footer.clone() }
    }

    /// The line for a pack read back as a whole.
    pub fn of_bytes(area: Area, id: PackId, vault: VaultId, keys: &VaultKeys, bytes: &[u8]) -> Result<Self, PackError> {
        let header = PackHeader::decode(header_part(bytes)?)?;
        let footer = header.open_footer(vault, &keys.index, bytes)?;
        Ok(Self { area, id, bytes: bytes.len() as u64, footer })
    }
}

fn header_part(bytes: &[u8]) -> Result<&[u8], PackError> {
    let length = bytes.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    length.and_then(|length| bytes.get(..length)).ok_or(PackError::Frame("no pack begins here"))
}

impl Segment {
    /// Where it lies.
    pub fn name(&self, generation: u64) -> ObjectName {
        super::name(format!("{PREFIX}{generation:016x}/{}-{}-{:08x}", self.machine, self.session, self.counter))
    }

    /// Where it lies when a collection merged it out of others: there it counts only while a generation lists it.
    pub fn merged_name(&self, generation: u64) -> ObjectName {
        let counter = self.counter & 0x0fff_ffff;
        super::name(format!("{PREFIX}{generation:016x}/{}-{}-{MERGED}{counter:07x}", self.machine, self.session))
    }

    /// Whether a name is one of a merged segment.
    pub fn is_merged(name: &str) -> bool {
        name.rsplit('-').next().is_some_and(|counter| counter.starts_with(MERGED))
    }

    /// The machine that a segment's name says wrote it.
    pub fn writer_of(name: &ObjectName) -> Option<MachineId> {
        name.as_str().split('/').nth(2)?.split('-').next()?.parse().ok()
    }

    /// The object, signed by the machine.
    pub fn seal(&self, vault: VaultId, name: &ObjectName, keys: &VaultKeys, machine: &MachineKeys) -> Vec<u8> {
        self.seal_by(vault, name, keys, &machine.signing)
    }

    /// The object, signed by the machine or with the maintenance key.
    pub fn seal_by(&self, vault: VaultId, name: &ObjectName, keys: &VaultKeys, signer: &SigningKey) -> Vec<u8> {
        let (header, body) = self.encode();
        let draft = Draft {
            header: Some((header, &keys.index)),
            body: Some((body, &keys.index)),
            signer: Some(signer),
            ..Draft::default()
        };
        draft.seal(Kind::Segment, Binding { vault, name })
    }

    /// Reads a segment that `signer` signed; with no signer, one whose bytes are trusted by their hash.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: &[u8],
        keys: &VaultKeys,
        signer: Option<VerifyingKey>,
    ) -> Result<Self, ObjectError> {
        let object = Object::parse(bytes, Kind::Segment)?;
        let binding = Binding { vault, name };
        signer.map_or(Ok(()), |signer| object.verify(binding, signer))?;
        let header = object.open_header(binding, &keys.index)?;
        let body = object.open_body(binding, &keys.index)?;
        Ok(Self::decode(&header, &body)?)
    }

    pub(super) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut header = Writer::new();
        for (tag, id) in [(2, self.machine.as_bytes()), (4, self.session.as_bytes())] {
            header.field(tag, |w| {
                w.raw(id);
            });
        }
        header.field(6, |w| {
            w.varint(self.counter.into());
        });
        let mut body = Writer::new();
        body.list(&self.packs, |out, pack| {
            out.u8(pack.area.letter() as u8).raw(pack.id.as_bytes()).varint(pack.bytes);
            // The footer's offsets count from the header's end, which its first block tells.
            let start = pack.footer.blocks.first().map_or(0, |block| block.offset);
            out.varint(u64::from(start)).bytes(&pack.footer.encode());
        });
        (header.finish(), body.finish())
    }

    pub(super) fn decode(header: &[u8], body: &[u8]) -> Result<Self, DecodeError> {
        let (machine, session) = (MachineId([0; 16]), SessionId([0; 16]));
        let mut segment = Self { machine, session, counter: 0, packs: Vec::new() };
        Reader::new(header, "index segment").fields(|tag, value| {
            match tag {
                2 => segment.machine = MachineId(value.array()?),
                4 => segment.session = SessionId(value.array()?),
                6 => segment.counter = value.varint_max(u32::MAX.into())? as u32,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let mut reader = Reader::new(body, "index segment");
        segment.packs = reader.list(|reader| {
            let area = match reader.u8()? {
                b'p' => Area::Data,
                b'm' => Area::Meta,
                _ => return Err(reader.out_of_bounds()),
            };
            let id = PackId(reader.array()?);
            let bytes = reader.varint_max(crate::pack::PACK_BYTES_MAX)?;
            let start = reader.varint_max(u32::MAX.into())? as u32;
            Ok(SegmentPack { area, id, bytes, footer: Footer::decode(reader.bytes()?, start)? })
        })?;
        reader.end()?;
        Ok(segment)
    }
}
