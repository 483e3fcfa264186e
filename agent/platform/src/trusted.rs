//! Files that decide what runs with the agent's rights: only those count that nobody else could have written.

use std::io;
use std::path::{Path, PathBuf};

#[cfg_attr(target_os = "linux", path = "trusted/linux.rs")]
#[cfg_attr(target_os = "macos", path = "trusted/macos.rs")]
#[cfg_attr(target_os = "windows", path = "trusted/windows.rs")]
mod system;

/// Why a file does not count.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It cannot be looked at.
    #[error("failed to look at {}", path.display())]
    Unreadable {
        /// The file or a folder above it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no ordinary file.
    #[error("{} is no file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is somebody else's.
    #[error("{} belongs to {owner}: give it to {wanted}", path.display())]
    Owner {
        /// The file or a folder above it.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Whose it may be.
        wanted: String,
    },
    /// Others may write it.
    #[error("{} can be written by others: take that right away (chmod go-w)", path.display())]
    Writable {
        /// The file or a folder above it.
        path: PathBuf,
    },
}

/// The file's path without links, if nobody but root (an administrator) and this process' account could have written the file
/// or replaced it or a folder above it. What is opened or started must be the path that is answered.
pub fn trusted_file(path: &Path) -> Result<PathBuf, Untrusted> {
    system::trusted_file(path)
}
