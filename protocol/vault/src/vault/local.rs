//! What a machine keeps of a vault beside its keys: a folder for caches, and how eagerly it asks.
//!
//! **Invariant**: losing it costs time, never data.

use crate::id::{MachineId, VaultId};
use std::path::{Path, PathBuf};

/// The machine's side of an opened vault. The default keeps nothing and asks for one object at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The folder for caches of all vaults, `STATE_DIR/cache`; none keeps nothing.
    pub cache: Option<PathBuf>,
    /// Requests in flight at most, where many small objects are read.
    pub requests: usize,
}

impl Default for Local {
    fn default() -> Self {
        Self { cache: None, requests: 1 }
    }
}

impl Local {
    /// Caches in this folder, and sixteen requests in flight: enough to hide 50 ms for each of a thousand objects.
    pub fn in_dir(cache: impl AsRef<Path>) -> Self {
        Self { cache: Some(cache.as_ref().to_path_buf()), requests: 16 }
    }

    pub(super) fn index_dir(&self, vault: VaultId, reader: Option<MachineId>) -> Option<PathBuf> {
        let of = reader.map_or_else(|| "all".to_owned(), |machine| machine.to_string());
        Some(self.cache.as_ref()?.join(vault.to_string()).join(format!("index-{of}")))
    }
}
