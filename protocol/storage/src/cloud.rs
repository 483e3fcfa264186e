//! The store itself: the vault's blocking calls, answered by a provider over the network.
//!
//! **Invariant**: bodies in flight never pass their bound, whatever the number of callers; a body's room is taken before
//! its bytes are copied.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use nightkeep_vault::store::{ObjectInfo, ObjectName, Put, Store, StoreError};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::attempt::Attempt;
use crate::failure::Verdict;
use crate::listing::{Cursors, list};
use crate::options::StorageOptions;
use crate::probe;
use crate::provider::{Backend, Place, Provider};
use crate::retry::{Ended, until_done};
use crate::runtime;

/// The bound of bytes in flight is counted in units of this many bytes.
const ROOM_UNIT: u64 = 4 << 10;
/// A body is handed to the connection in pieces of this size, so that its progress can be seen. No copies: the pieces
/// share the body.
const PIECE_BYTES: usize = 128 << 10;
/// No range asks for more: past it, some servers no longer read the number.
const RANGE_BYTES_MAX: u64 = 1 << 40;
/// Requests worth having in flight: with fewer, a far server's answers are waited for one by one.
const PARALLEL_REQUESTS: usize = 8;

/// Objects in a bucket, below a prefix.
pub(crate) struct CloudStore {
    inner: Arc<Inner>,
    runtime: Handle,
}

/// What the calls in flight share.
pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) place: Place,
    pub(crate) options: StorageOptions,
    pub(crate) cursors: Option<Cursors>,
    room: Arc<Semaphore>,
    room_units: u32,
}

impl CloudStore {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        place: &Place,
        provider: Provider,
        options: StorageOptions,
        runtime: Handle,
    ) -> Self {
        let room_units = u32::try_from((options.bytes_in_flight_max / ROOM_UNIT).max(1)).unwrap_or(u32::MAX >> 4);
        let inner = Inner {
            backend,
            place: place.clone(),
            options,
            cursors: (provider == Provider::Azure).then(Cursors::default),
            room: Arc::new(Semaphore::new(room_units as usize)),
            room_units,
        };
        Self { inner: Arc::new(inner), runtime }
    }

    /// Takes room for a body, then the body, then puts it.
    fn put(&self, name: &ObjectName, length: usize, body: impl FnOnce() -> Bytes) -> Result<Put, StoreError> {
        let room = self.call("put", name.as_str(), |inner| async move { Ok(inner.room(length as u64).await) })?;
        let (name, text, bytes) = (name.clone(), name.to_string(), body());
        self.call("put", &text, |inner| async move {
            let put = inner.put(&name, bytes).await;
            drop(room);
            put
        })
    }

    /// Runs a call on the network's threads and waits for it.
    fn call<T, F>(
        &self,
        operation: &'static str,
        name: &str,
        call: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        runtime::block(&self.runtime, call(self.inner.clone()))
            .unwrap_or_else(|lost| Err(StoreError::Failed { operation, name: name.to_owned(), source: Box::new(lost) }))
    }
}

/// A body whose owner waits for its put, and shares it meanwhile.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudStore({})", self.inner.place.location)
    }
}

