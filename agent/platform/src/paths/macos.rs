//! macOS: `/Library` for root, the user's own `Library` for anybody else.

use std::path::{Path, PathBuf};

use super::{Paths, directory_from_env};

pub(super) fn standard() -> Paths {
    let own = directory_from_env("HOME").filter(|_| !crate::process::is_root());
    below(&own.unwrap_or_else(|| PathBuf::from("/")))
}

pub(super) fn of_service() -> Paths {
    below(Path::new("/"))
}

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn guard_service_places() -> std::io::Result<()> {
    Ok(())
}

fn below(home: &Path) -> Paths {
    let base = home.join("Library/Application Support/Nightkeep");
    Paths {
        state: base.join("State"),
        identity: base.join("Identity"),
        config: base.clone(),
        log: home.join("Library/Logs/Nightkeep"),
        run: base.join("State/run"),
    }
}
