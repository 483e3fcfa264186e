//! macOS: a Unix socket with `getpeereid` and `LOCAL_PEERPID`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

use super::Peer;

pub(super) type Stream = UnixStream;

/// A socket's address holds so many bytes of path (`sun_path`, less its end); no other way names one here.
const PATH_BYTES_MAX: usize = 103;

/// Anybody may connect: who it is decides what is allowed.
const SOCKET_MODE: u32 = 0o666;

/// The number of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account(u32);

impl Account {
    pub(super) fn is_administrator(&self) -> bool {
        self.0 == 0 || crate::process::effective_uid() == Some(self.0)
    }

    pub(super) fn name(&self) -> String {
        crate::accounts::user_name(self.0).unwrap_or_else(|| format!("uid {}", self.0))
    }
}

#[derive(Debug)]
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        check_length(path)?;
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            result => result?,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(Self(listener))
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let (stream, _) = self.0.accept().await?;
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok((stream, Peer { account: Account(credentials.uid()), pid }))
    }
}

pub(super) async fn connect(path: &Path) -> io::Result<Stream> {
    check_length(path)?;
    UnixStream::connect(path).await
}

/// Nobody listens behind the name any more.
fn is_abandoned(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn check_length(path: &Path) -> io::Result<()> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let text = format!("{} has more than {PATH_BYTES_MAX} bytes; choose a shorter state directory", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
