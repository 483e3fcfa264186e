//! Small JSON files that are replaced whole: a reader finds the old document or the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nightkeep_platform::secret_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file of ours that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Not readable.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not writable.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Readable, but not what this version wrote.
    #[error("{} is damaged or of another version", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a document; none where there is no file.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| FileError::Read { path: path.to_path_buf(), source })?,
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|source| FileError::Content { path: path.to_path_buf(), source })
}

/// Replaces a document, durably; only its owner can read it.
pub(crate) fn save(path: &Path, document: &impl Serialize) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_path_buf(), source };
    let bytes = serde_json::to_vec_pretty(document).map_err(|error| failed(error.into()))?;
    secret_file::write(path, &bytes).map_err(failed)
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| FileError::Write { path: path.to_path_buf(), source }),
    }
}
