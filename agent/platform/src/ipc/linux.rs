//! Linux: a Unix socket with `SO_PEERCRED`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

use super::Peer;

pub(super) type Stream = UnixStream;

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

/// Anybody may connect: who it is decides what is allowed.
const SOCKET_MODE: u32 = 0o666;

#[derive(Debug)]
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let address = ShortAddress::of(path)?;
        let listener = match UnixListener::bind(&address.path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(&address.path) => {
                fs::remove_file(path)?;
                UnixListener::bind(&address.path)?
            }
            result => result?,
        };
        fs::set_permissions(&address.path, fs::Permissions::from_mode(SOCKET_MODE))?;
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
    let address = ShortAddress::of(path)?;
    UnixStream::connect(&address.path).await
}

/// Nobody listens behind the name any more.
fn is_abandoned(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A socket's address holds 107 bytes of path, a state directory may be deeper: name it by its open parent.
struct ShortAddress {
    path: PathBuf,
    _parent: OwnedFd,
}

impl ShortAddress {
    fn of(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a path of a socket");
        let name = path.file_name().ok_or_else(invalid)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name);
        Ok(Self { path, _parent: parent })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use crate::ipc::{Listener, connect};

    #[tokio::test]
    async fn a_peer_is_known_by_its_account_also_in_a_deep_directory() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep)?;
        let path = deep.join("control.sock");
        let listener = Listener::bind(&path)?;
        let mut client = connect(&path).await?;
        let (mut server, peer) = listener.accept().await?;
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(peer.account, super::Account(uid));
        assert_eq!(peer.name(), crate::accounts::user_name(uid).unwrap_or_else(|| format!("uid {uid}")));
        assert_eq!(peer.pid, Some(std::process::id()));
        assert!(peer.is_administrator());
        client.write_all(b"ping").await?;
        client.shutdown().await?;
        let mut heard = String::new();
        server.read_to_string(&mut heard).await?;
        assert_eq!(heard, "ping");
        Ok(())
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("control.sock");
        drop(Listener::bind(&path)?);
        let living = Listener::bind(&path)?;
        let refused = Listener::bind(&path).err().map(|error| error.kind());
        assert_eq!(refused, Some(std::io::ErrorKind::AddrInUse));
        drop(living);
        Ok(())
    }
}
