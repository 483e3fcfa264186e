//! The third stage: fills data packs. The fourth puts them.
//!
//! **Invariant**: a chunk's place is known as soon as its block is sealed, its pack's name only when the pack is durable.

use super::known::Slot;
use super::{BackupError, Shared};
use nightkeep_vault::pack::{Area, FinishedPack, GroupKey, PackWriter, PreparedBlock};
use nightkeep_vault::vault::VaultError;

/// Fills one data pack at a time.
pub(crate) struct Packer<'a> {
    shared: &'a Shared<'a>,
    open: Option<(Slot, PackWriter)>,
}

/// A pack on its way to the store.
pub(crate) struct OutgoingPack {
    slot: Slot,
    pack: FinishedPack,
}

impl<'a> Packer<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, open: None }
    }

    /// Adds a block; answers the pack that was full before it.
    pub(crate) fn push(&mut self, block: PreparedBlock) -> Result<Option<OutgoingPack>, BackupError> {
        let pack_bytes = self.shared.options.pack_bytes;
        let full = self.open.as_ref().is_some_and(|(_, writer)| writer.is_full_for(block.payload.len(), pack_bytes));
        let finished = if full { self.finish() } else { None };
        let (slot, writer) = match &mut self.open {
            Some(open) => open,
            none => none.insert((self.shared.known.new_pack(), self.shared.new_data_pack()?)),
        };
        let members = block.members.clone();
        let number = writer.append(0, block);
        for member in &members {
            self.shared.known.place(&member.id, *slot, number)?;
        }
        Ok(finished)
    }

    /// The last, partly filled pack.
    pub(crate) fn finish(&mut self) -> Option<OutgoingPack> {
        let (slot, writer) = self.open.take()?;
        let index_key = &self.shared.session.vault().keys().index;
        Some(OutgoingPack { slot, pack: writer.finish(index_key) })
    }
}

impl Shared<'_> {
    fn new_data_pack(&self) -> Result<PackWriter, BackupError> {
        let vault = self.session.vault();
        let (epoch, public) = vault.sealing_key();
        let group = GroupKey::for_data(vault.id(), public, epoch)
            .map_err(|_| VaultError::Forged { location: vault.store().location() })?;
        // A block may pass the wished size by its own length, and the footer comes behind.
        Ok(PackWriter::new(vault.id(), vec![group], self.options.pack_bytes + (1 << 20)))
    }

    /// Puts a pack and makes its name known.
    pub(crate) fn upload(&self, outgoing: OutgoingPack) -> Result<(), BackupError> {
        self.session.put_pack(Area::Data, &outgoing.pack)?;
        self.known.name_pack(outgoing.slot, outgoing.pack.id);
        Ok(())
    }
}
