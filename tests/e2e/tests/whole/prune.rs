//! Space of dropped recovery points comes back, and nothing else goes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::tree;

use crate::support::{points, restored, said};

/// Writes the files of round `n`: some stay, some are new each time.
fn round(source: &Path, n: u64) -> Result<()> {
    fs::create_dir_all(source.join("kept"))?;
    if n == 0 {
        tree::noise(&source.join("kept/large"), 6 << 20, 1)?;
        tree::many(&source.join("kept"), 300)?;
    }
    tree::noise(&source.join("changing"), 4 << 20, 100 + n)
}

fn assert_restores(machine: &CommandLine, vault: &DiskVault, point: &str, source: &Path, n: u64) -> Result<()> {
    let target = tempfile::tempdir()?;
    let folder = target.path().join("out");
    machine.restore_expecting(0, &vault.url(), point, &folder)?;
    let back = restored(&folder, source)?;
    let expected = tempfile::tempdir()?;
    tree::noise(&expected.path().join("changing"), 4 << 20, 100 + n)?;
    ensure!(fs::read(back.join("changing"))? == fs::read(expected.path().join("changing"))?, "round {n} differs");
    ensure!(fs::read(back.join("kept/large"))? == fs::read(source.join("kept/large"))?, "what stayed differs");
    Ok(())
}

#[test]
fn prune_gives_back_the_space_of_forgotten_points_and_every_other_one_restores() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source");
    let mut made = Vec::new();
    for n in 0..5 {
        round(&source, n)?;
        made.push(machine.backup(&vault.url(), &source)?);
    }
    let full = vault.bytes()?;
    let forget = ["forget", made[0].as_str(), made[1].as_str(), made[3].as_str()];
    machine.vault(&vault.url(), &forget)?.expect_code(0)?;
    // In the trash everything still takes its space, and comes back.
    let report = machine.vault(&vault.url(), &["prune", "--now", "--json"])?.expect_code(0)?.json()?;
    ensure!(report["packs_deleted"] == 0, "{report}");
    machine.vault(&vault.url(), &["undelete", made[3].as_str()])?.expect_code(0)?;
    assert_restores(&machine, &vault, &made[3], &source, 3)?;

    let before = vault.bytes()?;
    let dry =
        machine.vault(&vault.url(), &["prune", "--keep-trash", "0", "--dry-run", "--json"])?.expect_code(0)?.json()?;
    ensure!(dry["forgotten"].as_array().map(Vec::len) == Some(2), "{dry}");
    ensure!(vault.bytes()? == before, "a dry run deleted something");
    let report = machine.vault(&vault.url(), &["prune", "--keep-trash", "0", "--json"])?.expect_code(0)?.json()?;
    ensure!(report["bytes_deleted"] == dry["bytes_deleted"], "{report} is not what was shown: {dry}");
    ensure!(vault.path().join("trash").is_dir(), "what was deleted can be moved back for 7 days");
    machine.vault(&vault.url(), &["prune", "--now"])?.expect_code(0)?;
    let left = vault.bytes()?;
    // The second round's 4 MiB; the first's lie in one pack with what stays, and that is more than half of it.
    ensure!(full - left > 3 << 20, "{full} bytes before, {left} after");
    ensure!(points(&machine, &vault)? == [made[2].clone(), made[3].clone(), made[4].clone()], "wrong points are left");
    for n in [2, 3, 4] {
        assert_restores(&machine, &vault, &made[n], &source, n as u64)?;
    }
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    // The next backup builds on what is left.
    machine.backup(&vault.url(), &source)?;
    ensure!(vault.bytes()? - left < 64 << 10, "an unchanged folder was stored again");
    Ok(())
}

#[test]
fn a_pack_that_is_mostly_garbage_gives_way_to_what_is_needed_of_it() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source");
    tree::noise(&source.join("stays"), 1 << 20, 1)?;
    tree::noise(&source.join("goes"), 8 << 20, 2)?;
    let first = machine.backup(&vault.url(), &source)?;
    fs::remove_file(source.join("goes"))?;
    let second = machine.backup(&vault.url(), &source)?;
    machine.vault(&vault.url(), &["forget", &first])?.expect_code(0)?;
    let prune = ["prune", "--keep-trash", "0", "--now", "--json"];
    let kept = machine.vault(&vault.url(), &[&prune[..], &["--repack-below", "0"]].concat())?.expect_code(0)?.json()?;
    ensure!(kept["packs_repacked"] == 0 && vault.bytes()? > 9 << 20, "{kept}");
    let report = machine.vault(&vault.url(), &prune)?.expect_code(0)?.json()?;
    ensure!(report["packs_repacked"] == 1, "{report}");
    ensure!(vault.bytes()? < 3 << 19, "{} bytes are left for 1 MiB of contents", vault.bytes()?);
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    let target = tempfile::tempdir()?;
    let out = target.path().join("out");
    machine.restore_expecting(0, &vault.url(), &second, &out)?;
    expect_equal(&source, &restored(&out, &source)?)?;
    let third = machine.vault(&vault.url(), &["backup", "--json", &source.to_string_lossy()])?.expect_code(0)?;
    ensure!(third.stdout.contains("\"bytes_new\":0,"), "{}", third.stdout);
    Ok(())
}

#[test]
fn ninety_percent_of_many_points_are_pruned_while_a_backup_runs() -> Result<()> {
    const POINTS: usize = 40;
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source");
    round(&source, 0)?;
    let mut made = Vec::new();
    for n in 0..POINTS {
        fs::write(source.join("kept/counter"), n.to_string())?;
        made.push(machine.backup(&vault.url(), &source)?);
    }
    let mut forget = vec!["forget"];
    forget.extend(made[..POINTS * 9 / 10].iter().map(String::as_str));
    machine.vault(&vault.url(), &forget)?.expect_code(0)?;
    tree::noise(&source.join("late"), 48 << 20, 7)?;
    let mut backup = machine.command(&["backup"]);
    let mut running = backup.args(["--vault", &vault.url()]).arg(&source).spawn()?;
    machine.vault(&vault.url(), &["prune", "--keep-trash", "0", "--now"])?.expect_code(0)?;
    let status = running.wait()?;
    ensure!(status.code() == Some(0), "the backup beside it ended with {status}");
    let left = points(&machine, &vault)?;
    ensure!(left.len() == POINTS / 10 + 1, "{} points are left", left.len());
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    let target = tempfile::tempdir()?;
    let out = target.path().join("out");
    machine.restore_expecting(0, &vault.url(), left.last().context("a point")?, &out)?;
    ensure!(
        fs::read(restored(&out, &source)?.join("late"))? == fs::read(source.join("late"))?,
        "the new point differs"
    );
    Ok(())
}

#[test]
fn a_storage_that_lost_points_is_not_pruned_and_says_why() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source");
    for n in 0..2 {
        round(&source, n)?;
        machine.backup(&vault.url(), &source)?;
    }
    machine.vault(&vault.url(), &["prune"])?.expect_code(0)?;
    let of_machine = fs::read_dir(vault.path().join("s"))?.next().context("a machine")??.path();
    fs::remove_file(of_machine.join("0000000000000002"))?;
    let before = vault.bytes()?;
    let refused = machine.vault(&vault.url(), &["prune", "--keep-trash", "0", "--now"])?;
    ensure!(refused.code == 1, "exit code {}", refused.code);
    ensure!(said(&refused).contains("is gone: the storage was rolled back"), "{}", said(&refused));
    ensure!(vault.bytes()? == before, "something was deleted");
    Ok(())
}
