//! What is there already is not stored again.

use std::fs;

use anyhow::{Result, ensure};
use nightkeep_harness::agent::{CommandLine, DiskVault};
use nightkeep_harness::tree;

#[test]
fn an_unchanged_second_backup_writes_less_than_64_kib() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    tree::many(source.path(), 20_000)?;
    machine.backup(&vault.url(), source.path())?;
    let before = vault.bytes()?;
    machine.backup(&vault.url(), source.path())?;
    let written = vault.bytes()? - before;
    ensure!(written < 64 << 10, "{written} bytes");
    Ok(())
}

#[test]
fn a_second_machine_with_the_same_data_stores_less_than_one_percent() -> Result<()> {
    let first = CommandLine::new()?;
    let vault = DiskVault::init(&first)?;
    let source = tempfile::tempdir()?;
    tree::noise(&source.path().join("noise"), 48 << 20, 1)?;
    tree::many(source.path(), 2_000)?;
    first.backup(&vault.url(), source.path())?;
    let before = vault.bytes()?;
    let second = CommandLine::new()?;
    second.backup(&vault.url(), source.path())?;
    let (written, bytes) = (vault.bytes()? - before, tree::bytes(source.path())?);
    ensure!(written < bytes / 100, "{written} of {bytes} bytes");
    Ok(())
}

#[test]
fn an_inserted_byte_costs_a_few_chunks_not_the_file() -> Result<()> {
    let machine = CommandLine::new()?;
    let vault = DiskVault::init(&machine)?;
    let source = tempfile::tempdir()?;
    let path = source.path().join("noise");
    tree::noise(&path, 64 << 20, 1)?;
    machine.backup(&vault.url(), source.path())?;
    let before = vault.bytes()?;
    let mut contents = fs::read(&path)?;
    contents.insert(32 << 20, 0x55);
    fs::write(&path, contents)?;
    machine.backup(&vault.url(), source.path())?;
    let written = vault.bytes()? - before;
    ensure!(written < 12 << 20, "{written} bytes for one");
    Ok(())
}
