//! Linux: systemd, by its marks (sd_booted(3)) and its notification socket (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::ServiceManager;
pub(super) use super::elsewhere::{install, start, state, stop, supervise, uninstall};

pub(super) fn manager() -> Option<ServiceManager> {
    let booted = Path::new("/run/systemd/system").is_dir();
    booted.then(|| ServiceManager::Systemd {
        unit_dir: "/etc/systemd/system".into(),
        supervised: std::env::var_os("INVOCATION_ID").is_some(),
    })
}

pub(super) fn notify_ready() -> io::Result<bool> {
    notify("READY=1")
}

pub(super) fn notify_stopping() -> io::Result<bool> {
    notify("STOPPING=1")
}

fn notify(state: &str) -> io::Result<bool> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(false) };
    send(&socket, state)?;
    Ok(true)
}

/// A leading `@` means the abstract namespace.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(Path::new(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_notification_reaches_the_socket() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        super::send(path.as_os_str(), "READY=1")?;
        let mut buffer = [0; 64];
        let bytes = socket.recv(&mut buffer)?;
        assert_eq!(&buffer[..bytes], b"READY=1");
        Ok(())
    }
}
