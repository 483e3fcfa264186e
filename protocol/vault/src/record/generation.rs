//! `g/ f/ d/`: what a garbage collection publishes, fences and decides. Written by host or owner only.

use super::forward::Forward;
use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::id::{MachineId, PackId, SessionId, VaultId};
use crate::keys::VaultKeys;
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::store::ObjectName;

/// Where generations lie.
pub const PREFIX: &str = "g/";
/// Where fences lie.
pub const FENCES: &str = "f/";
/// Where decisions lie.
pub const DECISIONS: &str = "d/";

/// What is live, what is about to go, and where moved blocks went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generation {
    /// Its number, from 1.
    pub number: u64,
    /// The number before.
    pub previous: u64,
    /// Names of the index segments that compacted ones replaced; every other segment counts.
    pub replaced_segments: Vec<String>,
    /// Packs that no writer may reuse until the decision spares them.
    pub tombstones: Vec<PackId>,
    /// Where blocks of repacked packs went.
    pub forwards: Vec<Forward>,
    /// Segments whose content the host has read and hashed: name and hash of the object.
    pub verified_segments: Vec<(String, [u8; 32])>,
    /// Packs that earlier decisions deleted although a segment still lists them.
    pub dead: Vec<PackId>,
    /// The last point of every machine that the collector saw.
    pub heads: Vec<Head>,
    /// The oldest generation whose objects are kept.
    pub horizon: u64,
    /// Sealed bytes of all blocks that points need, and how many points were forgotten: for the collector's doubts.
    pub figures: (u64, u64),
    /// Points that lost packs: machine and sequence.
    pub bad: Vec<(MachineId, u64)>,
    /// Packs that no segment listed.
    pub unlisted: Vec<PackId>,
    /// The sessions that may have written them.
    pub unlisted_sessions: Vec<(MachineId, SessionId)>,
    /// Merged segments that count: name and hash of the object.
    pub merged_segments: Vec<(String, [u8; 32])>,
    /// Sessions that are over and never closed: they may wake and put a segment, again or for the first time.
    pub never_closed: Vec<(MachineId, SessionId)>,
}

/// The end of a machine's chain as a collector saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The machine.
    pub machine: MachineId,
    /// The sequence of its last point.
    pub sequence: u64,
    /// The hash of that point.
    pub hash: [u8; 32],
    /// How many points there were.
    pub points: u64,
}

/// Sessions that a collector declares over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// The generation it belongs to.
    pub generation: u64,
    /// The fenced sessions.
    pub sessions: Vec<(MachineId, SessionId)>,
    /// When; it decides only how long garbage lives.
    pub at: Time,
}

/// The one delete list of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The generation it belongs to.
    pub generation: u64,
    /// The packs to delete.
    pub packs: Vec<PackId>,
}

/// Who reads and writes these records: the vault, its keys, and the maintenance key's public part.
#[derive(Clone, Copy)]
pub struct Keeper<'a> {
    /// The vault.
    pub vault: VaultId,
    /// Its shared keys.
    pub keys: &'a VaultKeys,
}

impl Keeper<'_> {
    pub(super) fn seal(
        &self,
        kind: Kind,
        name: &ObjectName,
        header: Vec<u8>,
        body: Vec<u8>,
        signer: &SigningKey,
    ) -> Vec<u8> {
        let draft = Draft {
            header: Some((header, &self.keys.index)),
            body: Some((body, &self.keys.index)),
            signer: Some(signer),
            ..Draft::default()
        };
        draft.seal(kind, Binding { vault: self.vault, name })
    }

    pub(super) fn open(
        &self,
        kind: Kind,
        name: &ObjectName,
        bytes: &[u8],
        by: VerifyingKey,
    ) -> Result<(Vec<u8>, Vec<u8>), ObjectError> {
        let object = Object::parse(bytes, kind)?;
        let binding = Binding { vault: self.vault, name };
        object.verify(binding, by)?;
        Ok((object.open_header(binding, &self.keys.index)?, object.open_body(binding, &self.keys.index)?))
    }
}

fn packs(value: &mut Reader<'_>) -> Result<Vec<PackId>, DecodeError> {
    value.list(|r| Ok(PackId(r.array()?)))
}

fn write_packs(body: &mut Writer, tag: u64, packs: &[PackId]) {
    body.field(tag, |w| {
        w.list(packs, |w, pack| {
            w.raw(pack.as_bytes());
        });
    });
}

fn sessions(value: &mut Reader<'_>) -> Result<Vec<(MachineId, SessionId)>, DecodeError> {
    value.list(|r| Ok((MachineId(r.array()?), SessionId(r.array()?))))
}