impl Store for CloudStore {
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        self.put(name, bytes.len(), || Bytes::copy_from_slice(bytes))
    }

    fn put_create_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>) -> Result<Put, StoreError> {
        self.put(name, bytes.len(), || Bytes::from_owner(Shared(bytes.clone())))
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let range = range.start..range.end.min(range.start.saturating_add(RANGE_BYTES_MAX));
        let name = name.clone();
        self.call("get", &name.to_string(), |inner| async move { inner.get(&name, range).await })
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let name = name.clone();
        self.call("head", &name.to_string(), |inner| async move { inner.head(&name).await })
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let (text, after) = (prefix.to_owned(), after.cloned());
        self.call("list", prefix, move |inner| async move { list(&inner, &text, after, limit).await })
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let name = name.clone();
        self.call("delete", &name.to_string(), |inner| async move { inner.delete(&name).await })
    }

    fn location(&self) -> String {
        self.inner.place.location.clone()
    }

    fn parallelism(&self) -> usize {
        PARALLEL_REQUESTS
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
enum GetError {
    #[error(transparent)]
    Backend(#[from] object_store::Error),
    #[error("the answer ended after {got} of {wanted} bytes")]
    Torn { wanted: u64, got: u64 },
}

impl Inner {
    /// Waits for room for a body. One that is larger than all the room has it alone.
    async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX).min(self.room_units);
        // The semaphore is never closed; without it there would only be no bound.
        self.room.clone().acquire_many_owned(units).await.ok()
    }

    fn path(&self, name: &ObjectName) -> Result<Path, StoreError> {
        Path::parse(format!("{}{name}", self.place.base)).map_err(|error| StoreError::Failed {
            operation: "address",
            name: name.to_string(),
            source: Box::new(error),
        })
    }

    async fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<Put, StoreError> {
        let path = self.path(name)?;
        let is_probe = name.as_str().starts_with(probe::PREFIX);
        let piece_bytes = if is_probe { bytes.len().div_ceil(2).max(1) } else { PIECE_BYTES };
        let pieces = (0..bytes.len()).step_by(piece_bytes);
        let payload: PutPayload = pieces.map(|at| bytes.slice(at..bytes.len().min(at + piece_bytes))).collect();
        let make = || {
            if is_probe {
                Attempt::current().hold(probe::HOLD);
            }
            self.backend.put_opts(&path, payload.clone(), PutOptions::from(PutMode::Create))
        };
        match until_done(&self.options, "put", name.as_str(), make).await {
            Ok(_) => Ok(Put::Created),
            Err(Ended { verdict: Verdict::Exists, perhaps_done: false, .. }) => Ok(Put::Exists),
            Err(Ended { verdict: Verdict::Exists, perhaps_done: true, .. }) => self.whose(name, &bytes).await,
            Err(ended) => Err(failed("put", name.as_str(), ended)),
        }
    }

    /// The name is taken, and an earlier try of the same call may have taken it: its answer was lost. The bytes tell.
    async fn whose(&self, name: &ObjectName, bytes: &Bytes) -> Result<Put, StoreError> {
        let path = self.path(name)?;
        match until_done(&self.options, "compare", name.as_str(), || self.is_same(&path, bytes)).await {
            Ok((true, _)) => Ok(Put::Created),
            // A writer that may not read cannot tell; the caller compares what it can (`put_same`).
            Ok((false, _)) | Err(Ended { verdict: Verdict::Refused(_) | Verdict::BeyondEnd, .. }) => Ok(Put::Exists),
            Err(ended) => Err(failed("compare", name.as_str(), ended)),
        }
    }

    /// Compares piece by piece: the put that asks holds its room, and must not wait for more.
    async fn is_same(&self, path: &Path, bytes: &Bytes) -> Result<bool, GetError> {
        let range = 0..bytes.len() as u64 + 1;
        let result = self.backend.get_opts(path, GetOptions::new().with_range(Some(range))).await?;
        let (wanted, mut at) = (result.range.end, 0);
        let mut stream = result.into_stream();
        while let Some(piece) = stream.try_next().await? {
            if bytes.get(at..at + piece.len()) != Some(&piece[..]) {
                return Ok(false);
            }
            at += piece.len();
        }
        if at as u64 != wanted {
            return Err(GetError::Torn { wanted, got: at as u64 });
        }
        Ok(at == bytes.len())
    }

    async fn get(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name)?;
        if range.is_empty() {
            let there = self.head(name).await?;
            return there.map(|_| Vec::new()).ok_or_else(|| StoreError::NotFound { name: name.clone() });
        }
        match until_done(&self.options, "get", name.as_str(), || self.get_once(&path, range.clone())).await {
            Ok((bytes, _)) => Ok(bytes),
            Err(Ended { verdict: Verdict::BeyondEnd, .. }) => Ok(Vec::new()),
            Err(ended) => Err(failed("get", name.as_str(), ended)),
        }
    }

    async fn get_once(&self, path: &Path, range: Range<u64>) -> Result<Vec<u8>, GetError> {
        let result = self.backend.get_opts(path, GetOptions::new().with_range(Some(range))).await?;
        let wanted = result.range.end - result.range.start;
        let _room = Attempt::current().pause(self.room(wanted)).await;
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        let mut stream = result.into_stream();
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() as u64 != wanted {
            return Err(GetError::Torn { wanted, got: bytes.len() as u64 });
        }
        Ok(bytes)
    }

    async fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let path = self.path(name)?;
        match until_done(&self.options, "head", name.as_str(), || self.backend.head(&path)).await {
            Ok((meta, _)) => Ok(Some(meta.size)),
            Err(Ended { verdict: Verdict::Missing, .. }) => Ok(None),
            Err(ended) => Err(failed("head", name.as_str(), ended)),
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let make = || async {
            match self.backend.delete(&path).await {
                // Azure deletes in batches, and says so in a batch's answer alone.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        };
        match until_done(&self.options, "delete", name.as_str(), make).await {
            Ok(_) => Ok(()),
            Err(ended) => Err(failed("delete", name.as_str(), ended)),
        }
    }
}

/// The error of a call that ended, by what its caller can do.
pub(crate) fn failed(operation: &'static str, name: &str, ended: Ended) -> StoreError {
    let object = ObjectName::new(name).ok();
    match (ended.verdict, object) {
        (Verdict::Refused(reason), _) => StoreError::Refused { operation, name: name.to_owned(), reason },
        (Verdict::Missing, Some(name)) => StoreError::NotFound { name },
        (Verdict::Full, Some(name)) => StoreError::Full { name },
        (Verdict::Again | Verdict::Exists | Verdict::BeyondEnd | Verdict::Missing | Verdict::Full, _) => {
            StoreError::Failed { operation, name: name.to_owned(), source: Box::new(ended.cause) }
        }
    }
}
