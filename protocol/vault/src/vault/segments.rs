//! Generations, index segments, and the index they give.
//!
//! **Invariant**: a segment counts only when its writer's key, or a signed generation, vouches for its bytes.

use super::{Problem, Quarantine, Vault, VaultError};
use crate::crypto::VerifyingKey;
use crate::id::MachineId;
use crate::index::{Index, IndexBuilder, IndexError, TakenAs, TakenSegment};
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::record::generation::{self, Generation, Keeper};
use crate::record::machine::MachineRecord;
use crate::record::number_of;
use crate::record::segment::{self, Segment};
use crate::store::{ObjectInfo, ObjectName, Put, StoreError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};

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

/// The segments of a listing.
#[derive(Default)]
struct Listed {
    /// Those that count, in the listing's order, and why.
    live: Vec<(ObjectInfo, Trust)>,
    /// Those that may not count, although nothing replaced them.
    refused: HashSet<String>,
}

/// Live segments, to be read one by one.
pub(crate) struct LiveSegments(BTreeMap<ObjectName, Trust>);

/// Under this prefix segments of this machine are kept until its index takes them in.
const OWN_SEGMENTS: &str = "own-segments/";

/// Index segments, and those that cannot be used.
#[derive(Debug, Default)]
pub struct Segments {
    /// What counts.
    pub segments: Vec<Segment>,
    /// Their objects, in the same order.
    pub names: Vec<ObjectName>,
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

    /// One generation; none where it is not, or not signed.
    pub(crate) fn generation(&self, number: u64) -> Result<Option<Generation>, VaultError> {
        let name = Generation::name_of(number);
        let bytes = match self.store.get(&name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let keeper = Keeper { vault: self.id(), keys: &self.keys };
        Ok(Generation::open(keeper, &name, &bytes, self.config.maintenance_public).ok())
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
        let mut found = Segments::default();
        for (info, trust) in self.list_segments(generation, reader, &self.quarantine()?)?.live {
            let bytes = self.store.get(&info.name, OBJECT_BYTES_MAX)?;
            match self.open_segment(&info.name, &bytes, trust) {
                Ok(segment) => {
                    found.segments.push(segment);
                    found.names.push(info.name);
                }
                Err(error) => found.problems.push(Problem { name: info.name, error }),
            }
        }
        Ok(found)
    }

    /// Live segments that cannot be used, those in quarantine left out. One segment is in memory at a time.
    pub fn segment_problems(&self, generation: &Generation) -> Result<Vec<Problem>, VaultError> {
        let mut problems = Vec::new();
        for (info, trust) in self.list_segments(generation, None, &self.quarantine()?)?.live {
            let bytes = match self.store.get(&info.name, OBJECT_BYTES_MAX) {
                // A collector replaced it meanwhile.
                Err(StoreError::NotFound { .. }) => continue,
                // No object is that long.
                Err(error @ StoreError::Refused { .. }) if info.bytes > OBJECT_BYTES_MAX => {
                    problems.push(Problem { name: info.name, error: error.into() });
                    continue;
                }
                other => other?,
            };
            if let Err(error) = self.open_segment(&info.name, &bytes, trust) {
                problems.push(Problem { name: info.name, error });
            }
        }
        Ok(problems)
    }

    /// Writes a segment that a repair rebuilt from footers, or that lists what a collection moved, signed with the
    /// maintenance key; answers its name and hash.
    pub fn write_rebuilt(&self, segment: &Segment, generation: u64) -> Result<(ObjectName, [u8; 32]), VaultError> {
        let maintenance = self.maintenance("rebuilding the index")?;
        let name = segment.name(generation);
        let bytes = segment.seal_by(self.id(), &name, &self.keys, &maintenance);
        self.store.put_same(&name, &bytes)?;
        Ok((name, *blake3::hash(&bytes).as_bytes()))
    }

    /// Writes a segment that takes the place of others, once a generation lists it; answers its name and hash.
    pub(crate) fn write_merged(&self, segment: &Segment, generation: u64) -> Result<(String, [u8; 32]), VaultError> {
        let maintenance = self.maintenance("merging the index")?;
        let name = segment.merged_name(generation);
        let bytes = segment.seal_by(self.id(), &name, &self.keys, &maintenance);
        self.store.put_same(&name, &bytes)?;
        Ok((name.to_string(), *blake3::hash(&bytes).as_bytes()))
    }

    /// Lists the segments that count for somebody, to read some of them.
    pub(crate) fn live_segments(&self, generation: &Generation) -> Result<LiveSegments, VaultError> {
        let listed = self.list_segments(generation, None, &self.quarantine()?)?;
        Ok(LiveSegments(listed.live.into_iter().map(|(info, trust)| (info.name, trust)).collect()))
    }

    /// Which segments of the listing count.
    fn list_segments(
        &self,
        generation: &Generation,
        reader: Option<MachineId>,
        quarantine: &Quarantine,
    ) -> Result<Listed, VaultError> {
        let replaced: HashSet<&str> = generation.replaced_segments.iter().map(String::as_str).collect();
        let by_name = |segments| -> BTreeMap<&str, [u8; 32]> {
            let segments: &Vec<(String, [u8; 32])> = segments;
            segments.iter().map(|(name, hash)| (name.as_str(), *hash)).collect()
        };
        let (verified, merged) = (by_name(&generation.verified_segments), by_name(&generation.merged_segments));
        let mut writers = BTreeMap::new();
        let mut found = Listed::default();
        let listed = self.store.list_all(segment::PREFIX)?;
        if self.own.is_none() {
            self.remember_writers(&listed)?;
        }
        for info in listed {
            let name = info.name.as_str();
            // A merged segment is none before its generation is there, nor when that lost to another.
            if replaced.contains(name) || Segment::is_merged(name) && !merged.contains_key(name) {
                continue;
            }
            let writer = Segment::writer_of(&info.name).filter(|_| !quarantine.holds(&info.name));
            let trust = match (verified.get(name), writer) {
                (_, None) => Trust::None,
                (Some(hash), Some(_)) => Trust::Hash(*hash),
                (None, Some(writer)) => *match writers.entry(writer) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(self.trust(writer, reader)?),
                },
            };
            match (trust, merged.get(name)) {
                (Trust::None, _) => _ = found.refused.insert(name.to_owned()),
                // It counts for whom the machine's own segments do, and the generation vouches for its bytes.
                (Trust::Signer(_), Some(hash)) => found.live.push((info, Trust::Hash(*hash))),
                (Trust::Signer(_) | Trust::Hash(_), _) => found.live.push((info, trust)),
            }
        }
        Ok(found)
    }