fn write_sessions(out: &mut Writer, tag: u64, sessions: &[(MachineId, SessionId)]) {
    out.field(tag, |w| {
        w.list(sessions, |w, (machine, session)| {
            w.raw(machine.as_bytes()).raw(session.as_bytes());
        });
    });
}

fn segments(value: &mut Reader<'_>) -> Result<Vec<(String, [u8; 32])>, DecodeError> {
    value.list(|r| Ok((r.text()?, r.array()?)))
}

fn write_segments(body: &mut Writer, tag: u64, segments: &[(String, [u8; 32])]) {
    body.field(tag, |w| {
        w.list(segments, |w, (name, hash)| {
            w.bytes(name.as_bytes()).raw(hash);
        });
    });
}

impl Head {
    fn write(&self, w: &mut Writer) {
        w.raw(self.machine.as_bytes()).varint(self.sequence).raw(&self.hash).varint(self.points);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { machine: MachineId(r.array()?), sequence: r.varint()?, hash: r.array()?, points: r.varint()? })
    }
}

impl Generation {
    /// Where generation `number` lies.
    pub fn name_of(number: u64) -> ObjectName {
        super::name(format!("{PREFIX}{number:016x}"))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, maintenance: &SigningKey) -> Vec<u8> {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.number);
        });
        header.field(4, |w| {
            w.varint(self.previous);
        });
        let mut body = Writer::new();
        body.field(2, |w| {
            w.list(&self.replaced_segments, |w, name| {
                w.bytes(name.as_bytes());
            });
        });
        write_packs(&mut body, 4, &self.tombstones);
        body.field(6, |w| {
            w.list(&self.forwards, |w, forward| forward.write(w));
        });
        write_segments(&mut body, 7, &self.verified_segments);
        write_packs(&mut body, 8, &self.dead);
        body.field(9, |w| {
            w.list(&self.heads, |w, head| head.write(w));
        });
        body.field(10, |w| {
            w.varint(self.horizon);
        });
        body.field(11, |w| {
            w.varint(self.figures.0).varint(self.figures.1);
        });
        body.field(12, |w| {
            w.list(&self.bad, |w, (machine, sequence)| {
                w.raw(machine.as_bytes()).varint(*sequence);
            });
        });
        write_packs(&mut body, 13, &self.unlisted);
        write_sessions(&mut body, 15, &self.unlisted_sessions);
        write_segments(&mut body, 16, &self.merged_segments);
        write_sessions(&mut body, 17, &self.never_closed);
        keeper.seal(Kind::Generation, &Self::name_of(self.number), header.finish(), body.finish(), maintenance)
    }

    /// Reads a generation that the maintenance key signed.
    pub fn open(keeper: Keeper<'_>, name: &ObjectName, bytes: &[u8], by: VerifyingKey) -> Result<Self, ObjectError> {
        let (header, body) = keeper.open(Kind::Generation, name, bytes, by)?;
        let mut generation = Self::default();
        Reader::new(&header, "generation").fields(|tag, value| {
            match tag {
                2 => generation.number = value.varint()?,
                4 => generation.previous = value.varint()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Reader::new(&body, "generation").fields(|tag, value| {
            match tag {
                2 => generation.replaced_segments = value.list(Reader::text)?,
                4 => generation.tombstones = packs(value)?,
                6 => generation.forwards = value.list(Forward::read)?,
                7 => generation.verified_segments = segments(value)?,
                8 => generation.dead = packs(value)?,
                9 => generation.heads = value.list(Head::read)?,
                10 => generation.horizon = value.varint()?,
                11 => generation.figures = (value.varint()?, value.varint()?),
                12 => generation.bad = value.list(|r| Ok((MachineId(r.array()?), r.varint()?)))?,
                13 => generation.unlisted = packs(value)?,
                15 => generation.unlisted_sessions = sessions(value)?,
                16 => generation.merged_segments = segments(value)?,
                17 => generation.never_closed = sessions(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(generation)
    }
}

impl Fence {
    /// Where the fence of a collector lies.
    pub fn name_of(generation: u64, collector: SessionId) -> ObjectName {
        super::name(format!("{FENCES}{generation:016x}/{collector}"))
    }

    /// The generation that a fence's name tells.
    pub fn generation_of(name: &ObjectName) -> Option<u64> {
        u64::from_str_radix(name.as_str().split('/').nth(1)?, 16).ok()
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, name: &ObjectName, maintenance: &SigningKey) -> Vec<u8> {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.generation);
        });
        write_sessions(&mut header, 4, &self.sessions);
        header.field(5, |w| self.at.write(w));
        keeper.seal(Kind::Fence, name, header.finish(), Vec::new(), maintenance)
    }

    /// Reads a fence that the maintenance key signed.
    pub fn open(keeper: Keeper<'_>, name: &ObjectName, bytes: &[u8], by: VerifyingKey) -> Result<Self, ObjectError> {
        let (header, _) = keeper.open(Kind::Fence, name, bytes, by)?;
        let mut fence = Self::default();
        Reader::new(&header, "fence").fields(|tag, value| {
            match tag {
                2 => fence.generation = value.varint()?,
                4 => fence.sessions = sessions(value)?,
                5 => fence.at = Time::read(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(fence)
    }
}

impl Decision {
    /// Where the decision of a generation lies.
    pub fn name_of(generation: u64) -> ObjectName {
        super::name(format!("{DECISIONS}{generation:016x}"))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, maintenance: &SigningKey) -> Vec<u8> {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.generation);
        });
        let mut body = Writer::new();
        write_packs(&mut body, 2, &self.packs);
        keeper.seal(Kind::Decision, &Self::name_of(self.generation), header.finish(), body.finish(), maintenance)
    }

    /// Reads a decision that the maintenance key signed.
    pub fn open(keeper: Keeper<'_>, name: &ObjectName, bytes: &[u8], by: VerifyingKey) -> Result<Self, ObjectError> {
        let (header, body) = keeper.open(Kind::Decision, name, bytes, by)?;
        let mut decision = Self::default();
        Reader::new(&header, "decision").fields(|tag, value| {
            let known = tag == 2;
            if known {
                decision.generation = value.varint()?;
            }
            Ok(known)
        })?;
        Reader::new(&body, "decision").fields(|tag, value| {
            let known = tag == 2;
            if known {
                decision.packs = packs(value)?;
            }
            Ok(known)
        })?;
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use crate::crypto::Secret;
    use crate::keys::CustomerRoot;

    #[test]
    fn what_a_collector_writes_comes_back_and_counts_only_when_signed() {
        let (vault, root) = (VaultId([1; 16]), CustomerRoot::generate());
        let (keys, maintenance) = (root.vault_keys(vault), root.maintenance(vault));
        let keeper = Keeper { vault, keys: &keys };
        let generation = Generation {
            number: 3,
            previous: 2,
            replaced_segments: vec!["i/0/a".into()],
            tombstones: vec![PackId([1; 32])],
            forwards: vec![Forward { old: PackId([2; 32]), new: PackId([3; 32]), first: 4, moved: vec![0b101] }],
            verified_segments: vec![("i/0/b".into(), [4; 32])],
            dead: vec![PackId([4; 32])],
            heads: vec![Head { machine: MachineId([5; 16]), sequence: 900, hash: [6; 32], points: 7 }],
            horizon: 2,
            figures: (1 << 40, 3),
            bad: vec![(MachineId([5; 16]), 12)],
            unlisted: vec![PackId([8; 32])],
            unlisted_sessions: vec![(MachineId([5; 16]), SessionId([9; 16]))],
            merged_segments: vec![("i/0/c".into(), [7; 32])],
            never_closed: vec![(MachineId([6; 16]), SessionId([7; 16]))],
        };
        let (name, bytes) = (Generation::name_of(3), generation.seal(keeper, &maintenance));
        assert_eq!(Generation::open(keeper, &name, &bytes, maintenance.public()).unwrap(), generation);
        let stranger = SigningKey::from_seed(Secret::generate());
        assert_eq!(Generation::open(keeper, &name, &bytes, stranger.public()), Err(ObjectError::Signature));
        assert!(Generation::open(keeper, &Generation::name_of(4), &bytes, maintenance.public()).is_err());

        let fence =
            Fence { generation: 3, sessions: vec![(MachineId([1; 16]), SessionId([2; 16]))], at: Time::default() };
        let name = Fence::name_of(3, SessionId([9; 16]));
        let bytes = fence.seal(keeper, &name, &maintenance);
        assert_eq!(Fence::open(keeper, &name, &bytes, maintenance.public()).unwrap(), fence);

        let decision = Decision { generation: 3, packs: vec![PackId([1; 32])] };
        let bytes = decision.seal(keeper, &maintenance);
        assert_eq!(Decision::open(keeper, &Decision::name_of(3), &bytes, maintenance.public()).unwrap(), decision);
    }
}
