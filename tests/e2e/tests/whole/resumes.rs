//! A backup that was killed goes on: what it confirmed is neither read nor sent again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::process::Process;
use nightkeep_harness::tree;
use nightkeep_harness::wait::wait_for;

use crate::support::{points, restored};

const FILES: u64 = 240;
const FILE_BYTES: u64 = 1 << 20;
const CONFIRM_BYTES: u64 = 8 << 20;
/// Packs that are open or in flight, and what no segment lists yet, are sent again.
const ON_THE_WAY: u64 = 72 << 20;

fn backup_killed_at(machine: &CommandLine, vault: &DiskVault, source: &Path, enough: u64) -> Result<()> {
    let mut command = machine.command(&["backup"]);
    command.args(["--vault", &vault.url(), "--confirm-every", &CONFIRM_BYTES.to_string()]).arg(source);
    let mut process = Process::start("backup", command, &machine.home().join("backup.log"))?;
    wait_for("bytes in the vault", Duration::from_secs(120), || {
        ensure!(process.exited()?.is_none(), "the backup was done before it could be killed");
        Ok((vault.bytes()? >= enough).then_some(()))
    })?;
    process.kill()?;
    Ok(())
}

#[test]
fn scenario_01_a_killed_first_backup_reads_and_sends_only_what_was_not_confirmed() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    for n in 0..FILES {
        tree::noise(&source.path().join(format!("file-{n:03}")), FILE_BYTES as usize, n)?;
    }
    // A file whose times are as young as the backup is read again by the next, so they are made a little older.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    for n in 0..FILES {
        let file = std::fs::File::options().append(true).open(source.path().join(format!("file-{n:03}")))?;
        file.set_modified(old)?;
    }
    let all = FILES * FILE_BYTES;
    wait_until_settled()?;
    backup_killed_at(&machine, &vault, source.path(), all / 2 + ON_THE_WAY / 2)?;
    let answer =
        machine.vault(&vault.url(), &["backup", "--json", &source.path().to_string_lossy()])?.expect_code(0)?;
    let report = answer.json()?;
    let number = |name: &str| report[name].as_u64().with_context(|| format!("no {name} in {report}"));
    ensure!(report["resumed"] == true, "it began anew: {report}");
    let confirmed = number("files_unchanged")? * FILE_BYTES;
    ensure!(confirmed > 0 && number("bytes_read")? == all - confirmed, "what was confirmed was read: {report}");
    ensure!(vault.bytes()? < all + ON_THE_WAY, "{} bytes are stored of {all}: {report}", vault.bytes()?);
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), &points(&machine, &vault)?[0], target.path())?;
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}

/// Two seconds behind the last change of a file's status, which no program can set back.
fn wait_until_settled() -> Result<()> {
    let changed = std::time::Instant::now();
    wait_for("times that a backup trusts", Duration::from_secs(10), || {
        Ok((changed.elapsed() > Duration::from_millis(3100)).then_some(()))
    })
}
