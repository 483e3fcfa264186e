//! The vault behind the host's storage gateway, as a [`Store`]: no storage credentials on this machine.
//!
//! Invariant: a put answers `Created` only when the host holds exactly these bytes: it says so, or an object of that
//! name was there and its length and (where this machine may read it, or its name tells) its content are the same.

mod grants;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nightkeep_vault::store::{ObjectInfo, ObjectName, Put, Store, StoreError};
use nightkeep_wire::gateway::{GrantOutcome, GrantWish, LIST_LIMIT_MAX, ListResponse};
use nightkeep_wire::id::ContentHash;
use nightkeep_wire::problem::ProblemCode;
use reqwest::StatusCode;
use reqwest::header::CONTENT_LENGTH;
use tokio::runtime::Handle;

use self::grants::GrantDesk;
use crate::link::{HostLink, LinkError};

/// First pause before a failed request is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(20);
/// Answers that ask for a corrected request (an expired grant, damage on the way) are followed so often.
const CORRECTIONS_MAX: u32 = 5;

/// Whether a run was asked to end, so that waiting for an absent host ends, too.
pub(crate) type Cancelled = Arc<dyn Fn() -> bool + Send + Sync>;

/// How a gateway store behaves.
pub(crate) struct GatewayOptions {
    /// How long an operation goes on while the host does not answer.
    pub(crate) patience: Duration,
    /// Ends waiting.
    pub(crate) cancelled: Cancelled,
}

/// The store. Its calls block, so it is used from threads, never from a task of the runtime.
pub(crate) struct GatewayStore {
    link: HostLink,
    runtime: Handle,
    desk: GrantDesk,
    options: GatewayOptions,
    last_code: Mutex<Option<ProblemCode>>,
    retries: AtomicU64,
}

impl GatewayStore {
    /// The vault of the machine that `link` signs for. Must be made within the runtime that `runtime` is of.
    pub(crate) fn new(link: HostLink, runtime: Handle, options: GatewayOptions) -> Self {
        Self {
            desk: GrantDesk::open(link.clone(), &runtime),
            link,
            runtime,
            options,
            last_code: Mutex::default(),
            retries: AtomicU64::new(0),
        }
    }

