//! `run`: the daemon in the foreground, or as the service that the system's manager started.

use std::sync::mpsc::Receiver;

use anyhow::Context as _;
use nightkeep_platform::event_log::Event;
use nightkeep_platform::service::supervise;

use super::args::Globals;
use super::exit::Exit;
use super::log;
use super::service::windows_services::NAME;
use crate::daemon;
use crate::events;
use crate::places::Places;

/// Runs the daemon until it is asked to end.
pub(super) fn run(globals: &Globals) -> anyhow::Result<Exit> {
    let own = globals.clone();
    let body = Box::new(move |asked| match serve(&own, Some(asked)) {
        Ok(()) => true,
        Err(error) => {
            events::tell(Event::CannotGoOn, &format!("{error:#}"));
            false
        }
    });
    if !supervise(NAME, body).context("the service manager does not hear this service")? {
        serve(globals, None)?;
    }
    Ok(Exit::Done)
}

fn serve(globals: &Globals, asked: Option<Receiver<()>>) -> anyhow::Result<()> {
    let (places, config) = Places::resolve(globals)?;
    places.prepare_state()?;
    log::to_files(globals, &places, &config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("the daemon cannot start its threads")?;
    let ended = runtime.block_on(daemon::run(places, config, asked));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    Ok(ended?)
}
