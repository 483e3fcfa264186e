//! `service`: the daemon as a unit of systemd, or as a service of launchd or of Windows.

mod launchd;
pub(crate) mod windows_services;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use nightkeep_platform::Unsupported;
use nightkeep_platform::service::{ServiceManager, manager};
use serde_json::json;

use super::args::{Globals, ServiceCommand};
use super::exit::Exit;
use super::failure::Failure;
use super::output;

const UNIT: &str = "nightkeep-agent.service";
/// The unit as the packages bring it: its text stands there and nowhere else.
const PACKAGED: &str = include_str!("../../../../packaging/linux/nightkeep-agent.service");
/// What the packages' unit starts, and the line that says so.
const PACKAGED_PROGRAM: &str = "/usr/bin/nightkeep-agent";
const PACKAGED_START: &str = "ExecStart=/usr/bin/nightkeep-agent run\n";
/// Where packages put their units.
const PACKAGED_UNIT_DIRS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Installs, removes, starts, stops or describes the service.
pub(super) fn run(command: ServiceCommand, globals: &Globals) -> anyhow::Result<Exit> {
    let unit_dir = match manager() {
        Some(ServiceManager::Systemd { unit_dir, .. }) => unit_dir,
        Some(ServiceManager::Launchd { daemon_dir, .. }) => return launchd::run(command, &daemon_dir, globals),
        Some(ServiceManager::ServiceControlManager { .. }) => return windows_services::run(command, globals),
        None => {
            let unsupported = Unsupported { what: "running as a service here (no systemd)" };
            let remedy = "Run `nightkeep-agent run` under whatever starts programs on this machine.";
            return Err(Failure::new("unsupported", unsupported.to_string()).remedy(remedy).into());
        }
    };
    let unit = unit_dir.join(UNIT);
    let packaged = PACKAGED_UNIT_DIRS.iter().any(|dir| crate::places::exists(&Path::new(dir).join(UNIT)));
    let done = match command {
        ServiceCommand::Install => install(&unit, packaged, globals)?,
        ServiceCommand::Uninstall => uninstall(&unit, packaged)?,
        ServiceCommand::Start => systemctl(&["start", UNIT]).map(|()| "started")?,
        ServiceCommand::Stop => systemctl(&["stop", UNIT]).map(|()| "stopped")?,
        ServiceCommand::Status => return status(&unit, packaged, globals),
    };
    if globals.json {
        output::json(&json!({ "service": UNIT, "done": done }));
    } else {
        output::line(format_args!("The service {UNIT} is {done}."));
    }
    Ok(Exit::Done)
}

/// A package's unit serves when it starts this very program at its usual places; a copy of it would keep the machine from
/// ever getting the unit of a newer package. Otherwise a unit of the administrator's, which stands before the package's.
fn install(unit: &Path, packaged: bool, globals: &Globals) -> anyhow::Result<&'static str> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let arguments = run_arguments(globals);
    let done = if packaged && packaged_serves(&program, &arguments) {
        if crate::places::exists(unit) {
            remove(unit)?;
        }
        "installed by its package; it starts with the machine"
    } else {
        std::fs::write(unit, unit_text(&program, &arguments)).map_err(|error| {
            Failure::new("service", format!("failed to write {}: {error}", unit.display()))
                .remedy("Run the command as an administrator.")
        })?;
        "installed; it starts with the machine"
    };
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT])?;
    Ok(done)
}

fn packaged_serves(program: &Path, arguments: &[(&str, PathBuf)]) -> bool {
    program == Path::new(PACKAGED_PROGRAM) && arguments.is_empty()
}

fn uninstall(unit: &Path, packaged: bool) -> anyhow::Result<&'static str> {
    let own = crate::places::exists(unit);
    if own || packaged {
        systemctl(&["disable", "--now", UNIT])?;
    }
    if own {
        remove(unit)?;
        systemctl(&["daemon-reload"])?;
    }
    Ok(if packaged {
        "stopped and no longer starts with the machine; its package stays"
    } else {
        "removed; identity, state and configuration stay"
    })
}

fn remove(unit: &Path) -> anyhow::Result<()> {
    std::fs::remove_file(unit).with_context(|| format!("failed to remove {}", unit.display()))
}

fn status(unit: &Path, packaged: bool, globals: &Globals) -> anyhow::Result<Exit> {
    let installed = packaged || crate::places::exists(unit);
    let state = Command::new("systemctl").args(["is-active", UNIT]).output();
    let state = state.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let running = state == "active";
    if globals.json {
        output::json(&json!({ "service": UNIT, "installed": installed, "running": running, "state": state }));
    } else {
        let installed = if installed { "installed" } else { "not installed" };
        output::line(format_args!("The service {UNIT} is {installed} and {state}."));
    }
    Ok(if running { Exit::Done } else { Exit::Failed })
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("systemctl").args(arguments).output().context("systemctl cannot be run")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new("service", format!("systemctl {} failed: {said}", arguments.join(" "))).into())
}

/// The flags that the service needs to find the same places.
fn run_arguments(globals: &Globals) -> Vec<(&'static str, PathBuf)> {
    let flags =
        [("--config", &globals.config), ("--state-dir", &globals.state_dir), ("--identity-dir", &globals.identity_dir)];
    let given = flags.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?)));
    given.map(|(flag, path)| (flag, std::path::absolute(&path).unwrap_or(path))).collect()
}

/// The packages' unit for this program and these places.
fn unit_text(program: &Path, arguments: &[(&str, PathBuf)]) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""));
    let arguments: String = arguments.iter().map(|(flag, path)| format!(" {flag} {}", quoted(path))).collect();
    PACKAGED.replace(PACKAGED_START, &format!("ExecStart={} run{arguments}\n", quoted(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_program_and_places_and_leaves_backups_their_rights() {
        let text = unit_text(Path::new("/usr/bin/nightkeep-agent"), &[("--state-dir", "/srv/a b/100%".into())]);
        assert!(text.contains("ExecStart=\"/usr/bin/nightkeep-agent\" run --state-dir \"/srv/a b/100%%\"\n"), "{text}");
        for right in ["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"] {
            assert!(text.contains(right), "{right}");
        }
        for closed in ["ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID", "ProtectSystem"] {
            assert!(!text.contains(closed), "{closed} would hide files from the backup or spoil a restore");
        }
    }

    #[test]
    fn a_packages_unit_serves_its_own_program_at_its_usual_places_alone() {
        assert_eq!(PACKAGED.matches(PACKAGED_START).count(), 1);
        assert!(PACKAGED_START.contains(PACKAGED_PROGRAM));
        assert!(packaged_serves(Path::new("/usr/bin/nightkeep-agent"), &[]));
        assert!(!packaged_serves(Path::new("/opt/nightkeep-agent"), &[]));
        assert!(!packaged_serves(Path::new("/usr/bin/nightkeep-agent"), &[("--state-dir", "/srv/state".into())]));
    }
}
