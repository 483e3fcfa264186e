//! The recovery points of a machine: listing, finding, retention, and the end of the chain.
//!
//! **Invariant**: a point is listed only when its machine's key signed it under its own name.

use super::{Judge, Problem, Vault, VaultError};
use crate::codec::Time;
use crate::crypto::VerifyingKey;
use crate::id::MachineId;
use crate::object::{OBJECT_BYTES_MAX, ObjectError};
use crate::record::machine::MachineRecord;
use crate::record::partial;
use crate::record::point::{self, Point};
use crate::record::retention::{self, Action, RetentionRecord};
use crate::record::session::{Outcome, SessionRecord, State};
use crate::record::{number_of, points_prefix};
use crate::store::{ObjectInfo, ObjectName, StoreError};
use std::collections::BTreeMap;

/// Where a point stands with retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// In the trash: hidden, can be undeleted.
    pub trashed: bool,
    /// Forgotten: no root any more.
    pub forgotten: bool,
    /// Under a hold.
    pub held: bool,
    /// How many records there are, so which number the next has.
    pub records: u32,
    /// When it last went to the trash.
    pub trashed_at: Time,
    /// The hash of the point, as the records carry it.
    pub hash: [u8; 32],
}

/// Whether a point can be restored whole, as far as collections tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// No collection took anything from it.
    #[default]
    Sound,
    /// It landed after a collector had declared its session over, and counts on packs that are deleted.
    Lost,
}

impl Retained {
    /// A record more. A hold forbids trash and forgetting; what was forgotten once stays so.
    fn apply(&mut self, record: &RetentionRecord) {
        self.records = self.records.max(record.counter.saturating_add(1));
        self.hash = record.hash;
        match record.action {
            Action::Trash if !self.held => (self.trashed, self.trashed_at) = (true, record.at),
            Action::Forget if !self.held => self.forgotten = true,
            Action::Trash | Action::Forget => {}
            Action::Undelete => self.trashed = false,
            Action::Hold => self.held = true,
            Action::Release => self.held = false,
        }
    }
}

/// A point and where it stands.
#[derive(Debug, Clone)]
pub struct ListedPoint {
    /// The point.
    pub point: Point,
    /// Its retention.
    pub retained: Retained,
    /// Whether it can be restored.
    pub health: Health,
}

/// The points of a machine, and what of its chain cannot be used.
#[derive(Debug, Default)]
pub struct Points {
    /// Oldest first.
    pub points: Vec<ListedPoint>,
    /// Damaged or unsigned points.
    pub problems: Vec<Problem>,
}

impl Points {
    /// The points that can be listed and restored: neither in the trash nor forgotten.
    pub fn visible(&self) -> impl DoubleEndedIterator<Item = &ListedPoint> {
        self.points.iter().filter(|listed| !listed.retained.trashed && !listed.retained.forgotten)
    }

    /// The visible points that can be restored whole: only these are a parent, or the latest one.
    pub fn sound(&self) -> impl DoubleEndedIterator<Item = &ListedPoint> {
        self.visible().filter(|listed| listed.health == Health::Sound)
    }
}

/// So many machines are listed one by one.
const FEW_MACHINES: usize = 2;

impl Vault {
    /// The points of a machine with their retention, oldest first.
    pub fn points(&self, machine: MachineId) -> Result<Points, VaultError> {
        self.points_by(machine, &Judge::new(self)?)
    }

    /// The same, with a judge that is shared between machines.
    pub fn points_by(&self, machine: MachineId, judge: &Judge<'_>) -> Result<Points, VaultError> {
        let listed = self.store.list_all(&points_prefix(machine))?;
        if listed.is_empty() {
            return Ok(Points::default());
        }
        let retention = self.retention(machine)?;
        self.points_listed(machine, &listed, &retention, judge)
    }

    /// The points of some machines, machine by machine; those of many from one listing of all.
    pub fn points_of(
        &self,
        machines: &[MachineRecord],
        visit: &mut dyn FnMut(&MachineRecord, Points),
    ) -> Result<(), VaultError> {
        if machines.len() <= FEW_MACHINES {
            for record in machines {
                visit(record, self.points(record.machine)?);
            }
            return Ok(());
        }
        let judge = Judge::new(self)?;
        let mut listed = by_machine(self.store.list_all(point::PREFIX)?);
        let mut records = by_machine(self.store.list_all(retention::PREFIX)?);
        let of = |prefix, machine| format!("{prefix}{machine}/");
        let prefixes = listed.iter().map(|(machine, infos)| (of(point::PREFIX, machine), infos));
        let prefixes = prefixes.chain(records.iter().map(|(machine, infos)| (of(retention::PREFIX, machine), infos)));
        self.prefetch(prefixes)?;
        for record in machines {
            let points = listed.entry(record.machine).or_default();
            let retention = self.retention_listed(record.machine, records.entry(record.machine).or_default())?;
            visit(record, self.points_listed(record.machine, points, &retention, &judge)?);
        }
        Ok(())
    }

