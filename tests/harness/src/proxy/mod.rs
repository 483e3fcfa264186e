//! A line to a server that is far away, narrow, or failing: an HTTP proxy that delays, limits, cuts, stalls and refuses,
//! and counts what passes. (Kernels without netem, and machines without root, have no other.)
//!
//! **Invariant**: it passes bytes on unchanged or not at all; it ends with the value that started it; what it holds is
//! bounded by [`QUEUE_PIECES`] pieces for each direction of a connection.

mod connection;
mod counts;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

pub use counts::Counts;

/// Pieces of at most [`PIECE_BYTES`] on their way: what a long line holds.
const QUEUE_PIECES: usize = 256;
/// The same for a narrow line.
const QUEUE_PIECES_NARROW: usize = 2;
/// What the system may buffer of a narrow line.
const NARROW_BUFFER_BYTES: u32 = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 256;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What the line is like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// How long every byte is on its way, in each direction; a connection is made with one there and back before.
    pub delay: Duration,
    /// Bytes a second, for each connection and direction.
    pub bytes_per_second: Option<u64>,
}

impl Line {
    fn queue_pieces(self) -> usize {
        if self.bytes_per_second.is_some() { QUEUE_PIECES_NARROW } else { QUEUE_PIECES }
    }
}

/// A request as the proxy sees it, before any of it is passed on.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Which one it is since the proxy started, counted from zero.
    pub number: u64,
}

impl Seen {
    /// What kind of request it is to an object storage: a listing is a GET with `list-type` or `comp=list`.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && (self.target.contains("list-type=") || self.target.contains("comp=list"))
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes, and so does its answer.
    None,
    /// The proxy answers it with a status and an error code; the server never sees it.
    Answer(u16, &'static str),
    /// The connection is cut before the server sees it.
    Cut,
    /// The server does it; the connection is cut instead of its answer.
    LoseAnswer,
    /// The connection is cut after so many bytes of its answer, head included.
    TearAnswer(usize),
    /// Nothing happens any more: neither answer nor end.
    Stall,
    /// Its answer comes at one byte a second.
    Trickle,
}

/// Decides what happens to each request.
pub type Rule = dyn Fn(&Seen) -> Fault + Send + Sync;

/// What all connections share.
pub(crate) struct Shared {
    to: SocketAddr,
    line: Line,
    rule: RwLock<Arc<Rule>>,
    counts: counts::Counters,
}

/// A running proxy.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy on loopback in front of `to`.
    pub fn start(to: SocketAddr, line: Line) -> Result<Self> {
        let shared = Arc::new(Shared {
            to,
            line,
            rule: RwLock::new(Arc::new(|_: &Seen| Fault::None)),
            counts: counts::Counters::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(async { listen(line) }).context("no port for a proxy")?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(&listener, &serving) => {}
                    _ = stopped => {}
                }
            });
            // Connections that stall are ended, not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as the endpoint of a storage.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, `rule` decides what happens to requests.
    pub fn set_rule(&self, rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.shared.rule.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    /// What passed so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.now()
    }
}

impl Shared {
    fn fault(&self, seen: &Seen) -> Fault {
        let rule = self.rule.read().unwrap_or_else(PoisonError::into_inner).clone();
        rule(seen)
    }
}

/// A narrow line holds little: what the system would buffer on the way would else look like a wide one.
fn listen(line: Line) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if line.bytes_per_second.is_some() {
        socket.set_recv_buffer_size(NARROW_BUFFER_BYTES)?;
        socket.set_send_buffer_size(NARROW_BUFFER_BYTES)?;
    }
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    socket.listen(BACKLOG)
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    // A listener on loopback fails when the process has no descriptors left; then nothing works any more.
    while let Ok((client, _)) = listener.accept().await {
        shared.counts.connection();
        let shared = shared.clone();
        tokio::spawn(async move { connection::serve(client, &shared).await });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({} -> {})", self.address, self.shared.to)
    }
}
