//! What comes back equals what was there.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::compare::expect_equal;
use nightkeep_harness::tree::{self, OddOptions};

use crate::support::{is_root, restored, said, shared_dir};

#[test]
fn everything_a_filesystem_holds_is_restored_equal() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    tree::odd(source.path(), OddOptions { as_root: is_root(), sparse: true })?;
    let point = machine.backup(&vault.url(), source.path())?;
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), &point, target.path())?;
    let back = restored(target.path(), source.path())?;
    expect_equal(source.path(), &back)?;
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(back.join("contents/sparse"))?);
    ensure!(blocks * 512 < 16 << 20, "the sparse file takes {blocks} blocks");
    ensure!(vault.bytes()? < 32 << 20, "holes are stored: {} bytes", vault.bytes()?);
    Ok(())
}

#[test]
fn a_hundred_thousand_files_are_restored_equal() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = quick_dir()?;
    tree::many(source.path(), 100_000)?;
    machine.backup(&vault.url(), source.path())?;
    let target = quick_dir()?;
    machine.restore_expecting(0, &vault.url(), "latest", target.path())?;
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}

#[test]
fn an_ordinary_user_restores_all_that_is_its_own() -> Result<()> {
    if !is_root() {
        return Ok(()); // Then the first test of this file has shown it.
    }
    let machine = CommandLine::of_nobody()?;
    let vault = DiskVault::init(&machine)?;
    let source = shared_dir()?;
    tree::odd(source.path(), OddOptions { as_root: false, sparse: false })?;
    give_to_nobody(source.path())?;
    let point = machine.backup(&vault.url(), source.path())?;
    let target = shared_dir()?;
    machine.restore_expecting(0, &vault.url(), &point, target.path())?;
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}

#[test]
fn an_unreadable_file_ends_with_code_3_and_is_named() -> Result<()> {
    if !is_root() {
        return Ok(()); // To become `nobody` needs root.
    }
    let machine = CommandLine::of_nobody()?;
    let vault = DiskVault::init(&machine)?;
    let source = shared_dir()?;
    fs::write(source.path().join("readable"), "x")?;
    fs::write(source.path().join("secret of root"), "x")?;
    fs::set_permissions(source.path().join("secret of root"), fs::Permissions::from_mode(0o600))?;
    for path in [source.path().to_owned(), source.path().join("readable")] {
        lchown(path, Some(65534), Some(65534))?;
    }
    let outcome = machine.backup_expecting(3, &vault.url(), source.path())?;
    ensure!(said(&outcome).contains("secret of root"), "the file is not named: {outcome:?}");
    let target = shared_dir()?;
    machine.restore_expecting(0, &vault.url(), "latest", target.path())?;
    let back = restored(target.path(), source.path())?;
    ensure!(fs::read(back.join("readable"))? == b"x");
    ensure!(!back.join("secret of root").exists(), "a file nobody read was restored");
    Ok(())
}

#[test]
fn a_file_that_grows_while_it_is_read_is_restored_as_a_beginning_of_it() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("still"), 20 << 20, 1)?;
    let growing = source.path().join("growing");
    tree::noise(&growing, 20 << 20, 2)?;
    let ended = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| append_until(&growing, &ended));
        let outcome = machine.vault(&vault.url(), &["backup", &source.path().to_string_lossy()]);
        ended.store(true, Ordering::Relaxed);
        outcome
    })?;
    ensure!([0, 3].contains(&outcome.code), "{outcome:?}");
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), "latest", target.path())?;
    let back = restored(target.path(), source.path())?;
    ensure!(fs::read(back.join("still"))? == fs::read(source.path().join("still"))?);
    let beginning = fs::read(back.join("growing"))?;
    ensure!(beginning.len() >= 20 << 20, "only {} bytes", beginning.len());
    ensure!(fs::read(&growing)?.starts_with(&beginning), "not a beginning of the file");
    Ok(())
}

#[test]
fn further_names_of_links_and_fifos_are_kept_as_names_of_one_file() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    std::os::unix::fs::symlink("nowhere", source.path().join("link"))?;
    fs::hard_link(source.path().join("link"), source.path().join("second name of the link"))?;
    let fifo = source.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)?;
    fs::hard_link(&fifo, source.path().join("second name of the fifo"))?;
    machine.backup(&vault.url(), source.path())?;
    let target = tempfile::tempdir()?;
    machine.restore_expecting(0, &vault.url(), "latest", target.path())?;
    expect_equal(source.path(), &restored(target.path(), source.path())?)?;
    Ok(())
}

#[test]
fn a_part_is_restored_alone() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    fs::create_dir_all(source.path().join("wanted/below"))?;
    fs::create_dir_all(source.path().join("unwanted"))?;
    fs::write(source.path().join("wanted/below/file"), "x")?;
    fs::write(source.path().join("unwanted/file"), "x")?;
    machine.backup(&vault.url(), source.path())?;
    let target = tempfile::tempdir()?;
    let wanted = source.path().join("wanted");
    let (wanted, into) = (wanted.to_string_lossy(), target.path().to_string_lossy());
    machine.vault(&vault.url(), &["restore", "latest", "--include", &wanted, "--target", &into])?.expect_code(0)?;
    let back = restored(target.path(), source.path())?;
    expect_equal(&source.path().join("wanted"), &back.join("wanted"))?;
    ensure!(!back.join("unwanted").exists());
    Ok(())
}

/// In memory where there is room: making and removing 200,000 files on a busy disk takes minutes and shows nothing.
fn quick_dir() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    Ok(if room > 4 << 30 { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// Appends until told to stop, or until the file is large enough for any machine.
fn append_until(path: &Path, ended: &AtomicBool) -> Result<()> {
    let mut file = fs::File::options().append(true).open(path)?;
    let mut random = tree::Random::new(3);
    while !ended.load(Ordering::Relaxed) && file.metadata()?.len() < 1 << 30 {
        file.write_all(&random.bytes(64 << 10))?;
    }
    Ok(())
}

/// A change of owner clears setuid bits, and with them the test's point, so modes are set again.
fn give_to_nobody(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let modified = meta.modified()?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_nobody(&entry?.path())?;
        }
    }
    lchown(path, Some(65534), Some(65534))?;
    if !meta.is_symlink() {
        fs::set_permissions(path, meta.permissions())?;
    }
    if meta.is_dir() || meta.is_file() {
        fs::File::open(path)?.set_times(fs::FileTimes::new().set_modified(modified))?;
    }
    Ok(())
}