    /// Reads the records of many unknown writers by one listing instead of one by one.
    fn remember_writers(&self, listed: &[ObjectInfo]) -> Result<(), VaultError> {
        let writers: BTreeSet<MachineId> = listed.iter().filter_map(|info| Segment::writer_of(&info.name)).collect();
        let unknown = writers.iter().filter(|writer| !self.remembered().contains_key(*writer)).count();
        if unknown > 2 { self.machines().map(drop) } else { Ok(()) }
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

    fn open_segment(&self, name: &ObjectName, bytes: &[u8], trust: Trust) -> Result<Segment, VaultError> {
        let opened = match trust {
            Trust::Hash(hash) if blake3::hash(bytes) != hash => Err(ObjectError::Signature),
            // The maintenance key signed this hash, so the machine's own signature adds nothing.
            Trust::Hash(_) => Segment::open(self.id(), name, bytes, &self.keys, None),
            Trust::Signer(signer) => match Segment::open(self.id(), name, bytes, &self.keys, Some(signer)) {
                // A repair wrote it again for the machine; what it lists counts for whom the machine's own would.
                Err(ObjectError::Signature) => {
                    Segment::open(self.id(), name, bytes, &self.keys, Some(self.config.maintenance_public))
                }
                other => other,
            },
            Trust::None => Err(ObjectError::Signature),
        };
        opened.map_err(|source| VaultError::Object { name: name.clone(), source })
    }

    /// The index of what may be reused or read by `reader`; see [`Vault::segments`]. Packs that are gone, or (for a
    /// writer) may go, are hidden, and so is what is in quarantine: [`Index::places`] shows it to readers that have no choice.
    ///
    /// Only segments that the local cache lacks are read; see [`Vault::with_local`].
    pub fn load_index(&self, generation: &Generation, reader: Option<MachineId>) -> Result<Index, VaultError> {
        let quarantine = self.quarantine()?;
        let listed = self.list_segments(generation, reader, &quarantine)?;
        let dir = self.local.index_dir(self.id(), reader);
        let built = match self.build_index(IndexBuilder::open(dir.as_deref(), self.id(), reader), &listed, reader) {
            // The damage dropped the cache, so the second build reads everything from the vault.
            Err(VaultError::Index(IndexError::Damaged { .. })) => {
                self.build_index(IndexBuilder::open(dir.as_deref(), self.id(), reader), &listed, reader)
            }
            other => other,
        };
        let mut index = built?;
        index.hide(&self.unusable(generation, reader)?)?;
        index.hide(&quarantine.packs())?;
        Ok(index)
    }

    fn build_index(
        &self,
        mut builder: IndexBuilder,
        listed: &Listed,
        reader: Option<MachineId>,
    ) -> Result<Index, VaultError> {
        let live = &listed.live;
        let known: BTreeMap<&str, Trust> = live.iter().map(|(info, trust)| (info.name.as_str(), *trust)).collect();
        let counts = |name| {
            let (trust, taken) = (known.get(name), builder.taken(name));
            trust.zip(taken).is_some_and(|(trust, (hash, taken_as))| trust.covers(hash, taken_as))
        };
        let stale: Vec<String> = builder.names().filter(|name| !counts(name)).map(str::to_owned).collect();
        // One that is neither replaced nor gone is in doubt, and so is every place that it told of.
        let in_doubt = |name: &String| known.contains_key(name.as_str()) || listed.refused.contains(name);
        if stale.iter().any(in_doubt) || builder.is_mostly_buried() {
            tracing::info!("A segment of the index cache counts no more; it is built anew");
            builder.begin_anew();
        } else {
            builder.let_go(&stale);
        }
        let new: Vec<_> = live.iter().filter(|(info, _)| builder.taken(info.name.as_str()).is_none()).collect();
        let infos: Vec<ObjectInfo> = new.iter().map(|(info, _)| info.clone()).collect();
        self.fetch_unless_kept(OWN_SEGMENTS, &infos, &mut |info, bytes| {
            let trust = known.get(info.name.as_str()).copied().unwrap_or(Trust::None);
            let bytes = match bytes {
                // A collector replaced it meanwhile. A writer sends again what it does not find.
                Err(StoreError::NotFound { name }) if reader.is_some() => {
                    tracing::info!(%name, "An index segment went away while the index was read");
                    return Ok(());
                }
                other => other?,
            };
            match self.open_segment(&info.name, &bytes, trust) {
                Ok(segment) => {
                    let hash = *blake3::hash(&bytes).as_bytes();
                    drop(bytes);
                    let (name, taken_as) = (info.name.as_str(), trust.taken_as());
                    Ok(builder.take_in(&TakenSegment { name, hash, taken_as, segment: &segment })?)
                }
                Err(error) => {
                    tracing::warn!(name = %info.name, %error, "An index segment is ignored; `check` tells more");
                    Ok(())
                }
            }
        })?;
        let index = builder.finish()?;
        if reader.is_some() {
            self.drop_kept(OWN_SEGMENTS);
        }
        Ok(index)
    }

    /// Keeps a segment that this machine wrote, for its next index.
    pub(crate) fn keep_segment(&self, name: &ObjectName, bytes: &[u8]) {
        self.keep(OWN_SEGMENTS, name, bytes);
    }
}

impl LiveSegments {
    /// Reads a segment. None when it does not count, or is not what its writer or a generation vouched for.
    pub(crate) fn read(&self, vault: &Vault, name: &ObjectName) -> Result<Option<Segment>, VaultError> {
        let Some(trust) = self.0.get(name) else { return Ok(None) };
        let bytes = match vault.store.get(name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let opened = vault.open_segment(name, &bytes, *trust);
        Ok(opened.inspect_err(|error| tracing::warn!(%name, %error, "An index segment is not merged")).ok())
    }
}

impl Trust {
    /// How the cache notes why a segment counted.
    fn taken_as(self) -> TakenAs {
        match self {
            Trust::Signer(signer) => TakenAs::SignedBy(signer.0),
            Trust::Hash(_) | Trust::None => TakenAs::Verified,
        }
    }

    /// Whether a segment that was taken in with this hash, for this reason, would be taken in now.
    fn covers(self, hash: &[u8; 32], taken_as: TakenAs) -> bool {
        match (self, taken_as) {
            (Trust::None, _) => false,
            (Trust::Hash(wanted), TakenAs::Verified | TakenAs::SignedBy(_)) => wanted == *hash,
            (Trust::Signer(signer), TakenAs::SignedBy(by)) => signer.0 == by,
            // Its signature was never looked at.
            (Trust::Signer(_), TakenAs::Verified) => false,
        }
    }
}
