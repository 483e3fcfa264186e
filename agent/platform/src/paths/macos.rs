//! macOS: `/Library` for root, the user's own `Library` for anybody else.

use std::path::PathBuf;

use super::{Paths, directory_from_env};

pub(super) fn standard() -> Paths {
    let root = crate::process::is_root();
    let home = if root { PathBuf::from("/") } else { directory_from_env("HOME").unwrap_or_else(|| PathBuf::from("/")) };
    let base = home.join("Library/Application Support/Nightkeep");
    Paths {
        state: base.join("State"),
        identity: base.join("Identity"),
        config: base.clone(),
        log: home.join("Library/Logs/Nightkeep"),
        run: base.join("State/run"),
    }
}
