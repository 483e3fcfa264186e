//! The third stage: fills data packs. The fourth puts them.
//!
//! **Invariant**: a chunk's place is known as soon as its block is sealed, its pack's name only when the pack is durable.

use super::budget::Permit;
use super::known::Slot;
use super::{BackupError, Shared};
use nightkeep_vault::pack::{Area, FinishedPack, GroupKey, PackWriter, PreparedBlock};
use nightkeep_vault::vault::VaultError;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Fills one data pack at a time.
pub(crate) struct Packer<'a> {
    shared: &'a Shared<'a>,
    open: Option<OpenPack>,
}

struct OpenPack {
    slot: Slot,
    writer: PackWriter,
    permit: Permit,
}

/// A pack on its way to the store.
pub(crate) struct OutgoingPack {
    slot: Slot,
    pack: FinishedPack,
    /// Its memory, given back when the pack is durable.
    _permit: Permit,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, open: None }
    }

    /// Hands out the open pack when the next block does not fit any more.
    pub(crate) fn finish_if_full(&mut self, block: &PreparedBlock) -> Option<OutgoingPack> {
        let pack_bytes = self.shared.options.pack_bytes;
        let full = self.open.as_ref().is_some_and(|open| open.writer.is_full_for(block.payload.len(), pack_bytes));
        if full { self.finish() } else { None }
    }

    /// Adds a block; may wait for the memory of a new pack.
    pub(crate) fn push(&mut self, block: PreparedBlock) -> Result<(), BackupError> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.shared.open_data_pack()?),
        };
        let members = block.members.clone();
        let number = open.writer.append(0, block);
        for member in &members {
            self.shared.known.place(&member.id, open.slot, number)?;
        }
        Ok(())
    }

    /// The last, partly filled pack.
    pub(crate) fn finish(&mut self) -> Option<OutgoingPack> {
        let OpenPack { slot, writer, permit } = self.open.take()?;
        let index_key = &self.shared.session.vault().keys().index;
        Some(OutgoingPack { slot, pack: writer.finish(index_key), _permit: permit })
    }
}

impl Shared<'_> {
    fn open_data_pack(&self) -> Result<OpenPack, BackupError> {
        let permit = self.pack_budget.take(self.options.pack_bytes as u64);
        let vault = self.session.vault();
        let (epoch, public) = vault.sealing_key();
        let group = GroupKey::for_data(vault.id(), public, epoch)
            .map_err(|_| VaultError::Forged { location: vault.store().location() })?;
        // The footer comes behind the blocks.
        let buffer = self.pack_buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = buffer.unwrap_or_else(|| Vec::with_capacity(self.options.pack_bytes + (1 << 20)));
        let writer = PackWriter::in_buffer(vault.id(), vec![group], buffer);
        Ok(OpenPack { slot: self.known.new_pack(), writer, permit })
    }

    /// Puts a pack and makes its name known.
    pub(crate) fn upload(&self, outgoing: OutgoingPack) -> Result<(), BackupError> {
        self.session.put_pack(Area::Data, &outgoing.pack)?;
        if let Ok(buffer) = Arc::try_unwrap(outgoing.pack.bytes) {
            self.pack_buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
        self.known.name_pack(outgoing.slot, outgoing.pack.id);
        self.durable_packs.fetch_add(1, Ordering::Release);
        // Not left to the catalogue, which may be many batches behind.
        self.session.write_segment_of(self.options.partial_every.bytes)?;
        if let Err(error) = self.session.heartbeat(self.clock.now().at) {
            tracing::debug!(%error, "A heartbeat was not written; the next pack tries again");
        }
        Ok(())
    }
}
