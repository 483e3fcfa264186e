//! The backup monitor in the tray. It knows local control and nothing else: no host, no storage, no credentials.
//!
//! Invariant: what it shows is what the daemon said last; what it may do is what the daemon allows.

mod client;
mod icon;
mod model;
mod tray;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use nightkeep_platform::paths::Paths;

const USAGE: &str = "usage: nightkeep-monitor [--state-dir DIR]\nShows in the tray how this computer is backed up.";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("nightkeep-monitor: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(sockets) = sockets(std::env::args_os().skip(1))? else {
        say(USAGE);
        return Ok(ExitCode::from(2));
    };
    if std::env::consts::OS != "linux" {
        bail!("the backup monitor is not there yet for {}", std::env::consts::OS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("the monitor cannot start its threads")?.block_on(tray::show(sockets))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the daemon may listen, the likeliest first; none when the arguments make no sense.
fn sockets(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> anyhow::Result<Option<Vec<PathBuf>>> {
    let in_state = |state: PathBuf| state.join("control.sock");
    let Some(flag) = arguments.next() else {
        // The machine's own service, which a user's session finds at its fixed place; then a daemon of the user's own.
        return Ok(Some(vec![in_state(Paths::of_service().state), in_state(Paths::standard().state)]));
    };
    match (flag.to_str(), arguments.next(), arguments.next()) {
        (Some("--state-dir"), Some(state), None) => Ok(Some(vec![in_state(state.into())])),
        _ => Ok(None),
    }
}

fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    // Nobody may be reading, which is fine.
    let _ = writeln!(std::io::stderr(), "{text}");
}
