//! One connection through the proxy: requests are read one by one, answers are passed as they come.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Fault, Line, PIECE_BYTES, Seen, Shared};

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How often a trickling answer gives a byte.
const TRICKLE_EVERY: Duration = Duration::from_secs(1);

/// A piece and when it arrives.
type Piece = (Instant, Vec<u8>);

/// The request whose answer is awaited.
#[derive(Default)]
struct Awaited(Mutex<Option<Fault>>);

impl Awaited {
    fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn take(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves a connection to its end. Whatever fails ends it: that is what a proxy can say.
pub(super) async fn serve(client: TcpStream, shared: &Shared) {
    sleep(shared.line.delay * 2).await;
    let Ok(server) = TcpStream::connect(shared.to).await else { return };
    let (Ok(()), Ok(())) = (client.set_nodelay(true), server.set_nodelay(true)) else { return };
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let (up, up_queue) = channel(shared.line.queue_pieces());
    let (down, down_queue) = channel(shared.line.queue_pieces());
    let awaited = Awaited::default();
    let answers = down.clone();
    tokio::select! {
        _ = requests(client_in, &up, &down, shared, &awaited) => {}
        _ = pass_answers(server_in, &answers, shared, &awaited) => {}
        _ = deliver(up_queue, server_out, shared.line) => {}
        _ = deliver(down_queue, client_out, shared.line) => {}
    }
    if awaited.take().is_some() {
        shared.counts.end();
    }
}

/// Reads requests and passes them on, as their fault allows.
async fn requests(
    client: OwnedReadHalf,
    up: &Sender<Piece>,
    down: &Sender<Piece>,
    shared: &Shared,
    awaited: &Awaited,
) -> io::Result<()> {
    let mut client = BufReader::with_capacity(PIECE_BYTES, client);
    loop {
        let head = read_head(&mut client).await?;
        let (seen, length) = parse(&head, shared.counts.number())?;
        shared.counts.begin(&seen);
        let fault = shared.fault(&seen);
        awaited.set(fault);
        match fault {
            Fault::Cut => return Ok(()),
            Fault::Stall => std::future::pending::<()>().await,
            Fault::Answer(status, code) => {
                pass_body(&mut client, length, None, shared).await?;
                awaited.take();
                shared.counts.end();
                send(down, shared.line, own_answer(&seen, status, code)).await?;
            }
            Fault::None | Fault::LoseAnswer | Fault::TearAnswer(_) | Fault::Trickle => {
                shared.counts.up(head.len());
                send(up, shared.line, head).await?;
                pass_body(&mut client, length, Some(up), shared).await?;
            }
        }
    }
}

async fn read_head(client: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = client.read_until(b'\n', &mut head).await?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn parse(head: &[u8], number: u64) -> io::Result<(Seen, u64)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let header = |name: &str| {
        let mut all = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    if header("transfer-encoding").is_some() {
        // Object storage is sent bodies of known length alone.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok((Seen { method: method.to_owned(), target: target.to_owned(), number }, length))
}

/// Passes a body of known length on, or swallows it.
async fn pass_body(
    client: &mut BufReader<OwnedReadHalf>,
    mut left: u64,
    to: Option<&Sender<Piece>>,
    shared: &Shared,
) -> io::Result<()> {
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = vec![0; wanted];
        let read = client.read(&mut piece).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        left -= read as u64;
        if let Some(to) = to {
            shared.counts.up(read);
            send(to, shared.line, piece).await?;
        }
    }
    Ok(())
}

fn own_answer(seen: &Seen, status: u16, code: &str) -> Vec<u8> {
    let body = match seen.method.as_str() {
        "HEAD" => String::new(),
        _ => format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wishes</Message></Error>"),
    };
    let head =
        format!("HTTP/1.1 {status} Test\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

/// Passes answers on, as the fault of their request allows.
async fn pass_answers(
    mut server: OwnedReadHalf,
    down: &Sender<Piece>,
    shared: &Shared,
    awaited: &Awaited,
) -> io::Result<()> {
    let mut fault = Fault::None;
    let mut passed = 0;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = server.read(&mut piece).await?;
        if read == 0 {
            return end(down, shared.line).await;
        }
        piece.truncate(read);
        if let Some(begun) = awaited.take() {
            shared.counts.end();
            (fault, passed) = (begun, 0);
        }
        shared.counts.down(read);
        match fault {
            Fault::LoseAnswer => return Ok(()),
            Fault::TearAnswer(after) if passed + read >= after => {
                piece.truncate(after - passed);
                send(down, shared.line, piece).await?;
                return end(down, shared.line).await;
            }
            Fault::Trickle => {
                for byte in piece {
                    send(down, shared.line, vec![byte]).await?;
                    sleep(TRICKLE_EVERY).await;
                }
            }
            Fault::None | Fault::TearAnswer(_) | Fault::Answer(..) | Fault::Cut | Fault::Stall => {
                send(down, shared.line, piece).await?;
            }
        }
        passed += read;
    }
}

async fn send(to: &Sender<Piece>, line: Line, piece: Vec<u8>) -> io::Result<()> {
    to.send((Instant::now() + line.delay, piece)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Sends the end behind all that is still on its way, and leaves the rest to [`deliver`].
async fn end(to: &Sender<Piece>, line: Line) -> io::Result<()> {
    send(to, line, Vec::new()).await?;
    std::future::pending().await
}

/// Writes each piece when it is due, no faster than the line is wide, until an empty one.
async fn deliver(mut queue: Receiver<Piece>, mut to: OwnedWriteHalf, line: Line) -> io::Result<()> {
    let mut free_at = Instant::now();
    while let Some((due, piece)) = queue.recv().await.filter(|(_, piece)| !piece.is_empty()) {
        let begin = due.max(free_at);
        if let Some(rate) = line.bytes_per_second {
            free_at = begin + Duration::from_secs_f64(piece.len() as f64 / rate.max(1) as f64);
        }
        sleep_until(begin).await;
        to.write_all(&piece).await?;
    }
    Ok(())
}
