//! Vaults that were written once, of every version of the format, are read for ever.

use anyhow::{Context as _, Result, ensure};
use nightkeep_engine::check::{self, CheckOptions};
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_golden::vault::{MACHINE, PASSPHRASE, back_up, folder, write};
use nightkeep_golden::{manifest, python, reader, run};
use nightkeep_vault::keys::parse_key_text;
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::Vault;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Every version whose vaults are out there.
const VERSIONS: &[u32] = &[1];

/// A copy that a test may write to.
fn copy(version: u32, into: &Path) -> Result<()> {
    run(Command::new("cp").args(["-r", "--"]).arg(folder(version).join("vault")).arg(into))
}

fn open(version: u32, vault: &Path) -> Result<Arc<Vault>> {
    let (id, root) = parse_key_text(&fs::read_to_string(folder(version).join("key.txt"))?)?;
    Ok(Arc::new(Vault::open_owner(Arc::new(DiskStore::new(vault)), id, root)?))
}

fn restore_newest(vault: &Arc<Vault>, target: &Path) -> Result<()> {
    let points = vault.points(vault.writer(MACHINE)?.id)?;
    let newest = &points.visible().next_back().context("no point")?.point;
    let options = RestoreOptions { target: target.to_path_buf(), include: Vec::new(), overwrite: false, workers: 1 };
    let report = restore::run(vault, newest, &options, &Silent, &Stop::new())?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(())
}

fn expected(version: u32) -> Result<Vec<String>> {
    Ok(fs::read_to_string(folder(version).join("manifest.txt"))?.lines().map(str::to_owned).collect())
}

#[test]
fn this_agent_restores_every_golden_vault_with_contents_and_metadata() -> Result<()> {
    for &version in VERSIONS {
        let place = tempfile::tempdir()?;
        copy(version, &place.path().join("vault"))?;
        let vault = open(version, &place.path().join("vault"))?;
        let (id, passphrase) = (vault.id(), PASSPHRASE);
        ensure!(Some(&Vault::unlock(&**vault.store(), id, passphrase)?) == vault.root(), "its passphrase opens it");
        restore_newest(&vault, &place.path().join("target"))?;
        assert_eq!(manifest::describe(&place.path().join("target"))?, expected(version)?, "format {version}");
        let points = vault.points(vault.writer(MACHINE)?.id)?;
        assert_eq!((points.points.len(), points.visible().count()), (2, 1), "one in the trash, one in sight");
    }
    Ok(())
}

#[test]
fn every_byte_of_every_golden_vault_is_sound() -> Result<()> {
    for &version in VERSIONS {
        let place = tempfile::tempdir()?;
        copy(version, &place.path().join("vault"))?;
        let vault = open(version, &place.path().join("vault"))?;
        let report = check::run(&vault, CheckOptions { read_data: true, workers: 1 }, &Silent, &Stop::new())?;
        ensure!(report.problems.is_empty() && report.affected.is_empty(), "format {version}: {:?}", report.problems);
    }
    Ok(())
}

#[test]
fn this_agent_goes_on_in_every_golden_vault_and_sends_nothing_twice() -> Result<()> {
    for &version in VERSIONS {
        let place = tempfile::tempdir()?;
        copy(version, &place.path().join("vault"))?;
        let vault = open(version, &place.path().join("vault"))?;
        let source = place.path().join("source");
        restore_newest(&vault, &source)?;
        let report = back_up(&vault, &source)?;
        ensure!(report.totals.bytes_new == 0, "format {version}: {} bytes were sent again", report.totals.bytes_new);
        restore_newest(&vault, &place.path().join("target"))?;
        assert_eq!(manifest::describe(&place.path().join("target"))?, expected(version)?, "format {version}");
    }
    Ok(())
}

#[test]
fn the_independent_reader_restores_every_golden_vault() -> Result<()> {
    let environments = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let python = python(environments).context("the independent reader needs python3 with venv and pip")?;
    for &version in VERSIONS {
        let place = tempfile::tempdir()?;
        let (sheet, target) = (folder(version).join("key.txt"), place.path().join("target"));
        run(Command::new(&python).arg(reader()).arg(folder(version).join("vault")).arg(sheet).arg(&target))?;
        // It sets no modes and times and makes no FIFO; names, contents and links are what it proves.
        let essence = |lines: Vec<String>| {
            let parts = lines.into_iter().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            let kept = parts.filter(|parts| parts[1] != "xattr" && parts[1] != "fifo");
            kept.map(|parts| [&parts[0], &parts[1], &parts[parts.len() - 1]].map(String::clone)).collect::<Vec<_>>()
        };
        let restored = manifest::describe(&target.join(MACHINE))?;
        assert_eq!(essence(restored), essence(expected(version)?), "format {version}");
    }
    Ok(())
}

#[test]
fn a_golden_vault_is_small_and_never_written_again() -> Result<()> {
    let error = write(&folder(1)).err().context("the golden vault was overwritten")?;
    ensure!(error.to_string().contains("never again"), "{error}");
    let mut bytes = 0;
    let mut open = vec![folder(1)];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { open.push(entry.path()) } else { bytes += entry.metadata()?.len() }
        }
    }
    ensure!(bytes < 300 << 10, "{bytes} bytes");
    Ok(())
}
