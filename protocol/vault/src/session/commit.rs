//! The commit: the one put that makes a backup exist, and the look back at what collectors did meanwhile.
//!
//! **Invariant**: a point is answered as written only when no collector can have taken anything from it (W4).

use super::Session;
use crate::codec::Time;
use crate::id::PointId;
use crate::object::OBJECT_BYTES_MAX;
use crate::record::point::{self, PointBody, PointHeader};
use crate::record::points_prefix;
use crate::record::session::Outcome;
use crate::store::{ObjectName, Put, StoreError};
use crate::vault::{Judge, VaultError};
use std::sync::atomic::Ordering;

/// How often a put without an answer is repeated before its session is left in doubt. The store has its own patience
/// below this.
const PUTS_MAX: usize = 4;
/// Other writers of one machine may take this many sequences in a row.
const SEQUENCES_MAX: usize = 64;

impl Session {
    /// Writes the recovery point: with this one put the backup exists. The header's sequence and chain are set here.
    ///
    /// [`VaultError::Fenced`] when a collector tombstoned packs that the point needs: then [`Session::succeed`] opens the
    /// session in which everything lost is sent again, and this one stays open until that is done.
    ///
    /// An owner may run twice at once on one machine: two runs leave two points. An enrolled machine is the only one with
    /// its keys: when somebody else wrote a point meanwhile, its identity is used twice, and the commit is refused.
    pub fn commit(&self, mut header: PointHeader, body: &PointBody, now: Time) -> Result<PointId, VaultError> {
        self.write_segment()?;
        header.session = self.id;
        header.base = self.generation.number;
        let id = self.put_next(&mut header, body)?;
        let lost = Judge::new(&self.vault)?.lost_packs(&header)?;
        if !lost.is_empty() {
            tracing::info!(session = %self.id, packs = lost.len(), "A collection took packs from under this run");
            return Err(VaultError::Fenced { packs: lost.len() });
        }
        self.close(Outcome::Committed, now)?;
        self.vault.trim_meta_packs(&header.meta_packs);
        Ok(id)
    }

    /// Puts the point at the end of the machine's chain.
    fn put_next(&self, header: &mut PointHeader, body: &PointBody) -> Result<PointId, VaultError> {
        let mut taken = None;
        for _ in 0..SEQUENCES_MAX {
            let (sequence, previous) = self.vault.chain_head(self.machine.id)?;
            let name = point::name_of(self.machine.id, sequence + 1);
            if self.sequence_before.is_some_and(|before| before != sequence) {
                return Err(VaultError::Conflict { name: taken.unwrap_or(name) });
            }
            (header.sequence, header.previous) = (sequence + 1, previous);
            let (bytes, id) = point::seal(self.vault.id(), header, body, self.vault.keys(), &self.machine);
            match self.put_point(&name, &bytes)? {
                Put::Created => return Ok(id),
                Put::Exists => taken = Some(name),
            }
        }
        Err(VaultError::Conflict { name: point::name_of(self.machine.id, header.sequence) })
    }

    /// Puts the point until the store answers: created, or there with our bytes, or taken by another for good.
    fn put_point(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, VaultError> {
        let mut puts = 1;
        loop {
            let put = self.try_put_point(name, bytes);
            match put {
                Ok(put) => {
                    self.in_doubt.store(false, Ordering::Release);
                    return Ok(put);
                }
                // Without an answer it may have arrived, or arrive yet: only this name with these bytes may be tried.
                Err(StoreError::Failed { .. }) if puts < PUTS_MAX => {
                    self.in_doubt.store(true, Ordering::Release);
                    puts += 1;
                }
                Err(error) => {
                    if matches!(error, StoreError::Failed { .. }) {
                        self.in_doubt.store(true, Ordering::Release);
                    }
                    return Err(error.into());
                }
            }
        }
    }

    fn try_put_point(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        let put = self.vault.store().put_create(name, bytes)?;
        match put {
            Put::Exists if self.vault.store().get(name, OBJECT_BYTES_MAX)? != bytes => Ok(Put::Exists),
            Put::Created | Put::Exists => {
                self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.objects.fetch_add(1, Ordering::Relaxed);
                self.vault.keep(&points_prefix(self.machine.id), name, bytes);
                Ok(Put::Created)
            }
        }
    }
}
