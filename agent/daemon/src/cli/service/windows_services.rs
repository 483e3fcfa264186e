//! `service` under the service control manager of Windows.

use std::ffi::OsString;

use anyhow::Context as _;
use nightkeep_platform::service::{self, Definition, ServiceState};
use serde_json::json;

use crate::cli::args::{Globals, ServiceCommand};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;

/// The service's name; never to be changed.
pub(crate) const NAME: &str = "NightkeepAgent";
const DISPLAY_NAME: &str = "Nightkeep Backup Agent";
const DESCRIPTION: &str = "Backs up this computer by the plans of its service provider and reports how it went.";

/// Installs, removes, starts, stops or describes the service.
pub(super) fn run(command: ServiceCommand, globals: &Globals) -> anyhow::Result<Exit> {
    let mut notes = Vec::new();
    let done = match command {
        ServiceCommand::Install => {
            notes = install(globals)?;
            "installed; it starts with the machine"
        }
        ServiceCommand::Uninstall => {
            service::uninstall(NAME).map_err(failed("remove"))?;
            "removed; identity, state and configuration stay"
        }
        ServiceCommand::Start => {
            service::start(NAME).map_err(failed("start"))?;
            "started"
        }
        ServiceCommand::Stop => {
            service::stop(NAME).map_err(failed("stop"))?;
            "stopped"
        }
        ServiceCommand::Status => return status(globals),
    };
    if globals.json {
        output::json(&json!({ "service": NAME, "done": done, "notes": notes }));
    } else {
        output::line(format_args!("The service {NAME} is {done}."));
        for note in notes {
            output::line(format_args!("Note: it cannot {note}"));
        }
    }
    Ok(Exit::Done)
}

fn install(globals: &Globals) -> anyhow::Result<Vec<String>> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let places = super::run_arguments(globals);
    let places = places.into_iter().flat_map(|(flag, path)| [OsString::from(flag), path.into_os_string()]);
    let definition = Definition {
        name: NAME,
        display_name: DISPLAY_NAME,
        description: DESCRIPTION,
        program: &program,
        arguments: std::iter::once(OsString::from("run")).chain(places).collect(),
    };
    Ok(service::install(&definition).map_err(failed("install"))?)
}

fn status(globals: &Globals) -> anyhow::Result<Exit> {
    let state = service::state(NAME).map_err(failed("ask about"))?;
    let word = match state {
        Some(ServiceState::Running) => "active",
        Some(ServiceState::Starting) => "activating",
        Some(ServiceState::Stopping) => "deactivating",
        Some(ServiceState::Stopped) | None => "inactive",
    };
    let (installed, running) = (state.is_some(), state == Some(ServiceState::Running));
    if globals.json {
        output::json(&json!({ "service": NAME, "installed": installed, "running": running, "state": word }));
    } else {
        let installed = if installed { "installed" } else { "not installed" };
        output::line(format_args!("The service {NAME} is {installed} and {word}."));
    }
    Ok(if running { Exit::Done } else { Exit::Failed })
}

fn failed(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let message = format!("failed to {what} the service {NAME}");
    move |error| {
        let failure = Failure::new("service", format!("{message}: {error}"));
        let remedy = [
            (std::io::ErrorKind::PermissionDenied, "Run the command as an administrator."),
            (std::io::ErrorKind::NotFound, "Install it with `nightkeep-agent service install`."),
        ];
        match remedy.into_iter().find(|(kind, _)| *kind == error.kind()) {
            Some((_, remedy)) => failure.remedy(remedy),
            None => failure,
        }
    }
}
