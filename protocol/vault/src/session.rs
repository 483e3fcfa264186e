//! A writer's session, from its registration to the recovery point.
//!
//! **Invariant**: registered before the generation is read; packs before segments before the point; closed only when
//! the outcome is known (FORMAT.md, "Write order" and "Collection").

mod commit;

use crate::codec::Time;
use crate::crypto::random;
use crate::id::SessionId;
use crate::keys::MachineKeys;
use crate::pack::{Area, FinishedPack};
use crate::record::generation::Generation;
use crate::record::partial;
use crate::record::point::{PointBody, PointHeader};
use crate::record::segment::{Segment, SegmentPack};
use crate::record::session::{Outcome, SessionRecord, State};
use crate::store::{ObjectName, StoreError};
use crate::vault::{Vault, VaultError};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A segment is written when its packs hold this many bytes, so that a lost session loses little.
const SEGMENT_BYTES: u64 = 1 << 30;
/// And when they list this many chunks: at some 35 bytes each a segment stays far below the bound of a small object.
///
/// It also bounds memory: what a segment will say is kept until it is written, and sealed in one piece.
const SEGMENT_CHUNKS: u64 = 100_000;

/// A heartbeat is due this many seconds after the last; a collector misses it after a day.
const HEARTBEAT_SECONDS: i64 = 3600;

/// An open session. Shared between the threads that put packs.
pub struct Session {
    vault: Arc<Vault>,
    machine: MachineKeys,
    id: SessionId,
    generation: Generation,
    written: Mutex<Written>,
    bytes: AtomicU64,
    objects: AtomicU64,
    partials: Mutex<Partials>,
    /// The number of the next session record, and when the last one was written.
    records: AtomicU32,
    last_record: Mutex<Time>,
    /// Sequence of the machine's last point when the session opened; only an enrolled machine knows to be alone.
    sequence_before: Option<u64>,
    /// The point was sent, and nobody answered whether it arrived.
    in_doubt: AtomicBool,
}

/// What the session's partial points are numbered by.
#[derive(Default)]
struct Partials {
    count: u32,
    /// Sequence and hash of the point before, read when the first partial is written.
    head: Option<(u64, [u8; 32])>,
}

#[derive(Default)]
struct Written {
    packs: Vec<SegmentPack>,
    bytes: u64,
    chunks: u64,
    segments: u32,
}

impl Session {
    /// Registers a session, and only then reads the newest generation.
    pub fn open(vault: Arc<Vault>, machine: MachineKeys, now: Time) -> Result<Self, VaultError> {
        Self::register(vault, machine, None, now)
    }

    /// Opens the session that takes over from one that was fenced, and sends again what was lost.
    pub fn succeed(&self, now: Time) -> Result<Self, VaultError> {
        Self::register(self.vault.clone(), self.machine.clone(), Some(self.id), now)
    }

    fn register(
        vault: Arc<Vault>,
        machine: MachineKeys,
        successor_of: Option<SessionId>,
        now: Time,
    ) -> Result<Self, VaultError> {
        let id = SessionId(random());
        let session = Self {
            vault,
            machine,
            id,
            generation: Generation::default(),
            written: Mutex::default(),
            bytes: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            partials: Mutex::default(),
            records: AtomicU32::new(0),
            last_record: Mutex::default(),
            sequence_before: None,
            in_doubt: AtomicBool::new(false),
        };
        session.record(State::Open, successor_of, now)?;
        let generation = session.vault.newest_generation()?;
        let alone = session.vault.is_enrolled(session.machine.id);
        let head = alone.then(|| session.vault.chain_head(session.machine.id)).transpose()?;
        Ok(Self { generation, sequence_before: head.map(|(sequence, _)| sequence), ..session })
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who writes.
    pub fn machine(&self) -> &MachineKeys {
        &self.machine
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The generation this session builds on.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Bytes and objects written so far.
    pub fn stored(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.objects.load(Ordering::Relaxed))
    }

    /// Puts a pack; when this answers, it is durable.
    pub fn put_pack(&self, area: Area, pack: &FinishedPack) -> Result<(), VaultError> {
        self.vault.store().put_same_shared(&area.name(pack.id), &pack.bytes)?;
        self.stored_one(pack.bytes.len());
        match area {
            Area::Meta => self.vault.keep_meta_pack(pack.id, &pack.bytes),
            Area::Data => {}
        }
        let due = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.packs.push(SegmentPack::of(area, pack));
            written.bytes += pack.bytes.len() as u64;
            written.chunks += pack.footer.blocks.iter().map(|block| block.members.len() as u64).sum::<u64>();
            written.bytes >= SEGMENT_BYTES || written.chunks >= SEGMENT_CHUNKS
        };
        if due { self.write_segment() } else { Ok(()) }
    }

