//! What a cache holds: the vault and reader it serves, its files, and the segments that were taken in.
//!
//! File `manifest`: `"NKINDEX3"`, then in the primitives of FORMAT.md: vault id (16), reader (u8: 0 every signed segment, 1
//! the machine that follows), machine id (16), cache id (16), u32 next file number; packs: u32 file, u32 full pages, the
//! records behind them (varint count, 40 bytes each); three lists of runs (data, metadata, packs by id), each `u32 file,
//! varint entries`; list of segments: `bytes name, hash (32), u8 trust (0 by its hash, 1 by the signer that follows),
//! signer (32), numbers of its packs`; numbers of the packs that no segment lists any more; each a list of spans, as `varint
//! first, varint how many more`; and BLAKE3 of everything before.
//!
//! **Invariant**: a manifest is believed only when its hash matches; it then names everything the cache consists of.

use super::numbers::Numbers;
use super::packs::{IndexedPack, PACK_BYTES, PAGE_PACKS, PackTableInfo};
use super::run::RunInfo;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{MachineId, VaultId};
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8; 8] = b"NKINDEX3";
/// A longer manifest is not read: 200,000 segments.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// Why a segment counted when it was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenAs {
    /// A generation listed its hash.
    Verified,
    /// This key signed it.
    SignedBy([u8; 32]),
}

/// A segment whose packs are in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The hash of the object that was read.
    pub(crate) hash: [u8; 32],
    pub(crate) taken_as: TakenAs,
    /// The numbers of the packs it lists.
    pub(crate) packs: Numbers,
}

/// What a cache says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) vault: VaultId,
    pub(crate) reader: Option<MachineId>,
    pub(crate) cache: [u8; 16],
    pub(crate) next: u32,
    pub(crate) packs: PackTableInfo,
    /// Data, metadata, packs by id.
    pub(crate) runs: [Vec<RunInfo>; 3],
    /// By name.
    pub(crate) taken: BTreeMap<String, Taken>,
    /// Packs that no segment lists any more.
    pub(crate) buried: BTreeSet<u32>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(MAGIC).raw(self.vault.as_bytes()).u8(self.reader.is_some().into());
        out.raw(self.reader.unwrap_or(MachineId([0; 16])).as_bytes()).raw(&self.cache).u32(self.next);
        out.u32(self.packs.file).u32(self.packs.pages);
        out.list(&self.packs.tail, |out, pack| {
            let mut record = [0; PACK_BYTES];
            pack.write(&mut record);
            out.raw(&record);
        });
        for runs in &self.runs {
            out.list(runs, |out, run| {
                out.u32(run.file).varint(run.entries);
            });
        }
        out.varint(self.taken.len() as u64);
        for (name, taken) in &self.taken {
            out.bytes(name.as_bytes()).raw(&taken.hash);
            match taken.taken_as {
                TakenAs::Verified => out.u8(0).raw(&[0; 32]),
                TakenAs::SignedBy(signer) => out.u8(1).raw(&signer),
            };
            taken.packs.write(&mut out);
        }
        self.buried.iter().copied().collect::<Numbers>().write(&mut out);
        let hash = blake3::hash(out.as_slice());
        out.raw(hash.as_bytes());
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let refused = DecodeError::OutOfBounds { what: "index manifest" };
        let length = bytes.len().checked_sub(32).ok_or(refused.clone())?;
        let (content, hash) = bytes.split_at(length);
        if blake3::hash(content).as_bytes() != hash {
            return Err(refused);
        }
        let mut reader = Reader::new(content, "index manifest");
        if &reader.array::<8>()? != MAGIC {
            return Err(refused);
        }
        let vault = VaultId(reader.array()?);
        let (has_reader, machine) = (reader.u8()? == 1, MachineId(reader.array()?));
        let (cache, next) = (reader.array()?, reader.u32()?);
        let (file, pages) = (reader.u32()?, reader.u32()?);
        let tail = reader.list(|reader| IndexedPack::read(reader.take(PACK_BYTES)?).ok_or(reader.out_of_bounds()))?;
        let mut runs = [const { Vec::new() }; 3];
        for runs in &mut runs {
            *runs = reader.list(|reader| {
                let (file, entries) = (reader.u32()?, reader.varint()?);
                if entries == 0 { Err(reader.out_of_bounds()) } else { Ok(RunInfo { file, entries }) }
            })?;
        }
        let last_pack = pages.saturating_mul(PAGE_PACKS as u32).saturating_add(tail.len() as u32).saturating_sub(1);
        let taken = reader.list(|reader| read_taken(reader, last_pack))?.into_iter().collect();
        let buried = Numbers::read(&mut reader, last_pack)?.iter().collect();
        reader.end()?;
        let packs = PackTableInfo { file, pages, tail };
        Ok(Self { vault, reader: has_reader.then_some(machine), cache, next, packs, runs, taken, buried })
    }

    /// The numbers of all files it names.
    pub(crate) fn files(&self) -> Vec<u32> {
        let runs = self.runs.iter().flatten().map(|run| run.file);
        runs.chain([self.packs.file]).collect()
    }
}

fn read_taken(reader: &mut Reader<'_>, last_pack: u32) -> Result<(String, Taken), DecodeError> {
    let (name, hash) = (reader.text()?, reader.array()?);
    let (kind, signer) = (reader.u8()?, reader.array()?);
    let taken_as = match kind {
        0 => TakenAs::Verified,
        1 => TakenAs::SignedBy(signer),
        _ => return Err(reader.out_of_bounds()),
    };
    let packs = Numbers::read(reader, last_pack)?;
    Ok((name, Taken { hash, taken_as, packs }))
}
