//! Linux: not available yet; every volume is read live and told so.

use std::io;
use std::path::{Path, PathBuf};

use super::{Prospect, SnapshotError, SnapshotOptions, Taken, Volume, WhyLive};

pub(super) fn take(paths: &[PathBuf], _options: &SnapshotOptions<'_>) -> Result<Taken, SnapshotError> {
    let volumes = paths.iter().map(|path| Volume::live(path.clone(), unavailable())).collect();
    Ok(Taken { volumes, held: None })
}

/// Removes what an entry of a ledger names; whether it was still there.
pub(super) fn remove(_entry: &str) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn prospects() -> Vec<Prospect> {
    vec![Prospect { place: Path::new("/").to_path_buf(), outcome: Err(unavailable()) }]
}

fn unavailable() -> WhyLive {
    let reason = "a snapshot of LVM or btrfs is not made yet".to_owned();
    WhyLive::Unavailable { reason, remedy: "update the agent when it is".to_owned() }
}
