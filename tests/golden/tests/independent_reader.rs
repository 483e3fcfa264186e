//! A program written from FORMAT.md alone restores what the engine backed up.

use anyhow::Context as _;
use nightkeep_engine::backup::{self, BackupOptions, Clock};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::source::SourceOptions;
use nightkeep_golden::{python, reader, run};
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::{CustomerRoot, recovery_sheet};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::repair;
use nightkeep_vault::scrub::{self, ScrubOptions};
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::Vault;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

struct LateClock;

impl Clock for LateClock {
    fn now(&self) -> CivilTime {
        CivilTime {
            at: Time { seconds: 4_000_000_000, nanoseconds: 0 },
            offset_minutes: 120,
            zone: "Europe/Berlin".into(),
        }
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn back_up(vault: &Arc<Vault>, source: &Path) -> anyhow::Result<()> {
    let source = SourceOptions {
        machine_root: source.to_path_buf(),
        roots: vec![Vec::new()],
        excludes: Excludes::new(&[])?,
        skip: Vec::new(),
        entire_machine: false,
        read_at: Vec::new(),
    };
    let report = backup::run(vault, &BackupOptions::new(source, "machine"), &LateClock, &Silent, &Stop::new())?;
    anyhow::ensure!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(())
}

/// Damages a data pack and withdraws it, so that the next run writes again what it held.
fn damage_and_repair(vault: &Arc<Vault>) -> anyhow::Result<()> {
    let pack = vault.store().list("p/", None, 1)?.pop().context("a data pack")?;
    let path = Path::new(&vault.store().location().replace("file://", "")).join(pack.name.as_str());
    let mut bytes = fs::read(&path)?;
    bytes[5000] ^= 1;
    fs::write(&path, bytes)?;
    let found = scrub::scrub(&**vault.store(), &ScrubOptions::default(), &|_| true)?;
    let plan = repair::plan(vault, Some(&found.verdicts()))?;
    anyhow::ensure!(repair::execute(vault, &plan, Time::default())?.verdicts == 1, "{plan:?}");
    Ok(())
}

#[test]
fn a_reader_written_from_the_format_alone_restores_a_vault() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("deep/er"))?;
    for n in 0..1200u64 {
        fs::write(source.join(format!("deep/file-{n}")), noise((n * 7 % 3000) as usize, n))?;
    }
    // Large enough for content lists, and compressible, so that every codec and content form occurs.
    fs::write(source.join("large"), noise(160 << 20, 1))?;
    fs::write(source.join("deep/er/text"), "the same line again and again\n".repeat(40_000))?;
    let sparse = fs::File::create(source.join("sparse"))?;
    sparse.set_len(8 << 20)?;
    std::os::unix::fs::symlink("deep/file-1", source.join("link"))?;

    let (root, id) = (CustomerRoot::generate(), VaultId([9; 16]));
    let folder = dir.path().join("vault");
    let store = Arc::new(DiskStore::new(&folder));
    let mut vault = Vault::create(store, root.clone(), id, Custody::Owner, Time::default())?;
    vault.rotate()?;
    let vault = Arc::new(vault);
    back_up(&vault, &source)?;
    fs::write(source.join("deep/er/new"), "a second point stands on the first")?;
    back_up(&vault, &source)?;

    damage_and_repair(&vault)?;
    back_up(&vault, &source)?;

    let (sheet, target) = (dir.path().join("sheet"), dir.path().join("target"));
    fs::write(&sheet, recovery_sheet(id, &root, "test"))?;
    let environments = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let python = python(environments).context("the independent reader needs python3 with venv and pip")?;
    run(Command::new(python).arg(reader()).arg(&folder).arg(&sheet).arg(&target))?;
    run(Command::new("diff").args(["-r", "--no-dereference"]).arg(&source).arg(target.join("machine")))
}
