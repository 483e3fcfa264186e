//! What goes wrong is told clearly, with the contract's exit code, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nightkeep_harness::agent::{self, CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::tree;

use crate::support::{is_root, points, restored, said};

fn small_source() -> Result<tempfile::TempDir> {
    let source = tempfile::tempdir()?;
    tree::many(source.path(), 20)?;
    Ok(source)
}

#[test]
fn a_wrong_passphrase_is_code_12() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let url = vault.url();
    for arguments in [["points"].as_slice(), &["check"], &["restore", "latest", "--target", "/nonexistent/x"]] {
        let mut command = machine.command(arguments);
        let outcome = agent::run(command.args(["--vault", &url]).env("NIGHTKEEP_PASSPHRASE", "wrong"))?;
        let outcome = outcome.expect_code(12).with_context(|| format!("{arguments:?}"))?;
        ensure!(said(&outcome).contains("passphrase"), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn no_vault_there_is_code_10_and_names_the_place() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::not_created()?;
    let source = small_source()?;
    for arguments in [["points"].as_slice(), &["check"], &["backup", &source.path().to_string_lossy()]] {
        let outcome = machine.vault(&vault.url(), arguments)?.expect_code(10)?;
        ensure!(said(&outcome).contains(&*vault.path().to_string_lossy()), "{outcome:?}");
    }
    ensure!(!vault.path().exists(), "a look created something");
    Ok(())
}

#[test]
fn a_vault_is_not_made_twice() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    machine.vault(&vault.url(), &["init"])?.expect_code(1)?;
    machine.vault(&vault.url(), &["check"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_left_alone() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = small_source()?;
    machine.backup(&vault.url(), source.path())?;
    let target = tempfile::tempdir()?;
    fs::write(target.path().join("mine"), "precious")?;
    let outcome = machine.restore_expecting(1, &vault.url(), "latest", target.path())?;
    ensure!(said(&outcome).contains(&*target.path().to_string_lossy()), "{outcome:?}");
    ensure!(said(&outcome).contains("--overwrite"), "the remedy is not named: {outcome:?}");
    ensure!(fs::read_dir(target.path())?.count() == 1);
    let into = target.path().to_string_lossy().into_owned();
    machine.vault(&vault.url(), &["restore", "latest", "--overwrite", "--target", &into])?.expect_code(0)?;
    ensure!(fs::read(target.path().join("mine"))? == b"precious", "a file of another name was touched");
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}

#[test]
fn usage_errors_are_code_2() -> Result<()> {
    let machine = CommandLine::new()?;
    for arguments in [["frobnicate"].as_slice(), &["backup"], &["restore"], &["points", "--no-such-flag"]] {
        machine.run(arguments)?.expect_code(2)?;
    }
    Ok(())
}

#[test]
fn a_damaged_pack_is_named_and_the_rest_is_restored() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    // Larger than several packs, so that some of them stay whole.
    for index in 0..6 {
        tree::noise(&source.path().join(format!("noise {index}")), 16 << 20, index + 1)?;
    }
    machine.backup(&vault.url(), source.path())?;
    machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(0)?;
    let pack = largest_file(&vault.path().join("p"))?;
    flip_a_byte_in_the_middle(&pack)?;
    let name = pack.file_name().context("a pack without a name")?.to_string_lossy().into_owned();
    let outcome = machine.vault(&vault.url(), &["check", "--read-data"])?.expect_code(1)?;
    ensure!(said(&outcome).contains(&name), "{name} is not named: {outcome:?}");
    let target = tempfile::tempdir()?;
    let into = target.path().to_string_lossy().into_owned();
    let outcome = machine.vault(&vault.url(), &["restore", "latest", "--target", &into])?;
    ensure!(outcome.code != 0, "a restore with damage ended well");
    ensure!(said(&outcome).contains("noise "), "the damaged file is not named: {outcome:?}");
    let back = restored(target.path(), source.path())?;
    let same = |index: &u64| -> bool {
        let name = format!("noise {index}");
        fs::read(back.join(&name)).is_ok_and(|bytes| fs::read(source.path().join(&name)).is_ok_and(|b| b == bytes))
    };
    let whole = (0..6).filter(same).count();
    ensure!((1..6).contains(&whole), "{whole} of 6 files are whole");
    Ok(())
}

#[test]
fn a_full_disk_loses_nothing_and_the_next_run_completes() -> Result<()> {
    if !is_root() {
        return Ok(()); // A small filesystem to fill is mounted by root alone.
    }
    let disk = tempfile::tempdir()?;
    let Some(_mounted) = SmallDisk::mount(disk.path(), "24m")? else { return Ok(()) };
    let machine = CommandLine::new()?;
    let url = format!("file://{}", disk.path().join("vault").display());
    machine.vault(&url, &["init"])?.expect_code(0)?;
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("small"), 1 << 20, 1)?;
    machine.backup(&url, source.path())?;
    tree::noise(&source.path().join("large"), 64 << 20, 2)?;
    let outcome = machine.backup_expecting(1, &url, source.path())?;
    ensure!(said(&outcome).to_lowercase().contains("space"), "the cause is not told: {outcome:?}");
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &url, "latest", target.path())?;
    ensure!(restored(target.path(), source.path())?.join("small").exists());
    let status = Command::new("mount").args(["-o", "remount,size=256m"]).arg(disk.path()).status()?;
    ensure!(status.success());
    machine.backup(&url, source.path())?;
    machine.vault(&url, &["check", "--read-data"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_dropped_point_comes_back_from_the_trash() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = small_source()?;
    let first = machine.backup(&vault.url(), source.path())?;
    let second = machine.backup(&vault.url(), source.path())?;
    ensure!(points(&machine, &vault)? == [first.clone(), second.clone()]);
    machine.vault(&vault.url(), &["forget", &first])?.expect_code(0)?;
    ensure!(points(&machine, &vault)? == std::slice::from_ref(&second));
    machine.vault(&vault.url(), &["undelete", &first])?.expect_code(0)?;
    ensure!(points(&machine, &vault)? == [first.clone(), second]);
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), &first, target.path())?;
    Ok(())
}

/// A filesystem in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Nothing where mounting is forbidden, as in many containers.
    fn mount(path: &Path, size: &str) -> Result<Option<Self>> {
        let options = format!("size={size}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output()?;
        Ok(output.status.success().then(|| Self(path.to_owned())))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Should it be busy, the temporary directory's removal tells.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn largest_file(dir: &Path) -> Result<PathBuf> {
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    tree::files(dir)?.into_iter().max_by_key(size).context("there is no pack")
}

fn flip_a_byte_in_the_middle(path: &Path) -> Result<()> {
    use std::os::unix::fs::{FileExt, PermissionsExt};
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let file = fs::File::options().read(true).write(true).open(path)?;
    let middle = file.metadata()?.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)?;
    Ok(file.write_all_at(&[byte[0] ^ 0x10], middle)?)
}