    /// The last refusal of the host, for classifying a failed run.
    pub(crate) fn last_refusal(&self) -> Option<ProblemCode> {
        *self.last_code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until it works, the error is final, patience ends, or the run was asked to end.
    fn persist<T>(
        &self,
        operation: &'static str,
        name: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let (started, mut pause, mut corrections) = (Instant::now(), RETRY_FIRST, 0);
        loop {
            let error = match self.runtime.block_on(attempt()) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            corrections += u32::from(error.code().is_some_and(asks_for_correction));
            let again = error.is_passing()
                && corrections <= CORRECTIONS_MAX
                && started.elapsed() + pause < self.options.patience
                && !(self.options.cancelled)();
            if !again {
                *self.last_code.lock().unwrap_or_else(PoisonError::into_inner) = error.code();
                return Err(error);
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(operation, name, error = %error.in_words(), "Trying again");
            self.wait(jittered(pause));
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Sleeps in slices, so that a stop is heard soon.
    fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until && !(self.options.cancelled)() {
            std::thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn failed(&self, operation: &'static str, name: &str, error: LinkError) -> StoreError {
        match &error {
            LinkError::Problem { problem } if !error.is_passing() => {
                StoreError::Refused { operation, name: name.to_owned(), reason: problem.to_string() }
            }
            LinkError::Untrusted { .. } | LinkError::Setup { .. } => {
                StoreError::Refused { operation, name: name.to_owned(), reason: error.in_words() }
            }
            LinkError::Problem { .. }
            | LinkError::Unreachable { .. }
            | LinkError::Status { .. }
            | LinkError::Answer { .. } => {
                StoreError::Failed { operation, name: name.to_owned(), source: Box::new(error) }
            }
        }
    }

    /// Asks for a grant and uses it.
    async fn put_once(&self, wish: &GrantWish, bytes: &Bytes, sent: &mut bool) -> Result<PutOnce, LinkError> {
        match self.desk.ask(wish.clone()).await? {
            GrantOutcome::Exists => Ok(PutOnce::Exists),
            GrantOutcome::Refused { code, reason } => Ok(PutOnce::Refused { code, reason }),
            GrantOutcome::Url { url, .. } => {
                *sent = true;
                match self.link.put_granted(&url, bytes.clone()).await {
                    Ok(()) => Ok(PutOnce::Created),
                    Err(error) if already_there(&error) => Ok(PutOnce::Exists),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// An object of that name was there. Ours, when the name is the hash of the bytes, or when an earlier try of ours
    /// may have put it and what is there is the same; else somebody else's.
    fn found(&self, name: &ObjectName, bytes: &[u8], hash: &ContentHash, sent: bool) -> Result<Put, StoreError> {
        let length = match self.head(name) {
            Ok(length) => length,
            // Packs may not be looked at by the machines that write them.
            Err(StoreError::Refused { .. }) => None,
            Err(error) => return Err(error),
        };
        let named_by_content = name.as_str().ends_with(&hash.to_string());
        if length.is_some_and(|length| length != bytes.len() as u64) {
            if named_by_content {
                let reason = format!("it is there with {} bytes instead of {}", length.unwrap_or(0), bytes.len());
                return Err(StoreError::Refused { operation: "put", name: name.to_string(), reason });
            }
            return Ok(Put::Exists);
        }
        if named_by_content || (sent && self.holds(name, bytes)?) {
            return Ok(Put::Created);
        }
        Ok(Put::Exists)
    }

    fn holds(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.get_range(name, 0..bytes.len() as u64 + 1) {
            Ok(there) => Ok(there == bytes),
            Err(StoreError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

enum PutOnce {
    Created,
    Exists,
    Refused { code: ProblemCode, reason: String },
}

impl Store for GatewayStore {
    fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
        let hash = ContentHash(*blake3::hash(bytes).as_bytes());
        let wire_name = name.as_str().parse().map_err(|error: nightkeep_wire::gateway::ObjectNameError| {
            StoreError::Refused { operation: "put", name: name.to_string(), reason: error.to_string() }
        })?;
        let wish = GrantWish { name: wire_name, len: bytes.len() as u64, hash };
        let body = Bytes::copy_from_slice(bytes);
        let mut sent = false;
        let put = self.persist("put", name.as_str(), async || self.put_once(&wish, &body, &mut sent).await);
        match put.map_err(|error| self.failed("put", name.as_str(), error))? {
            PutOnce::Created => Ok(Put::Created),
            PutOnce::Exists => self.found(name, bytes, &hash, sent),
            PutOnce::Refused { code, reason } => {
                *self.last_code.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
                Err(StoreError::Refused { operation: "put", name: name.to_string(), reason })
            }
        }
    }

    fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let path = format!("/vault/object/{name}");
        let got = self.persist("get", name.as_str(), async || {
            let response = self.link.range(&path, range.start, range.end).await?;
            let partial = response.status() == StatusCode::PARTIAL_CONTENT;
            Ok((partial, self.link.bytes(response).await?))
        });
        match got {
            Ok((true, bytes)) => Ok(bytes.to_vec()),
            Ok((false, whole)) => Ok(cut(&whole, &range)),
            Err(error) => match error.code() {
                Some(ProblemCode::NotFound) => Err(StoreError::NotFound { name: name.clone() }),
                Some(ProblemCode::RangeInvalid) => Ok(Vec::new()),
                _ => Err(self.failed("get", name.as_str(), error)),
            },
        }
    }

    fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        let path = format!("/vault/object/{name}");
        let answer = self.persist("look for", name.as_str(), async || match self.link.head(&path).await {
            // The answer to HEAD has no body that could carry a problem.
            Err(LinkError::Status { status: 404, .. }) => Ok(Head::Absent),
            Err(LinkError::Status { status: 403, .. }) => Ok(Head::Forbidden),
            Err(error) => Err(error),
            Ok(response) => {
                let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(length.map_or(Head::Absent, Head::Length))
            }
        });
        match answer.map_err(|error| self.failed("look for", name.as_str(), error))? {
            Head::Absent => Ok(None),
            Head::Length(length) => Ok(Some(length)),
            Head::Forbidden => {
                let reason = "this machine may not read it".to_owned();
                Err(StoreError::Refused { operation: "look for", name: name.to_string(), reason })
            }
        }
    }

    fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut found: Vec<ObjectInfo> = Vec::new();
        while found.len() < limit {
            let from = found.last().map(|info| &info.name).or(after);
            let wanted = (limit - found.len()).min(LIST_LIMIT_MAX as usize);
            let path = list_path(prefix, from, wanted);
            let page: ListResponse = self
                .persist("list", prefix, async || self.link.ask(&path).await)
                .map_err(|error| self.failed("list", prefix, error))?;
            let more = page.more && !page.objects.is_empty();
            for entry in page.objects {
                let name = ObjectName::new(entry.name.as_str()).map_err(|error| StoreError::Failed {
                    operation: "list",
                    name: prefix.to_owned(),
                    source: Box::new(error),
                })?;
                found.push(ObjectInfo { name, bytes: entry.len });
            }
            if !more {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let reason = "machines never delete: the host collects what nobody needs".to_owned();
        Err(StoreError::Refused { operation: "delete", name: name.to_string(), reason })
    }

    fn location(&self) -> String {
        format!("nightkeep+{}", self.link.host())
    }
}

enum Head {
    Absent,
    Forbidden,
    Length(u64),
}

/// Prefixes and names are made of characters that need no escaping in a query.
fn list_path(prefix: &str, after: Option<&ObjectName>, limit: usize) -> String {
    match after {
        Some(after) => format!("/vault/list?prefix={prefix}&after={after}&limit={limit}"),
        None => format!("/vault/list?prefix={prefix}&limit={limit}"),
    }
}

fn cut(whole: &[u8], range: &Range<u64>) -> Vec<u8> {
    let length = whole.len() as u64;
    let (start, end) = (range.start.min(length) as usize, range.end.min(length) as usize);
    whole[start..end].to_vec()
}

fn already_there(error: &LinkError) -> bool {
    match error {
        LinkError::Status { status, .. } => *status == 409 || *status == 412,
        LinkError::Problem { problem } => problem.code == ProblemCode::Exists,
        LinkError::Unreachable { .. }
        | LinkError::Untrusted { .. }
        | LinkError::Answer { .. }
        | LinkError::Setup { .. } => false,
    }
}

fn asks_for_correction(code: ProblemCode) -> bool {
    code.remedy() == nightkeep_wire::problem::Remedy::Correct
}

/// Between half and the whole of a pause, so that many machines do not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let [random] = nightkeep_vault::crypto::random::<1>();
    pause / 2 + pause / 2 * u32::from(random) / 255
}

#[cfg(test)]
mod tests;
