//! `g/ f/ d/`: what a garbage collection publishes, fences and decides. Written by host or owner only.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::id::{MachineId, PackId, SessionId, VaultId};
use crate::keys::VaultKeys;
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::store::ObjectName;

/// Where generations lie.
pub const PREFIX: &str = "g/";

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
    /// Old pack, new pack.
    pub forwards: Vec<(PackId, PackId)>,
    /// Segments whose content the host has read and hashed: name and hash of the object.
    pub verified_segments: Vec<(String, [u8; 32])>,
}

/// Sessions that a collector declares over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fence {
    /// The generation it belongs to.
    pub generation: u64,
    /// The fenced sessions.
    pub sessions: Vec<(MachineId, SessionId)>,
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
    fn seal(&self, kind: Kind, name: &ObjectName, header: Vec<u8>, body: Vec<u8>, signer: &SigningKey) -> Vec<u8> {
        let draft = Draft {
            header: Some((header, &self.keys.index)),
            body: Some((body, &self.keys.index)),
            signer: Some(signer),
            ..Draft::default()
        };
        draft.seal(kind, Binding { vault: self.vault, name })
    }

    fn open(
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
        body.field(4, |w| {
            w.list(&self.tombstones, |w, pack| {
                w.raw(pack.as_bytes());
            });
        });
        body.field(6, |w| {
            w.list(&self.forwards, |w, (old, new)| {
                w.raw(old.as_bytes()).raw(new.as_bytes());
            });
        });
        body.field(7, |w| {
            w.list(&self.verified_segments, |w, (name, hash)| {
                w.bytes(name.as_bytes()).raw(hash);
            });
        });
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
                6 => generation.forwards = value.list(|r| Ok((PackId(r.array()?), PackId(r.array()?))))?,
                7 => generation.verified_segments = value.list(|r| Ok((r.text()?, r.array()?)))?,
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
        super::name(format!("f/{generation:016x}/{collector}"))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, name: &ObjectName, maintenance: &SigningKey) -> Vec<u8> {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.generation);
        });
        header.field(4, |w| {
            w.list(&self.sessions, |w, (machine, session)| {
                w.raw(machine.as_bytes()).raw(session.as_bytes());
            });
        });
        keeper.seal(Kind::Fence, name, header.finish(), Vec::new(), maintenance)
    }

    /// Reads a fence that the maintenance key signed.
    pub fn open(keeper: Keeper<'_>, name: &ObjectName, bytes: &[u8], by: VerifyingKey) -> Result<Self, ObjectError> {
        let (header, _) = keeper.open(Kind::Fence, name, bytes, by)?;
        let mut fence = Self::default();
        Reader::new(&header, "fence").fields(|tag, value| {
            match tag {
                2 => fence.generation = value.varint()?,
                4 => fence.sessions = value.list(|r| Ok((MachineId(r.array()?), SessionId(r.array()?))))?,
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
        super::name(format!("d/{generation:016x}"))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, maintenance: &SigningKey) -> Vec<u8> {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.generation);
        });
        let mut body = Writer::new();
        body.field(2, |w| {
            w.list(&self.packs, |w, pack| {
                w.raw(pack.as_bytes());
            });
        });
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
            forwards: vec![(PackId([2; 32]), PackId([3; 32]))],
            verified_segments: vec![("i/0/b".into(), [4; 32])],
        };
        let (name, bytes) = (Generation::name_of(3), generation.seal(keeper, &maintenance));
        assert_eq!(Generation::open(keeper, &name, &bytes, maintenance.public()).unwrap(), generation);
        let stranger = SigningKey::from_seed(Secret::generate());
        assert_eq!(Generation::open(keeper, &name, &bytes, stranger.public()), Err(ObjectError::Signature));
        assert!(Generation::open(keeper, &Generation::name_of(4), &bytes, maintenance.public()).is_err());

        let fence = Fence { generation: 3, sessions: vec![(MachineId([1; 16]), SessionId([2; 16]))] };
        let name = Fence::name_of(3, SessionId([9; 16]));
        let bytes = fence.seal(keeper, &name, &maintenance);
        assert_eq!(Fence::open(keeper, &name, &bytes, maintenance.public()).unwrap(), fence);

        let decision = Decision { generation: 3, packs: vec![PackId([1; 32])] };
        let bytes = decision.seal(keeper, &maintenance);
        assert_eq!(Decision::open(keeper, &Decision::name_of(3), &bytes, maintenance.public()).unwrap(), decision);
    }
}
