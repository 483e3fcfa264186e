//! kill -9 at any moment leaves only recovery points that can be restored.

use std::time::Duration;

use anyhow::{Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::process::Process;
use nightkeep_harness::tree;
use nightkeep_harness::wait::wait_for;

use crate::support::{points, restored};

const KILLS: u64 = 10;

#[test]
fn ten_killed_backups_leave_only_points_that_can_be_restored() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("noise"), 96 << 20, 1)?;
    tree::many(source.path(), 2_000)?;
    let mut listed = Vec::new();
    for kill in 1..=KILLS {
        // Each kill comes later than the one before: some at the start, some between packs, some near the commit.
        let enough = vault.bytes()? + kill * (10 << 20);
        let finished = backup_killed_at(&machine, &vault, source.path(), enough)?;
        let now = points(&machine, &vault)?;
        let new = now.len().checked_sub(listed.len());
        // A run that is killed between its commit and its end has made its point.
        ensure!(
            now.starts_with(&listed) && matches!((finished, new), (_, Some(1)) | (false, Some(0))),
            "kill {kill}: {listed:?} became {now:?}, and the run ended by itself: {finished}"
        );
        listed = now;
    }
    let point = machine.backup(&vault.url(), source.path())?;
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    listed.push(point);
    ensure!(points(&machine, &vault)? == listed, "the last run added another point than its own: {listed:?}");
    for point in listed {
        let target = tempfile::tempdir()?;
        machine.restore_expecting(0, &vault.url(), &point, target.path())?;
        expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    }
    Ok(())
}

/// Starts a backup and kills it once the vault holds `enough` bytes. Answers whether it was done before that.
fn backup_killed_at(machine: &CommandLine, vault: &DiskVault, source: &std::path::Path, enough: u64) -> Result<bool> {
    let mut command = machine.command(&["backup"]);
    command.args(["--vault", &vault.url()]).arg(source);
    let mut process = Process::start("backup", command, &machine.home().join("backup.log"))?;
    let done =
        wait_for("bytes in the vault, or the backup's end", Duration::from_secs(120), || match process.exited()? {
            Some(status) => Ok(Some(status.success())),
            None => Ok((vault.bytes()? >= enough).then_some(false)),
        })?;
    if !done {
        process.kill()?;
    }
    Ok(done)
}
