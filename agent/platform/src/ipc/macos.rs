//! macOS: not there yet; every call answers `Unsupported`.

use std::io;
use std::path::Path;

use super::Peer;
use crate::Unsupported;

pub(super) type Stream = tokio::io::DuplexStream;

/// Nobody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account(std::convert::Infallible);

impl Account {
    pub(super) fn is_administrator(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn name(&self) -> String {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(super) struct Listener(std::convert::Infallible);

impl Listener {
    pub(super) fn bind(_path: &Path) -> io::Result<Self> {
        Err(unsupported())
    }

    #[expect(clippy::unused_async, reason = "the facade awaits it on every platform")]
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self.0 {}
    }
}

#[expect(clippy::unused_async, reason = "the facade awaits it on every platform")]
pub(super) async fn connect(_path: &Path) -> io::Result<Stream> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    Unsupported { what: "local control" }.into()
}
