//! `service` under launchd of macOS: a property list in a folder, and launchctl(1).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use serde_json::json;

use super::run_arguments;
use crate::cli::args::{Globals, ServiceCommand};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;

/// The service's name; never to be changed.
const LABEL: &str = "org.nightkeep.agent";
/// The list as the installer brings it: its text stands there and nowhere else.
const PACKAGED: &str = include_str!("../../../../../packaging/macos/org.nightkeep.agent.plist");
/// What that list starts.
const PACKAGED_START: &str = "\t\t<string>/Library/Nightkeep/nightkeep-agent</string>\n\t\t<string>run</string>\n";

/// Installs, removes, starts, stops or describes the service.
pub(super) fn run(command: ServiceCommand, daemon_dir: &Path, globals: &Globals) -> anyhow::Result<Exit> {
    let list = daemon_dir.join(format!("{LABEL}.plist"));
    let done = match command {
        ServiceCommand::Install => install(&list, globals)?,
        ServiceCommand::Uninstall => uninstall(&list)?,
        ServiceCommand::Start => start(&list)?,
        ServiceCommand::Stop => stop()?,
        ServiceCommand::Status => return status(&list, globals),
    };
    if globals.json {
        output::json(&json!({ "service": LABEL, "done": done }));
    } else {
        output::line(format_args!("The service {LABEL} is {done}."));
    }
    Ok(Exit::Done)
}

/// A list that is there already is the installer's or a former call's; both are replaced by one for this program and places.
fn install(list: &Path, globals: &Globals) -> anyhow::Result<&'static str> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    std::fs::write(list, list_text(&program, &run_arguments(globals))).map_err(|error| {
        Failure::new("service", format!("failed to write {}: {error}", list.display()))
            .remedy("Run the command as an administrator: `sudo nightkeep-agent service install`.")
    })?;
    launchctl(&["enable", &target()])?;
    Ok("installed; it starts with the machine")
}

fn uninstall(list: &Path) -> anyhow::Result<&'static str> {
    stop()?;
    if crate::places::exists(list) {
        std::fs::remove_file(list).with_context(|| format!("failed to remove {}", list.display()))?;
    }
    Ok("removed; identity, state and configuration stay")
}

fn start(list: &Path) -> anyhow::Result<&'static str> {
    if !is_loaded()? {
        launchctl(&["bootstrap", "system", &list.display().to_string()])?;
    }
    launchctl(&["kickstart", &target()])?;
    Ok("started")
}

fn stop() -> anyhow::Result<&'static str> {
    // One that only ended would be started again.
    if is_loaded()? {
        launchctl(&["bootout", &target()])?;
    }
    Ok("stopped; it starts again with the machine")
}

fn status(list: &Path, globals: &Globals) -> anyhow::Result<Exit> {
    let installed = crate::places::exists(list);
    let told = ask(&["print", &target()])?;
    let state = if told.status.success() { state_of(&String::from_utf8_lossy(&told.stdout)) } else { None };
    let state = state.unwrap_or_else(|| "not loaded".to_owned());
    let running = state == "running";
    if globals.json {
        output::json(&json!({ "service": LABEL, "installed": installed, "running": running, "state": state }));
    } else {
        let installed = if installed { "installed" } else { "not installed" };
        output::line(format_args!("The service {LABEL} is {installed} and {state}."));
    }
    Ok(if running { Exit::Done } else { Exit::Failed })
}

/// The first `state = WORD` of what `launchctl print` tells; those of what belongs to the service stand deeper.
fn state_of(told: &str) -> Option<String> {
    told.lines().find_map(|line| line.strip_prefix("\tstate = ")).map(str::to_owned)
}

fn target() -> String {
    format!("system/{LABEL}")
}

fn is_loaded() -> anyhow::Result<bool> {
    Ok(ask(&["print", &target()])?.status.success())
}

fn ask(arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new("/bin/launchctl").args(arguments).output().context("launchctl cannot be run")
}

fn launchctl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = ask(arguments)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new("service", format!("launchctl {} failed: {said}", arguments.join(" "))).into())
}

/// The installer's list for this program and these places.
fn list_text(program: &Path, arguments: &[(&str, PathBuf)]) -> String {
    let flags = arguments.iter().flat_map(|(flag, path)| [(*flag).to_owned(), path.display().to_string()]);
    let words = [program.display().to_string(), "run".to_owned()].into_iter().chain(flags);
    let lines = words.map(|word| format!("\t\t<string>{}</string>\n", escaped(&word)));
    PACKAGED.replace(PACKAGED_START, &lines.collect::<String>())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_program_and_places_and_is_the_installers_otherwise() {
        assert_eq!(PACKAGED.matches(PACKAGED_START).count(), 1);
        assert_eq!(list_text(Path::new("/Library/Nightkeep/nightkeep-agent"), &[]), PACKAGED);
        let text = list_text(Path::new("/opt/a&b/nightkeep-agent"), &[("--state-dir", "/srv/a b".into())]);
        let expected = "<string>/opt/a&amp;b/nightkeep-agent</string>\n\t\t<string>run</string>\n\
                        \t\t<string>--state-dir</string>\n\t\t<string>/srv/a b</string>\n\t</array>";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_services_own_state_is_read_and_not_its_parts() {
        let told = "system/org.nightkeep.agent = {\n\tactive count = 1\n\tstate = running\n\n\tspawn {\n\t\tstate = active\n\t}\n}";
        assert_eq!(state_of(told).as_deref(), Some("running"));
        assert_eq!(state_of("x = {\n\tspawn {\n\t\tstate = active\n\t}\n}"), None);
    }
}
