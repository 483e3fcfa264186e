//! Local control: a Unix socket, on Windows a named pipe, that knows which account is at the other end.
//!
//! **Invariant**: a peer's rights come from what the system says of it, never from what it says of itself.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg_attr(target_os = "linux", path = "ipc/linux.rs")]
#[cfg_attr(target_os = "macos", path = "ipc/macos.rs")]
#[cfg_attr(target_os = "windows", path = "ipc/windows.rs")]
mod system;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    account: system::Account,
    /// The peer's process, for the log; it may be gone already.
    pub pid: Option<u32>,
}

impl Peer {
    /// Whether the peer is root (on Windows an elevated administrator or the system), or the account the daemon itself
    /// runs as.
    pub fn is_administrator(&self) -> bool {
        self.account.is_administrator()
    }

    /// The account's name, or its number where nobody knows the name. May wait for a domain controller.
    pub fn name(&self) -> String {
        self.account.name()
    }
}

/// Waits for local connections.
#[derive(Debug)]
pub struct Listener(system::Listener);

impl Listener {
    /// Listens at `path`, open to every local account. A name left behind by a dead process is taken over; one that
    /// somebody still answers is `AddrInUse`. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        system::Listener::bind(path).map(Self)
    }

    /// The next connection and who makes it.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Stream(stream), peer))
    }
}

/// Connects to the daemon at `path`.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    system::connect(path).await.map(Stream)
}

/// One local connection.
#[derive(Debug)]
pub struct Stream(system::Stream);

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
