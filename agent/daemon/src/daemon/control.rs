//! The local control server: one JSON document per line over a socket that knows its peer's account.
//!
//! Invariant: a connection is answered in the order of its requests; a reader that is too slow for events gets the
//! status anew instead of a growing queue.

use std::io;
use std::path::Path;
use std::sync::Arc;

use nightkeep_platform::ipc::{Listener, Peer, Stream};
use nightkeep_wire::control::{
    Answer, ControlError, ControlErrorCode, Event, LINE_BYTES_MAX, Line, Op, Request, Response,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use super::orders::{Caller, error};

/// Connections served at once; more wait.
const CONNECTIONS_MAX: usize = 64;

/// An order on its way to the driver.
#[derive(Debug)]
pub(crate) struct Order {
    /// What is wanted.
    pub(crate) op: Op,
    /// By whom.
    pub(crate) caller: Caller,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Where orders go and events come from.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// Orders.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Events for subscribers.
    pub(crate) events: broadcast::Sender<Event>,
}

/// Listens at `path`; must be called within the runtime.
pub(crate) fn listen(path: &Path) -> io::Result<Listener> {
    Listener::bind(path)
}

/// Serves local callers until the runtime ends.
pub(crate) async fn serve(listener: Listener, desk: Desk) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, peer, &desk).await {
                        tracing::debug!(%error, "A local caller went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "A local connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn converse(stream: Stream, peer: Peer, desk: &Desk) -> io::Result<()> {
    let administrator = peer.is_administrator();
    // A domain's name server that is away must not hold up everybody else.
    let name = tokio::task::spawn_blocking(move || peer.name()).await?;
    let caller = Caller { administrator, name };
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let mut events: Option<broadcast::Receiver<Event>> = None;
    let mut line = Vec::new();
    loop {
        tokio::select! {
            more = read_line(&mut read, &mut line) => {
                if !more? {
                    return Ok(());
                }
                let subscribes = answer(&line, &caller, desk, &mut write).await?;
                line.clear();
                if subscribes && events.is_none() {
                    events = Some(desk.events.subscribe());
                }
            }
            event = next_event(&mut events) => {
                let event = match event {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => status_event(&caller, desk).await?,
                    Err(RecvError::Closed) => return Ok(()),
                };
                send(&mut write, &Line::Event(event)).await?;
            }
        }
    }
}

/// Reads to the end of a line; what was read stays in `line` when the read is given up. False at the end.
async fn read_line(read: &mut BufReader<ReadHalf<Stream>>, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len()) as u64;
    let count = read.take(room).read_until(b'\n', line).await?;
    if line.len() > LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than a megabyte"));
    }
    Ok(count > 0 && line.ends_with(b"\n"))
}

async fn next_event(events: &mut Option<broadcast::Receiver<Event>>) -> Result<Event, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Answers one request. True when the caller wants events from now on.
async fn answer(line: &[u8], caller: &Caller, desk: &Desk, write: &mut WriteHalf<Stream>) -> io::Result<bool> {
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(problem) => {
            let refusal = error(ControlErrorCode::BadRequest, format!("the line is no request: {problem}"));
            let response = Response { id: 0, result: Answer::Error(refusal) };
            return send(write, &Line::Response(response)).await.map(|()| false);
        }
    };
    let subscribes = request.op == Op::Subscribe;
    // A subscription is answered with the status; the events follow.
    let op = if subscribes { Op::Status } else { request.op };
    let result = ask(op, caller, desk).await;
    send(write, &Line::Response(Response { id: request.id, result })).await?;
    Ok(subscribes)
}

async fn ask(op: Op, caller: &Caller, desk: &Desk) -> Answer {
    let (reply, answered) = oneshot::channel();
    let order = Order { op, caller: caller.clone(), reply };
    let unavailable = || Answer::Error(unavailable());
    if desk.orders.send(order).await.is_err() {
        return unavailable();
    }
    answered.await.unwrap_or_else(|_| unavailable())
}

fn unavailable() -> ControlError {
    error(ControlErrorCode::Unavailable, "the daemon is starting or stopping: try again in a moment")
}

async fn status_event(caller: &Caller, desk: &Desk) -> io::Result<Event> {
    match ask(Op::Status, caller, desk).await {
        Answer::Ok(nightkeep_wire::control::Reply::Status(status)) => Ok(Event::Status(status)),
        Answer::Ok(_) | Answer::Error(_) => Err(io::Error::other("the daemon is stopping")),
    }
}

async fn send(write: &mut WriteHalf<Stream>, line: &Line) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    write.flush().await
}
