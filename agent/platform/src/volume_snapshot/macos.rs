//! macOS: what `apfs.rs` asks.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::apfs::{self, Mac};
use super::program::{self, RunError};
use super::{Prospect, SnapshotError, SnapshotOptions, Taken};
use crate::mounts::{Mount, Mounts};

/// How long a program may take to remove something.
const REMOVAL_TIME_MAX: Duration = Duration::from_secs(120);
const FIRM_LINKS: &str = "/usr/share/firmlinks";

struct ThisMac {
    time_max: Duration,
}

impl Mac for ThisMac {
    fn run(&self, program: &str, arguments: &[&OsStr]) -> Result<String, RunError> {
        program::run(program, arguments, self.time_max)
    }

    fn mounts(&self) -> io::Result<Vec<Mount>> {
        Ok(Mounts::read()?.iter().cloned().collect())
    }

    fn firm_links(&self) -> String {
        std::fs::read_to_string(FIRM_LINKS).unwrap_or_default()
    }

    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}

pub(super) fn take(paths: &[PathBuf], options: &SnapshotOptions<'_>) -> Result<Taken, SnapshotError> {
    apfs::take(Box::new(ThisMac { time_max: options.time_max }), paths, options)
}

/// Removes what an entry of a ledger names; whether it was still there.
pub(super) fn remove(entry: &str) -> io::Result<bool> {
    apfs::remove(&ThisMac { time_max: REMOVAL_TIME_MAX }, entry)
}

pub(super) fn prospects() -> Vec<Prospect> {
    apfs::prospects(&ThisMac { time_max: REMOVAL_TIME_MAX })
}
