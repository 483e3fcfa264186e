//! A store that fails on command.
//!
//! **Invariant**: effects are counted in the order in which they are asked for, so a run with an inline executor meets
//! the same effect at the same number every time.

mod gate;

pub use gate::{Gate, GateStore};

use nightkeep_vault::codec::Time;
use nightkeep_vault::store::{Layer, MemoryStore, ObjectInfo, ObjectName, Put, Store, StoreError};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// In which way the n-th write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the write reaches the store, and nothing it does later does.
    CrashBefore,
    /// The process dies after the write is durable, before it hears so.
    CrashAfter,
    /// The write is refused as the store is full; the process lives on.
    Full,
    /// The write is durable but the answer is lost; the process lives on.
    LostAnswer,
}

/// A store in memory behind a fault.
#[derive(Clone)]
pub struct FaultyStore {
    inner: MemoryStore,
    fault: Option<(u64, Fault)>,
    writes: Arc<AtomicU64>,
}

impl FaultyStore {
    /// Counts writes and fails none.
    pub fn counting(inner: MemoryStore) -> Self {
        Self { inner, fault: None, writes: Arc::default() }
    }

    /// Fails at write number `at`, from 1.
    pub fn failing(inner: MemoryStore, at: u64, fault: Fault) -> Self {
        Self { inner, fault: Some((at, fault)), writes: Arc::default() }
    }

    /// How many writes were asked for.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Whether the process is dead by now.
    fn is_dead(&self) -> bool {
        let crashes = |fault| matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        self.fault.is_some_and(|(at, fault)| crashes(fault) && self.writes() >= at)
    }

    fn dead<T>(name: &str) -> Result<T, StoreError> {
        Err(StoreError::Failed { operation: "reach", name: name.to_owned(), source: "the process died".into() })
    }

    fn write<T>(&self, name: &ObjectName, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.is_dead() {
            return Self::dead(name.as_str());
        }
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault) {
            None => write(),
            Some(Fault::CrashBefore) => Self::dead(name.as_str()),
            Some(Fault::Full) => Err(StoreError::Full { name: name.clone() }),
            Some(Fault::CrashAfter | Fault::LostAnswer) => {
                write()?;
                Self::dead(name.as_str())
            }
        }
    }
}

impl Layer for FaultyStore {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.write(name, || self.inner.put_create(name, bytes))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if self.is_dead() { Self::dead(name.as_str()) } else { self.inner.get_range(name, range) }
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        if self.is_dead() { Self::dead(name.as_str()) } else { self.inner.head(name) }
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        if self.is_dead() { Self::dead(prefix) } else { self.inner.list(prefix, after, limit) }
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.write(name, || self.inner.delete(name))
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        self.write(name, || self.inner.sweep(name, at))
    }
}

/// A store in memory with the same objects, that shares nothing with the first.
pub fn copy_of(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    let from: &dyn Store = store;
    for info in from.list_all("").unwrap_or_default() {
        let copied = from.get(&info.name, info.bytes).and_then(|bytes| copy.put_create(&info.name, &bytes));
        debug_assert!(copied.is_ok(), "a store in memory does not fail");
    }
    copy
}

/// A store in memory that lets something else happen just before the n-th write, or the first read of some objects.
pub struct AtEffect {
    inner: MemoryStore,
    before: Before,
    counted: AtomicU64,
    happens: Box<dyn Fn() + Send + Sync>,
}

/// Before which effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Write(u64),
    ReadBelow(&'static str),
}

impl AtEffect {
    /// `happens` runs before write number `at`, from 1.
    pub fn new(inner: MemoryStore, at: u64, happens: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner, before: Before::Write(at), counted: AtomicU64::new(0), happens: Box::new(happens) }
    }

    /// `happens` runs before the first read of an object whose name begins with `prefix`.
    pub fn at_first_read(inner: MemoryStore, prefix: &'static str, happens: impl Fn() + Send + Sync + 'static) -> Self {
        Self { inner, before: Before::ReadBelow(prefix), counted: AtomicU64::new(0), happens: Box::new(happens) }
    }

    fn count(&self, at: u64) {
        if self.counted.fetch_add(1, Ordering::Relaxed) + 1 == at {
            (self.happens)();
        }
    }

    fn count_write(&self) {
        if let Before::Write(at) = self.before {
            self.count(at);
        }
    }
}

impl Layer for AtEffect {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }

    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.count_write();
        self.inner.put_create(name, bytes)
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if let Before::ReadBelow(prefix) = self.before
            && name.as_str().starts_with(prefix)
        {
            self.count(1);
        }
        self.inner.get_range(name, range)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.count_write();
        self.inner.delete(name)
    }

    fn sweep(&self, name: &ObjectName, at: Time) -> Result<(), StoreError> {
        self.count_write();
        self.inner.sweep(name, at)
    }
}
