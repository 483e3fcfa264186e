//! Which sessions are open, which are over.
//!
//! **Invariant**: a session counts as closed only by its own signed record, and as over by a fence only when the fence is
//! still kept, so that the session finds it when it wakes.

use super::{CollectError, parallel::parallel};
use crate::codec::Time;
use crate::id::{MachineId, SessionId};
use crate::object::OBJECT_BYTES_MAX;
use crate::record::session::{SessionRecord, State};
use crate::store::{ObjectName, StoreError};
use crate::vault::{Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Where sessions lie.
const PREFIX: &str = "w/";
/// A fenced session without a heartbeat for so long is over.
const SILENT_SECONDS: i64 = 24 * 3600;
/// A fenced session is over after so long, whatever its clock says.
const FENCED_SECONDS: i64 = 30 * 24 * 3600;

/// A session's machine and id.
pub(crate) type SessionKey = (MachineId, SessionId);

/// How a session stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionState {
    /// Its own record closes it.
    pub(crate) closed: bool,
    /// The time of its last record, by its own clock.
    last: Option<Time>,
    /// The oldest kept fence that names it.
    fenced: Option<Time>,
    /// The newest generation whose fence names it.
    fenced_by: u64,
    /// The generation it builds on, where a heartbeat tells.
    base: Option<u64>,
    /// Its records, in the order of their counters.
    pub(crate) records: Vec<ObjectName>,
    /// Its partial points.
    pub(crate) partials: Vec<ObjectName>,
}

impl SessionState {
    /// Whether its packs may be tombstoned.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        let Some(fenced) = self.fenced else { return self.closed };
        let since = |at: Time| now.seconds.saturating_sub(at.seconds);
        let silent = since(fenced) >= SILENT_SECONDS && self.last.is_none_or(|last| since(last) >= SILENT_SECONDS);
        self.closed || silent || since(fenced) >= FENCED_SECONDS
    }
}

impl SessionState {
    /// Whether its records may go: it closed itself, or a fence names it that its writer and every reader of its point
    /// mind. They mind those above its base alone; while there is none, its record keeps it named by every later fence.
    ///
    /// `segment_base` is the generation in the names of its segments.
    pub(crate) fn is_minded(&self, segment_base: Option<u64>) -> bool {
        self.closed || self.base.or(segment_base).is_some_and(|base| self.fenced_by > base)
    }
}

/// Every session that has a record or a partial point.
pub(crate) type Sessions = BTreeMap<SessionKey, SessionState>;

/// Lists and reads the sessions, with the fences that name them.
pub(crate) fn list(vault: &Vault, machines: &BTreeSet<MachineId>, workers: usize) -> Result<Sessions, CollectError> {
    let names = list_twice(vault, machines, workers)?;
    let mut sessions = Sessions::new();
    for name in names {
        let Some((key, is_record)) = parse(&name) else { continue };
        let state = sessions.entry(key).or_default();
        if is_record { state.records.push(name) } else { state.partials.push(name) }
    }
    let lasts: Vec<(SessionKey, ObjectName)> =
        sessions.iter().filter_map(|(key, state)| Some((*key, state.records.last()?.clone()))).collect();
    for (key, record) in parallel(&lasts, workers, |(key, name)| Ok((*key, read(vault, *key, name)?)))? {
        if let (Some(state), Some(record)) = (sessions.get_mut(&key), record) {
            state.closed = matches!(record.state, State::Closed(_));
            state.last = Some(record.at);
            state.base = Some(record.base).filter(|_| record.state != State::Open);
        }
    }
    for fence in vault.fences()? {
        for key in fence.sessions {
            if let Some(state) = sessions.get_mut(&key) {
                state.fenced = Some(state.fenced.map_or(fence.at, |before| before.min(fence.at)));
                state.fenced_by = state.fenced_by.max(fence.generation);
            }
        }
    }
    Ok(sessions)
}

/// One listing of all and one of each machine must agree: a session that a listing leaves out would lose its packs.
fn list_twice(
    vault: &Vault,
    machines: &BTreeSet<MachineId>,
    workers: usize,
) -> Result<BTreeSet<ObjectName>, CollectError> {
    let all: BTreeSet<ObjectName> = vault.store().list_all(PREFIX)?.into_iter().map(|info| info.name).collect();
    let mut machines = machines.clone();
    machines.extend(all.iter().filter_map(parse).map(|((machine, _), _)| machine));
    let machines: Vec<MachineId> = machines.into_iter().collect();
    let parts = parallel(&machines, workers, |machine| Ok(vault.store().list_all(&format!("{PREFIX}{machine}/"))?))?;
    let each: BTreeSet<ObjectName> = parts.into_iter().flatten().map(|info| info.name).collect();
    // What only the second listing shows may be new; what only the first one shows may be deleted by now, by a session
    // that was discarded or another collector, but is not there and unlisted.
    for name in all.difference(&each) {
        if vault.store().head(name)?.is_some() {
            return Err(CollectError::Shrunken { what: name.to_string() });
        }
    }
    Ok(all.union(&each).cloned().collect())
}

fn parse(name: &ObjectName) -> Option<(SessionKey, bool)> {
    let mut parts = name.as_str().split('/').skip(1);
    let key = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let last = parts.next()?;
    Some((key, !last.starts_with("partial-")))
}

/// A record; none when it is gone or not its machine's. Such a session counts as open.
fn read(vault: &Vault, key: SessionKey, name: &ObjectName) -> Result<Option<SessionRecord>, VaultError> {
    let bytes = match vault.store().get(name, OBJECT_BYTES_MAX) {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let Some(signer) = vault.verifying_key(key.0)? else { return Ok(None) };
    let opened = SessionRecord::open(vault.id(), name, &bytes, vault.keys(), signer);
    let opened = opened.inspect_err(|error| tracing::warn!(%name, %error, "A session record is ignored"));
    Ok(opened.ok().filter(|record| (record.machine, record.session) == key))
}

/// The session that this one took over from, as its opening record says.
pub(crate) fn predecessor(
    vault: &Vault,
    key: SessionKey,
    state: &SessionState,
) -> Result<Option<SessionId>, VaultError> {
    let Some(first) = state.records.first() else { return Ok(None) };
    Ok(read(vault, key, first)?.and_then(|record| record.successor_of))
}

/// The sessions a fence must name: everything that has a record and did not close itself.
pub(crate) fn unclosed(sessions: &Sessions) -> Vec<SessionKey> {
    let open = sessions.iter().filter(|(_, state)| !state.closed && !state.records.is_empty());
    open.map(|(key, _)| *key).collect()
}

/// Sessions of `wanted` that have an opening record although `listed` does not show them: the listing is not the truth.
pub(crate) fn hidden(
    vault: &Vault,
    listed: &Sessions,
    wanted: &HashSet<SessionKey>,
    workers: usize,
) -> Result<Option<SessionKey>, CollectError> {
    let unknown: Vec<SessionKey> = wanted.iter().filter(|key| !listed.contains_key(key)).copied().collect();
    let found = parallel(&unknown, workers, |(machine, session)| {
        let name = crate::record::name(format!("{PREFIX}{machine}/{session}/{:08x}", 0));
        Ok(vault.store().head(&name)?.map(|_| (*machine, *session)))
    })?;
    Ok(found.into_iter().flatten().next())
}
