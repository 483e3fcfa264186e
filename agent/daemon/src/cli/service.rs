//! `service`: the daemon as a unit of systemd. Other service managers come with their platforms' issues.

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

/// Installs, removes, starts, stops or describes the service.
pub(super) fn run(command: ServiceCommand, globals: &Globals) -> anyhow::Result<Exit> {
    let Some(ServiceManager::Systemd { unit_dir, .. }) = manager() else {
        let unsupported = Unsupported { what: "running as a service here (no systemd)" };
        let remedy = "Run `nightkeep-agent run` under whatever starts programs on this machine.";
        return Err(Failure::new("unsupported", unsupported.to_string()).remedy(remedy).into());
    };
    let unit = unit_dir.join(UNIT);
    match command {
        ServiceCommand::Install => install(&unit, globals)?,
        ServiceCommand::Uninstall => uninstall(&unit)?,
        ServiceCommand::Start => systemctl(&["start", UNIT])?,
        ServiceCommand::Stop => systemctl(&["stop", UNIT])?,
        ServiceCommand::Status => return status(&unit, globals),
    }
    let done = match command {
        ServiceCommand::Install => "installed; it starts with the machine",
        ServiceCommand::Uninstall => "removed; identity, state and configuration stay",
        ServiceCommand::Start => "started",
        ServiceCommand::Stop => "stopped",
        ServiceCommand::Status => "described",
    };
    if globals.json {
        output::json(&json!({ "service": UNIT, "done": done }));
    } else {
        output::line(format_args!("The service {UNIT} is {done}."));
    }
    Ok(Exit::Done)
}

fn install(unit: &Path, globals: &Globals) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let text = unit_text(&program, &run_arguments(globals));
    std::fs::write(unit, text).map_err(|error| {
        Failure::new("service", format!("failed to write {}: {error}", unit.display()))
            .remedy("Run the command as an administrator.")
    })?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", UNIT])
}

fn uninstall(unit: &Path) -> anyhow::Result<()> {
    if !crate::places::exists(unit) {
        return Ok(());
    }
    systemctl(&["disable", "--now", UNIT])?;
    std::fs::remove_file(unit).with_context(|| format!("failed to remove {}", unit.display()))?;
    systemctl(&["daemon-reload"])
}

fn status(unit: &Path, globals: &Globals) -> anyhow::Result<Exit> {
    let installed = crate::places::exists(unit);
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

/// The unit. What a backup and a restore need stays open: every file, every owner, every attribute, device nodes and
/// set-user-id bits; what they never need is closed.
fn unit_text(program: &Path, arguments: &[(&str, PathBuf)]) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.display().to_string().replace('%', "%%").replace('"', "\\\""));
    let arguments: String = arguments.iter().map(|(flag, path)| format!(" {flag} {}", quoted(path))).collect();
    format!(
        "[Unit]
Description=Nightkeep backup agent
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run{arguments}
Restart=always
RestartSec=60
# A backup that runs is interrupted in order; the next one goes on from there.
KillSignal=SIGINT
TimeoutStopSec=45
StateDirectory=nightkeep
LogsDirectory=nightkeep
ConfigurationDirectory=nightkeep
# Behind whatever else runs.
Nice=10
IOSchedulingClass=idle
CPUWeight=20
OOMScoreAdjust=200
# Reading and restoring every file takes these, and no others.
CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER CAP_FSETID CAP_MKNOD CAP_SETFCAP
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_NICE CAP_LINUX_IMMUTABLE CAP_MAC_ADMIN
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
",
        program = quoted(program),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_program_and_places_and_leaves_backups_their_rights() {
        let text = unit_text(Path::new("/usr/bin/nightkeep-agent"), &[("--state-dir", "/srv/a b/100%".into())]);
        assert!(text.contains("ExecStart=\"/usr/bin/nightkeep-agent\" run --state-dir \"/srv/a b/100%%\"\n"), "{text}");
        assert!(text.contains("CAP_DAC_READ_SEARCH"));
        for closed in ["ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID", "ProtectSystem"] {
            assert!(!text.contains(closed), "{closed} would hide files from the backup or spoil a restore");
        }
    }
}