    /// Writes an index segment when the packs put since the last one hold at least so many bytes. Of a session that is
    /// cut off, no more than these and the packs in flight is sent again.
    pub fn write_segment_of(&self, bytes: u64) -> Result<(), VaultError> {
        let due = self.written.lock().unwrap_or_else(PoisonError::into_inner).bytes >= bytes;
        if due { self.write_segment() } else { Ok(()) }
    }

    /// Writes an index segment of the packs put since the last one.
    pub fn write_segment(&self) -> Result<(), VaultError> {
        let segment = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            if written.packs.is_empty() {
                return Ok(());
            }
            (written.bytes, written.chunks) = (0, 0);
            written.segments += 1;
            let packs = std::mem::take(&mut written.packs);
            Segment { machine: self.machine.id, session: self.id, counter: written.segments - 1, packs }
        };
        let name = segment.name(self.generation.number);
        let bytes = segment.seal(self.vault.id(), &name, self.vault.keys(), &self.machine);
        self.put(&name, &bytes)?;
        self.vault.keep_segment(&name, &bytes);
        Ok(())
    }

    /// Writes a partial point of what is confirmed so far: metadata packs are put, references written. The header's
    /// session, sequence and chain are set here.
    pub fn write_partial(&self, mut header: PointHeader, body: &PointBody) -> Result<(), VaultError> {
        self.write_segment()?;
        let mut partials = self.partials.lock().unwrap_or_else(PoisonError::into_inner);
        let head = match partials.head {
            Some(head) => head,
            None => *partials.head.insert(self.vault.chain_head(self.machine.id)?),
        };
        (header.session, header.base) = (self.id, self.generation.number);
        (header.sequence, header.previous) = (head.0 + 1, head.1);
        let (vault, keys) = (self.vault.id(), self.vault.keys());
        let (name, bytes) = partial::seal(vault, partials.count, &header, body, keys, &self.machine);
        // Counted before the put, so that a torn one is never met again under its name.
        partials.count += 1;
        self.put(&name, &bytes)
    }

    /// Tells that the session lives, when its last record is old enough. Decides only how long its packs are kept.
    pub fn heartbeat(&self, now: Time) -> Result<(), VaultError> {
        {
            let mut last = self.last_record.lock().unwrap_or_else(PoisonError::into_inner);
            if now.seconds.abs_diff(last.seconds) < HEARTBEAT_SECONDS.unsigned_abs() {
                return Ok(());
            }
            *last = now;
        }
        self.record(State::Heartbeat, None, now)
    }

    /// Closes the session. One whose commit is in doubt stays open: it is left to be fenced (W3).
    pub fn close(&self, outcome: Outcome, now: Time) -> Result<(), VaultError> {
        if self.in_doubt.load(Ordering::Acquire) {
            tracing::warn!(session = %self.id, "Whether the recovery point arrived is not known; its session stays open");
            return Ok(());
        }
        self.record(State::Closed(outcome), None, now)
    }

    /// Takes back what a stopped session put: packs and segments nobody can reference. Needs a store that may delete.
    pub fn discard(&self, now: Time) -> Result<(), VaultError> {
        let packs = std::mem::take(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner).packs);
        let partials = self.partials.lock().unwrap_or_else(PoisonError::into_inner).count;
        let partials = (0..partials).map(|counter| partial::name_of(self.machine.id, self.id, counter));
        let names = partials.chain(packs.iter().map(|pack| pack.area.name(pack.id)));
        for name in names {
            match self.vault.store().delete(&name) {
                // An agent behind a gateway deletes nothing: the collector of its vault does.
                Ok(()) | Err(StoreError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.close(Outcome::Discarded, now)
    }

    fn record(&self, state: State, successor_of: Option<SessionId>, at: Time) -> Result<(), VaultError> {
        let (machine, session) = (self.machine.id, self.id);
        let counter = self.records.fetch_add(1, Ordering::Relaxed);
        *self.last_record.lock().unwrap_or_else(PoisonError::into_inner) = at;
        let base = self.generation.number;
        let record = SessionRecord { machine, session, counter, state, base, at, successor_of };
        self.put(&record.name(), &record.seal(self.vault.id(), self.vault.keys(), &self.machine))
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), VaultError> {
        self.vault.store().put_same(name, bytes)?;
        self.stored_one(bytes.len());
        Ok(())
    }

    fn stored_one(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.objects.fetch_add(1, Ordering::Relaxed);
    }
}
