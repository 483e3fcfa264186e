//! The conversation with the daemon: a subscription that is taken up again whenever it breaks, and orders.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nightkeep_platform::ipc::{self, Stream};
use nightkeep_wire::control::{Answer, Event, LINE_BYTES_MAX, Line, Op, Reply, Request, StatusSnapshot};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use crate::model::{Notice, Seen};

/// How long to wait before a daemon that is away is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Follows the daemon for ever; what it says goes to `seen`.
pub(crate) async fn follow(sockets: Vec<PathBuf>, seen: watch::Sender<Seen>) {
    loop {
        for socket in &sockets {
            if let Ok(stream) = ipc::connect(socket).await {
                // However it ends, it is looked for again.
                let _ = subscribe(stream, &seen).await;
            }
        }
        seen.send_replace(Seen::Nobody);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Gives orders one after the other; a refusal, or nothing when it was obeyed, goes to `notices`.
pub(crate) async fn obey(
    sockets: Vec<PathBuf>,
    mut orders: mpsc::Receiver<Op>,
    notices: watch::Sender<Option<Notice>>,
) {
    while let Some(op) = orders.recv().await {
        let notice = match order(&sockets, op).await {
            Ok(Answer::Ok(_)) => None,
            Ok(Answer::Error(error)) => Some(Notice::Refused(error)),
            Err(_) => Some(Notice::NoAnswer),
        };
        notices.send_replace(notice);
    }
}

async fn subscribe(stream: Stream, seen: &watch::Sender<Seen>) -> io::Result<()> {
    let (mut read, mut write) = halves(stream);
    send(&mut write, Op::Subscribe).await?;
    let mut status: Option<Box<StatusSnapshot>> = None;
    loop {
        match receive(&mut read).await? {
            Line::Response(response) => match response.result {
                Answer::Ok(Reply::Status(first)) => status = Some(first),
                Answer::Ok(_) | Answer::Error(_) => return Err(io::Error::other("no subscription")),
            },
            Line::Event(Event::Status(newer)) => status = Some(newer),
            Line::Event(Event::Progress(progress)) => {
                if let Some(status) = &mut status {
                    status.running.retain(|job| job.job != progress.job);
                    status.running.push(progress);
                }
            }
            Line::Event(Event::Finished { job, .. }) => {
                if let Some(status) = &mut status {
                    status.running.retain(|running| running.job != job);
                }
            }
            Line::Event(Event::Unknown) => {}
        }
        if let Some(status) = &status {
            seen.send_replace(Seen::Status(status.clone()));
        }
    }
}

async fn order(sockets: &[PathBuf], op: Op) -> io::Result<Answer> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for socket in sockets {
        match ipc::connect(socket).await {
            Ok(stream) => {
                let (mut read, mut write) = halves(stream);
                send(&mut write, op).await?;
                return match receive(&mut read).await? {
                    Line::Response(response) => Ok(response.result),
                    Line::Event(_) => Err(io::Error::other("an event instead of an answer")),
                };
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn halves(stream: Stream) -> (BufReader<ReadHalf<Stream>>, WriteHalf<Stream>) {
    let (read, write) = tokio::io::split(stream);
    (BufReader::new(read), write)
}

async fn send(write: &mut WriteHalf<Stream>, op: Op) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Request { id: 1, op })?;
    line.push(b'\n');
    write.write_all(&line).await
}

async fn receive(read: &mut BufReader<ReadHalf<Stream>>) -> io::Result<Line> {
    let mut line = Vec::new();
    let count = read.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).await?;
    if count == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(serde_json::from_slice(&line)?)
}
