//! The data directory: what lies where, and files that only the host's own account may read.
//!
//! Invariant: a secret file never exists with wider permissions than its owner's, not even while it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nightkeep_wire::VaultId;
use serde::{Deserialize, Serialize};

/// The host's data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

/// What the running host tells the commands beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostAddress {
    /// `https://HOST:PORT`, as agents and browsers reach it.
    pub(crate) url: String,
}

/// A file or folder of the data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {path}; check that the host's account owns the data directory")]
pub(crate) struct DataError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl DataDir {
    /// Opens the directory and creates what is missing of it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError { operation: "create", path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        // Commands beside the server may run elsewhere: the address of the database must not depend on that.
        let path = path.canonicalize().map_err(failed)?;
        restrict_folder(&path).map_err(failed)?;
        Ok(Self(path))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The key that seals every secret in the database.
    pub(crate) fn master_key(&self) -> PathBuf {
        self.0.join("master.key")
    }

    /// The certificate that the host made for itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("tls/certificate.pem")
    }

    /// Its key.
    pub(crate) fn certificate_key(&self) -> PathBuf {
        self.0.join("tls/key.pem")
    }

    /// Where all vaults lie.
    pub(crate) fn vaults(&self) -> PathBuf {
        self.0.join("vaults")
    }

    /// Where one vault lies; `file://` and this path opens it as any vault.
    pub(crate) fn vault(&self, id: VaultId) -> PathBuf {
        self.vaults().join(id.to_string())
    }

    fn address_file(&self) -> PathBuf {
        self.0.join("host.json")
    }

    /// Tells commands beside the server where it listens.
    pub(crate) fn write_address(&self, address: &HostAddress) -> Result<(), DataError> {
        let text = serde_json::to_vec(address).unwrap_or_default();
        let path = self.address_file();
        let temporary = path.with_extension("new");
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|source| DataError { operation: "write", path, source })
    }

    /// Where the server listens or listened last; none before its first start.
    pub(crate) fn read_address(&self) -> Option<HostAddress> {
        serde_json::from_slice(&fs::read(self.address_file()).ok()?).ok()
    }
}

/// Reads a secret file, or writes a new one with what `make` gives. Of two that start at once, one writes and both read
/// the same.
pub(crate) fn read_or_create_secret(path: &Path, make: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, DataError> {
    let failed = |operation| move |source| DataError { operation, path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => return Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("create"))?;
    }
    write_secret(path, &make()).map_err(failed("write"))?;
    fs::read(path).map_err(failed("read"))
}

/// Writes durably under the name, unless it is taken.
fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = create_private(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Elsewhere the data directory's own access list protects what lies in it.
#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

#[cfg(unix)]
fn restrict_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
