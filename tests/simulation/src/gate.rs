//! Actors that take turns: each runs on a thread of its own, and its store lets it go one step at a time.
//!
//! **Invariant**: at most one actor runs at a time, so a schedule gives the same course of events every time.

use nightkeep_vault::codec::Time;
use nightkeep_vault::store::{Layer, MemoryStore, ObjectInfo, ObjectName, Put, Store, StoreError};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An actor that nobody lets go for so long belongs to a test that failed, and dies, so that the test can end.
const ABANDONED: Duration = Duration::from_secs(120);

/// Where an actor is, and how far it may go.
#[derive(Default)]
struct Position {
    /// Steps it has taken.
    taken: u64,
    /// Steps it may take.
    allowed: u64,
    /// It waits for its next step.
    waiting: bool,
    /// It came to its end.
    over: bool,
    /// It dies at its next step.
    dead: bool,
    /// [`Gate::finish`] ends before a put below this prefix.
    stop_before: Option<String>,
    /// What the waiting step will write.
    next: Option<String>,
    /// Puts below this prefix get no answer, and arrive when the schedule says so.
    lost: Option<String>,
    /// What is on its way.
    flying: Vec<(ObjectName, Vec<u8>)>,
}

/// The gate of one actor. Clones share it.
#[derive(Clone, Default)]
pub struct Gate {
    position: Arc<(Mutex<Position>, Condvar)>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.position.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, position: MutexGuard<'a, Position>) -> MutexGuard<'a, Position> {
        self.position.1.wait(position).unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the actor take one step more, and waits until it has. False when it is over.
    pub fn step(&self) -> bool {
        let mut position = self.lock();
        while !position.waiting && !position.over {
            position = self.wait(position);
        }
        if position.over {
            return false;
        }
        position.allowed += 1;
        position.waiting = false;
        self.position.1.notify_all();
        while !position.waiting && !position.over {
            position = self.wait(position);
        }
        true
    }

    /// Lets the actor run to its end, or to where it shall stop.
    pub fn finish(&self) {
        while !self.stands() && self.step() {}
    }

    /// Makes [`Gate::finish`] stop before the actor writes below a prefix.
    pub fn stop_before(&self, prefix: &str) {
        self.lock().stop_before = Some(prefix.to_owned());
    }

    /// Takes that back.
    pub fn go_on(&self) {
        self.lock().stop_before = None;
    }

    fn stands(&self) -> bool {
        let mut position = self.lock();
        while !position.waiting && !position.over {
            position = self.wait(position);
        }
        let stop = position.stop_before.as_deref();
        stop.is_some_and(|stop| position.next.as_deref().is_some_and(|next| next.starts_with(stop)))
    }

    /// The actor dies at its next step: nothing it does from now on reaches the store.
    pub fn kill(&self) {
        self.lock().dead = true;
    }

    /// From now on, puts whose names begin with `prefix` get no answer and hang in the network.
    pub fn lose(&self, prefix: &str) {
        self.lock().lost = Some(prefix.to_owned());
    }

    /// What hangs in the network arrives.
    pub fn deliver(&self, store: &MemoryStore) -> usize {
        let flying = std::mem::take(&mut self.lock().flying);
        flying.iter().filter(|(name, bytes)| matches!(store.put_create(name, bytes), Ok(Put::Created))).count()
    }

    /// How many steps the actor took.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// The actor has come to its end; call it when its work returns.
    pub fn over(&self) {
        self.lock().over = true;
        self.position.1.notify_all();
    }

    /// Waits for the next step; false when the actor is dead.
    fn pass(&self, writes: Option<&str>) -> bool {
        let mut position = self.lock();
        position.waiting = true;
        position.next = writes.map(str::to_owned);
        self.position.1.notify_all();
        while position.taken >= position.allowed {
            let waited = self.position.1.wait_timeout(position, ABANDONED);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            position = back;
            if timeout.timed_out() {
                position.over = true;
                return false;
            }
        }
        position.taken += 1;
        position.waiting = false;
        !position.dead
    }
}

/// A store behind a gate: every write is a step, and every read below the given prefixes.
pub struct GateStore {
    inner: MemoryStore,
    gate: Gate,
    reads: &'static [&'static str],
}

impl GateStore {
    /// A store whose steps are the writes and the reads of names and prefixes that begin with one of `reads`.
    pub fn new(inner: MemoryStore, gate: Gate, reads: &'static [&'static str]) -> Self {
        Self { inner, gate, reads }
    }

    fn read<T>(&self, name: &str, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.reads.iter().any(|prefix| name.starts_with(prefix)) && !self.gate.pass(None) {
            return dead(name);
        }
        read()
    }

    fn write<T>(&self, name: &ObjectName, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.gate.pass(Some(name.as_str())) { write() } else { dead(name.as_str()) }
    }
}

fn dead<T>(name: &str) -> Result<T, StoreError> {
    Err(StoreError::Failed { operation: "reach", name: name.to_owned(), source: "no answer".into() })
}

impl Layer for GateStore {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.write(name, || {
            let mut position = self.gate.lock();
            if position.lost.as_ref().is_some_and(|prefix| name.as_str().starts_with(prefix.as_str())) {
                position.flying.push((name.clone(), bytes.to_vec()));
                return dead(name.as_str());
            }
            drop(position);
            self.inner.put_create(name, bytes)
        })
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.read(name.as_str(), || self.inner.get_range(name, range))
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        self.read(name.as_str(), || self.inner.head(name))
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        self.read(prefix, || self.inner.list(prefix, after, limit))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.write(name, || self.inner.delete(name))
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        self.write(name, || self.inner.sweep(name, at))
    }
}
