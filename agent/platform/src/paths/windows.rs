//! Windows: below `%ProgramData%`, whose access rules the installer narrows.

use std::path::PathBuf;

use super::Paths;

pub(super) fn standard() -> Paths {
    let base = std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
    let base = base.join("Nightkeep");
    Paths {
        state: base.join("State"),
        identity: base.join("Identity"),
        config: base.clone(),
        log: base.join("Logs"),
        run: base.join("State").join("run"),
    }
}
