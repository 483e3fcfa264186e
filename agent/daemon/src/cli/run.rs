//! `run`: the daemon in the foreground.

use anyhow::Context as _;

use super::args::Globals;
use super::exit::Exit;
use super::log;
use crate::daemon;
use crate::places::Places;

/// Runs the daemon until it is asked to end.
pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    let (places, config) = Places::resolve(globals)?;
    places.prepare_state()?;
    log::to_files(globals, &places, &config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("the daemon cannot start its threads")?;
    let ended = runtime.block_on(daemon::run(places, config));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended?;
    Ok(Exit::Done)
}