    fn points_listed(
        &self,
        machine: MachineId,
        listed: &[ObjectInfo],
        retention: &BTreeMap<u64, Retained>,
        judge: &Judge<'_>,
    ) -> Result<Points, VaultError> {
        let mut points = Points::default();
        let signer = self.verifying_key(machine)?;
        self.read_kept(&points_prefix(machine), listed, &mut |info, bytes| {
            match bytes.map_err(VaultError::from).and_then(|bytes| self.open_point(&info.name, bytes, signer)) {
                Ok(point) => {
                    let retained = retention.get(&point.header.sequence).copied().unwrap_or_default();
                    let health = judge.health(&point)?;
                    points.points.push(ListedPoint { point, retained, health });
                }
                Err(VaultError::Store(StoreError::NotFound { .. })) => {}
                Err(error @ VaultError::Object { .. }) => {
                    points.problems.push(Problem { name: info.name.clone(), error });
                }
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(points)
    }

    /// The partial points of a machine that no later point of their source supersedes: of each session the newest that
    /// can be read. What a discarded session left is none.
    ///
    /// `points` are the machine's, as [`Vault::points`] gave them.
    pub fn live_partials(&self, machine: MachineId, points: &Points) -> Result<Vec<Point>, VaultError> {
        let listed = self.store.list_all(&partial::prefix(machine))?;
        let mut sessions: BTreeMap<&str, Vec<(u32, &ObjectName)>> = BTreeMap::new();
        for name in listed.iter().map(|info| &info.name) {
            if let Some((session, counter)) = partial::parse(name) {
                sessions.entry(session).or_default().push((counter, name));
            }
        }
        let Some(signer) = self.verifying_key(machine)?.filter(|_| !sessions.is_empty()) else { return Ok(Vec::new()) };
        let mut live = Vec::new();
        for (session, mut names) in sessions {
            // Records lie in the order of their counters, so the last one tells how the session stands.
            let is_record = |name: &&ObjectName| {
                partial::parse(name).is_none() && name.as_str().rsplit_once('/').is_some_and(|(of, _)| of == session)
            };
            let last = listed.iter().map(|info| &info.name).rfind(is_record);
            if let Some(last) = last
                && self.is_discarded(last, signer)?
            {
                continue;
            }
            names.sort_unstable();
            let newest = names.iter().rev().find_map(|(_, name)| self.read_partial(name, signer).transpose());
            live.extend(newest.transpose()?.filter(|partial| !is_superseded(partial, points)));
        }
        Ok(live)
    }

    /// None for one that is damaged or gone.
    fn read_partial(&self, name: &ObjectName, signer: VerifyingKey) -> Result<Option<Point>, VaultError> {
        let bytes = match self.store.get(name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let opened = partial::open(self.id(), name, bytes, &self.keys, signer);
        Ok(opened.inspect_err(|error| tracing::warn!(%name, %error, "A partial point is ignored")).ok())
    }

    fn is_discarded(&self, name: &ObjectName, signer: VerifyingKey) -> Result<bool, VaultError> {
        let bytes = match self.store.get(name, OBJECT_BYTES_MAX) {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            other => other?,
        };
        let record = SessionRecord::open(self.id(), name, &bytes, &self.keys, signer);
        Ok(record.is_ok_and(|record| record.state == State::Closed(Outcome::Discarded)))
    }

    fn open_point(&self, name: &ObjectName, bytes: Vec<u8>, signer: Option<VerifyingKey>) -> Result<Point, VaultError> {
        let object = |source| VaultError::Object { name: name.clone(), source };
        let signer = signer.ok_or(ObjectError::Signature).map_err(object)?;
        Point::open(self.id(), name, bytes, &self.keys, signer).map_err(object)
    }

    /// What is decided about the points of a machine, by sequence, also of those that are collected.
    pub(crate) fn retention(&self, machine: MachineId) -> Result<BTreeMap<u64, Retained>, VaultError> {
        let listed = self.store.list_all(&format!("{}{machine}/", retention::PREFIX))?;
        self.retention_listed(machine, &listed)
    }

    fn retention_listed(
        &self,
        machine: MachineId,
        listed: &[ObjectInfo],
    ) -> Result<BTreeMap<u64, Retained>, VaultError> {
        let mut all: BTreeMap<u64, Retained> = BTreeMap::new();
        self.read_kept(&format!("{}{machine}/", retention::PREFIX), listed, &mut |info, bytes| {
            let bytes = bytes?;
            let maintenance = self.config.maintenance_public;
            let opened = RetentionRecord::open(self.id(), &info.name, &bytes, &self.keys, maintenance);
            let Ok(record) = opened.inspect_err(|error| {
                // FORMAT.md: as if absent. What it would have dropped stays.
                tracing::warn!(name = %info.name, %error, "A retention record is ignored");
            }) else {
                return Ok(());
            };
            all.entry(record.sequence).or_default().apply(&record);
            Ok(())
        })?;
        Ok(all)
    }

    /// Records a decision about a point.
    pub fn retain(&self, listed: &ListedPoint, action: Action, at: Time, reason: &str) -> Result<(), VaultError> {
        let maintenance = self.maintenance("deciding what is kept")?;
        let record = RetentionRecord {
            machine: listed.point.header.machine,
            sequence: listed.point.header.sequence,
            counter: listed.retained.records,
            hash: listed.point.hash,
            action,
            at,
            reason: reason.to_owned(),
        };
        self.store.put_same(&record.name(), &record.seal(self.id(), &self.keys, &maintenance))?;
        Ok(())
    }

    /// Finds a point by its id, or the start of it, among the visible points of all machines, or of one.
    pub fn find_point(&self, id: &str, machine: Option<MachineId>) -> Result<Vec<Point>, VaultError> {
        let mut found = Vec::new();
        let mut search = |points: Points| {
            let matching = points.visible().filter(|listed| listed.point.id.to_string().starts_with(id));
            found.extend(matching.map(|listed| listed.point.clone()));
        };
        match machine {
            Some(machine) => search(self.points(machine)?),
            None => self.points_of(&self.machines()?, &mut |_, points| search(points))?,
        }
        Ok(found)
    }

    /// The end of a machine's chain: sequence and hash of its newest object, for the next one.
    pub fn chain_head(&self, machine: MachineId) -> Result<(u64, [u8; 32]), VaultError> {
        let listed = self.store.list_all(&points_prefix(machine))?;
        let retained = self.store.list_all(&format!("{}{machine}/", retention::PREFIX))?;
        let newest_record = retained.iter().filter_map(|info| sequence_of_record(&info.name)).max().unwrap_or(0);
        let newest_point = listed.last().and_then(|info| number_of(&info.name)).unwrap_or(0);
        if newest_record > newest_point {
            // The newest point was collected; its record carries its hash on.
            let hash = self.retention(machine)?.get(&newest_record).map_or([0; 32], |retained| retained.hash);
            return Ok((newest_record, hash));
        }
        let Some(newest) = listed.last() else { return Ok((0, [0; 32])) };
        let mut hash = [0; 32];
        self.read_kept(&points_prefix(machine), std::slice::from_ref(newest), &mut |_, bytes| {
            hash = *blake3::hash(&bytes?).as_bytes();
            Ok(())
        })?;
        Ok((newest_point, hash))
    }
}

/// Whether a run that began after the partial's completed the same source.
fn is_superseded(partial: &Point, points: &Points) -> bool {
    let header = &partial.header;
    points.points.iter().any(|listed| {
        let point = &listed.point.header;
        point.source == header.source && point.sequence >= header.sequence
    })
}

/// A listing of `<prefix>/<machine>/…`, machine by machine.
fn by_machine(listed: Vec<ObjectInfo>) -> BTreeMap<MachineId, Vec<ObjectInfo>> {
    let mut machines: BTreeMap<MachineId, Vec<ObjectInfo>> = BTreeMap::new();
    for info in listed {
        let machine = info.name.as_str().split('/').nth(1).and_then(|machine| machine.parse().ok());
        if let Some(machine) = machine {
            machines.entry(machine).or_default().push(info);
        }
    }
    machines
}

fn sequence_of_record(name: &ObjectName) -> Option<u64> {
    let (sequence, _) = name.as_str().rsplit('/').next()?.split_once('-')?;
    u64::from_str_radix(sequence, 16).ok()
}

/// A point id as people type it: its start is enough when only one point has it.
pub fn is_point_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
