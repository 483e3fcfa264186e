//! Windows: a named pipe. Pipes have names of their own, so a path in the state directory stands for one.
//!
//! Who asks is told by the system: the server acts for the client for a moment, as far as it takes to see its account
//! (`ImpersonateNamedPipeClient`). Who answers is told by the pipe's owner: anybody may make a pipe of any name, and only
//! the system and administrators can make one that is theirs. Every local account may speak with the daemon; none but its
//! own may make a further end of its pipe.
#![expect(unsafe_code, reason = "the standard library knows neither pipes nor accounts")]

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::path::Path;
use std::pin::Pin;
use std::ptr::{null, null_mut};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY, GENERIC_READ, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::Authorization::SE_KERNEL_OBJECT;
use windows_sys::Win32::Security::{RevertToSelf, TOKEN_QUERY};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA, OPEN_EXISTING, SECURITY_IDENTIFICATION,
    SECURITY_SQOS_PRESENT, SYNCHRONIZE,
};
use windows_sys::Win32::System::Pipes::{GetNamedPipeClientProcessId, ImpersonateNamedPipeClient};
use windows_sys::Win32::System::Threading::{GetCurrentThread, OpenThreadToken};

use super::Peer;
use crate::nt::{self, Rules, Sid};

/// All rights to the system, administrators and the owner. Whoever is signed in may read and write, but not make another
/// end of the pipe (`FILE_CREATE_PIPE_INSTANCE`, bit 4); nobody from the network.
const RULES: &str = "D:P(D;;FA;;;NU)(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)(A;;0x12019b;;;AU)";
/// So long a client waits for a free end of the pipe, a look each.
const BUSY_LOOKS: usize = 50;
const BUSY_LOOK: Duration = Duration::from_millis(20);

/// An account, as its token told while it was connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    sid: Sid,
    elevated: bool,
}

impl Account {
    pub(super) fn is_administrator(&self) -> bool {
        self.elevated || Sid::of_process().is_ok_and(|own| own == self.sid)
    }

    pub(super) fn name(&self) -> String {
        self.sid.account_name().unwrap_or_else(|| self.sid.to_string())
    }
}

/// Keeps one end of the pipe ready for the next client.
#[derive(Debug)]
pub(super) struct Listener {
    name: String,
    ready: Mutex<Option<NamedPipeServer>>,
}

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let name = pipe_name(path);
        let first = create(&name, true).map_err(|error| match error.raw_os_error() {
            Some(code) if code == ERROR_ACCESS_DENIED as i32 => io::Error::from(io::ErrorKind::AddrInUse),
            _ => error,
        })?;
        Ok(Self { name, ready: Mutex::new(Some(first)) })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let mut ready = self.ready.lock().await;
        loop {
            let server = match ready.take() {
                Some(server) => server,
                None => create(&self.name, false)?,
            };
            // Put back, so that the pipe keeps its name when nobody waits for the answer any more.
            let server = ready.insert(server);
            let peer = server.connect().await.and_then(|()| peer_of(server));
            let Some(server) = ready.take() else { continue };
            *ready = Some(create(&self.name, false)?);
            // Who is gone again, or hides its account, is not served.
            if let Ok(peer) = peer {
                return Ok((Stream::Server(server), peer));
            }
        }
    }
}

pub(super) async fn connect(path: &Path) -> io::Result<Stream> {
    let name = nt::wide(&pipe_name(path));
    for _ in 0..BUSY_LOOKS {
        match open(&name) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) => tokio::time::sleep(BUSY_LOOK).await,
            other => return other,
        }
    }
    open(&name)
}

/// Both ends of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(end) => Pin::new(end).poll_read(cx, buf),
            Self::Client(end) => Pin::new(end).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Server(end) => Pin::new(end).poll_write(cx, buf),
            Self::Client(end) => Pin::new(end).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(end) => Pin::new(end).poll_flush(cx),
            Self::Client(end) => Pin::new(end).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Server(end) => Pin::new(end).poll_shutdown(cx),
            Self::Client(end) => Pin::new(end).poll_shutdown(cx),
        }
    }
}

/// One name for one place, however its path is written: no pipe's name may hold a separator.
fn pipe_name(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let units: Vec<u8> = path.as_os_str().to_ascii_lowercase().encode_wide().flat_map(u16::to_le_bytes).collect();
    let hash = blake3::derive_key("nightkeep name of the control pipe v1", &units);
    let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r"\\.\pipe\nightkeep-{hex}")
}

fn create(name: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    // The owner is said, not left to the system: some own what they make in the name of a group.
    let rules = Rules::of(&format!("O:{}{RULES}", Sid::of_process()?))?;
    let attributes = rules.attributes();
    let mut options = ServerOptions::new();
    options.first_pipe_instance(is_first).reject_remote_clients(true);
    // SAFETY: the attributes, and what they point to, live until the call returns.
    unsafe { options.create_with_security_attributes_raw(name, (&raw const attributes).cast_mut().cast()) }
}

/// Opens the pipe with the rights that [`RULES`] leaves everybody, known to its server and of no more use to it.
fn open(name: &[u16]) -> io::Result<Stream> {
    let access = GENERIC_READ | FILE_WRITE_DATA | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE;
    let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    // SAFETY: the name ends with a zero. A handle that comes back is new.
    let handle = unsafe {
        let handle = CreateFileW(name.as_ptr(), access, 0, null(), OPEN_EXISTING, flags, null_mut());
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        OwnedHandle::from_raw_handle(handle)
    };
    let owner = nt::owner_of(handle.as_handle(), SE_KERNEL_OBJECT)?;
    if !owner.is_trusted()? {
        let message = format!("{owner} answers in the daemon's place");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    // SAFETY: the handle is an overlapped one of a pipe, and goes over to its new owner.
    let client = unsafe { NamedPipeClient::from_raw_handle(handle.into_raw_handle()) };
    client.map(Stream::Client)
}

/// The account of a connected client.
fn peer_of(server: &NamedPipeServer) -> io::Result<Peer> {
    let (handle, mut pid) = (server.as_raw_handle(), 0);
    // SAFETY: the handle is an open pipe's, and the pointer lives until the call returns.
    let pid = (unsafe { GetNamedPipeClientProcessId(handle, &raw mut pid) } != 0).then_some(pid);
    let token = client_token(server)?;
    let account = Account { sid: Sid::of_token(&token)?, elevated: nt::is_elevated(Some(&token))? };
    Ok(Peer { account, pid })
}

/// The client's token. The thread acts for the client for no longer than it takes to read it.
fn client_token(server: &NamedPipeServer) -> io::Result<OwnedHandle> {
    let mut token = null_mut();
    // SAFETY: the handle is an open pipe's, the pointer lives until the call returns, and the token is new.
    unsafe {
        nt::check_bool(ImpersonateNamedPipeClient(server.as_raw_handle()))?;
        let opened = nt::check_bool(OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, 1, &raw mut token));
        if RevertToSelf() == 0 {
            // A thread that stays somebody else must not go on.
            std::process::abort();
        }
        opened?;
        Ok(OwnedHandle::from_raw_handle(token))
    }
}
