//! Scenario 30: a backup where memory is scarce.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::tree;

use crate::support::{points, restored};

/// The limit of the scenario, in KiB: of everything the process can write to, threads' stacks included.
const LIMIT_KIB: u64 = 128 << 10;
/// Too little for a backup of any kind.
const HOPELESS_KIB: u64 = 12 << 10;

/// Runs `backup --json` under a limit of the kernel; answers whether it succeeded, and what it printed.
fn backup_within(
    machine: &CommandLine,
    vault: &DiskVault,
    key: &Path,
    source: &Path,
    kib: u64,
) -> Result<(bool, String)> {
    let plain = machine.command(&["backup"]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {kib}; exec \"$@\""), "sh"]).arg(plain.get_program());
    command.args(plain.get_args()).arg("--json").args(["--vault", &vault.url(), "--key-file"]).arg(key).arg(source);
    for (name, value) in plain.get_envs() {
        match value {
            // A key file takes the passphrase's place.
            Some(_) | None if name == "NIGHTKEEP_PASSPHRASE" => command.env_remove(name),
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn scenario_30_a_backup_completes_within_128_mib_or_fails_without_a_trace() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let key = machine.home().join("key");
    let exported = machine.command(&["key", "--vault", &vault.url(), "export", &key.to_string_lossy()]).output()?;
    ensure!(exported.status.success(), "{exported:?}");
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("noise"), 96 << 20, 1)?;
    tree::many(source.path(), 5_000)?;

    let (done, _) = backup_within(&machine, &vault, &key, source.path(), HOPELESS_KIB)?;
    ensure!(!done, "a backup within {HOPELESS_KIB} KiB says that it succeeded");
    ensure!(points(&machine, &vault)?.is_empty(), "a recovery point of a backup that failed");

    let (done, printed) = backup_within(&machine, &vault, &key, source.path(), LIMIT_KIB)?;
    ensure!(done, "the backup failed within {LIMIT_KIB} KiB: {printed}");
    let report: serde_json::Value = serde_json::from_str(printed.lines().last().unwrap_or_default())?;
    ensure!(report["low_memory"] == true, "the low-memory profile was not chosen by itself: {report}");
    let peak = report["peak_memory_bytes"].as_u64().context("no peak is reported")?;
    ensure!(peak < LIMIT_KIB << 10, "{peak} bytes were resident");
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), &points(&machine, &vault)?[0], target.path())?;
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}
