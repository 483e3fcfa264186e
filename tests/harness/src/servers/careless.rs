//! A server that speaks as much S3 as a put needs, and looks at a condition when a request begins, but writes when it ends:
//! what many a storage does that was not made for it.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A running one.
#[derive(Debug)]
pub struct Careless {
    at: SocketAddr,
    accepting: JoinHandle<()>,
}

type Names = Arc<Mutex<HashSet<String>>>;

impl Careless {
    /// Starts an empty one in the runtime it is called in.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let names = Names::default();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let names = names.clone();
                // A connection that fails ends; its client sees it.
                tokio::spawn(async move { serve(stream, &names).await });
            }
        });
        Ok(Self { at, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, names: &Names) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if bytes.len() > HEAD_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
                None => more(&mut stream, &mut bytes).await?,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let name = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        let lock = || names.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = lock().contains(&name);
        while bytes.len() < end + length {
            more(&mut stream, &mut bytes).await?;
        }
        bytes.drain(..end + length);
        let status = match (head.starts_with("put"), taken) {
            (true, true) => "412 Precondition Failed",
            (true, false) => "200 OK",
            (false, _) => "404 Not Found",
        };
        if head.starts_with("put") {
            lock().insert(name);
        }
        let answer = format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
