//! Reading back what machines wrote, before other machines may count on it.
//!
//! An infected machine could list a chunk under an id whose content is another: whoever deduplicated against it would
//! restore garbage. So a segment of an enrolled machine serves others only after every block of its packs was opened and
//! every content hashed, and the maintenance key signed that (security.md, rule 3).
//!
//! **Invariant**: a published generation lists a segment as verified only by the hash of the bytes that were verified.

use crate::id::PackId;
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::pack::{Area, PackError};
use crate::reader::BlockReader;
use crate::record::generation::{Decision, Generation};
use crate::record::segment::{self, Segment, SegmentPack};
use crate::store::{ObjectName, StoreError};
use crate::vault::{Problem, Vault, VaultError};
use std::collections::HashSet;
use std::sync::Arc;

/// What a verification did.
#[derive(Debug, Default)]
pub struct Verification {
    /// Segments that count for every machine from now on.
    pub segments: usize,
    /// Packs read for them.
    pub packs: usize,
    /// Bytes read for them.
    pub bytes: u64,
    /// Segments that must not be trusted, with what is wrong.
    pub rejected: Vec<Problem>,
}

/// Verifies every segment that no generation lists yet, and publishes those that hold. Needs the vault's root.
///
/// Safe to run twice or on several hosts at once: a generation that another took first is a [`VaultError::Conflict`],
/// and the next run goes on from there. `stop` is asked between packs; what was verified by then is published.
pub fn verify_segments(vault: &Arc<Vault>, stop: &dyn Fn() -> bool) -> Result<Verification, VaultError> {
    let before = vault.newest_generation()?;
    let mut done: HashSet<&str> = before.verified_segments.iter().map(|(name, _)| name.as_str()).collect();
    done.extend(before.replaced_segments.iter().map(String::as_str));
    let merged: HashSet<&str> = before.merged_segments.iter().map(|(name, _)| name.as_str()).collect();
    let blocks = BlockReader::new(vault.clone());
    // What a collection took away never comes back, and nobody is offered it.
    let gone = vault.unusable(&before, None)?;
    let (mut report, mut verified) = (Verification::default(), Vec::new());
    for info in vault.store().list_all(segment::PREFIX)? {
        let name = info.name.as_str();
        if done.contains(name) || Segment::is_merged(name) && !merged.contains(name) {
            continue;
        }
        if stop() {
            break;
        }
        let bytes = vault.store().get(&info.name, OBJECT_BYTES_MAX)?;
        match verify_segment(vault, &blocks, &info.name, &bytes, &gone, &mut report, stop) {
            Ok(true) => verified.push((info.name.to_string(), *blake3::hash(&bytes).as_bytes())),
            Ok(false) => {}
            // A collection is at work; the next run knows what it took.
            Err(VaultError::Store(StoreError::NotFound { name })) => {
                tracing::info!(%name, segment = %info.name, "A pack went away while its segment was verified");
            }
            Err(error @ VaultError::Store(_)) => return Err(error),
            Err(error) => report.rejected.push(Problem { name: info.name, error }),
        }
    }
    report.segments = verified.len();
    if !verified.is_empty() {
        publish(vault, before, verified)?;
    }
    Ok(report)
}

/// Whether a segment needs no doubt and was verified to its end.
fn verify_segment(
    vault: &Vault,
    blocks: &BlockReader,
    name: &ObjectName,
    bytes: &[u8],
    gone: &HashSet<PackId>,
    report: &mut Verification,
    stop: &dyn Fn() -> bool,
) -> Result<bool, VaultError> {
    let record = Segment::writer_of(name).map(|writer| vault.machine(writer)).transpose()?.flatten();
    let Some(record) = record.filter(|record| !record.owner_machine) else { return Ok(false) };
    let open = |signer| Segment::open(vault.id(), name, bytes, vault.keys(), Some(signer));
    let opened = match open(record.signing) {
        // A collection or a repair listed in the machine's name what the machine wrote.
        Err(ObjectError::Signature) => open(vault.config().maintenance_public),
        other => other,
    };
    let segment = opened.map_err(|source| VaultError::Object { name: name.clone(), source })?;
    for pack in segment.packs.iter().filter(|pack| pack.area == Area::Data && !gone.contains(&pack.id)) {
        if stop() {
            return Ok(false);
        }
        verify_pack(vault, blocks, pack)?;
        report.packs += 1;
        report.bytes += pack.bytes;
    }
    Ok(true)
}

/// Reads a pack whole, compares it with what a segment says of it, and opens every block.
fn verify_pack(vault: &Vault, blocks: &BlockReader, listed: &SegmentPack) -> Result<(), VaultError> {
    let (bytes, described) = vault.read_pack(listed.area, listed.id)?;
    let damaged = |source| VaultError::Pack { name: listed.area.name(listed.id), source };
    if described != *listed {
        return Err(damaged(PackError::Frame("its segment describes another pack")));
    }
    open_blocks(blocks, listed.area, listed.id, &bytes)
}

/// Opens every block of a pack whose bytes are at hand, and checks all content against its ids.
pub fn open_blocks(blocks: &BlockReader, area: Area, id: PackId, bytes: &[u8]) -> Result<(), VaultError> {
    let pack = blocks.open_bytes(area, id, bytes)?;
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    for info in &pack.footer.blocks {
        let range = info.offset as usize..info.offset as usize + info.sealed_bytes as usize;
        let block = bytes.get(range).ok_or(PackError::Frame("a block lies outside it"));
        sealed.clear();
        sealed.extend_from_slice(block.map_err(|source| VaultError::Pack { name: area.name(id), source })?);
        blocks.open_block_into(&pack, info, &mut sealed, &mut plain)?;
    }
    Ok(())
}

fn publish(vault: &Vault, before: Generation, verified: Vec<(String, [u8; 32])>) -> Result<(), VaultError> {
    // Nothing is collected here, so nothing is tombstoned and the decision is empty.
    let mut next = vault.succeed(before)?;
    next.verified_segments.extend(verified);
    vault.publish(&next)?;
    vault.decide(&Decision { generation: next.number, packs: Vec::new() })?;
    Ok(())
}
