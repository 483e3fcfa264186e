//! Generations, index segments, and the index they give.
//!
//! **Invariant**: a segment counts only when its writer's key, or a signed generation, vouches for its bytes.

use super::{Problem, Vault, VaultError};
use crate::crypto::VerifyingKey;
use crate::id::{MachineId, PackId};
use crate::index::Index;
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::record::generation::{self, Generation, Keeper};
use crate::record::machine::MachineRecord;
use crate::record::number_of;
use crate::record::segment::{self, Segment};
use crate::store::{ObjectName, Put};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

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

/// Index segments, and those that cannot be used.
#[derive(Debug, Default)]
pub struct Segments {
    /// What counts.
    pub segments: Vec<Segment>,
    /// Damaged or exchanged segments.
    pub problems: Vec<Problem>,
}

impl Vault {
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
}
