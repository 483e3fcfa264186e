//! A vault that shows what the format can hold, in some hundred kilobytes.

use crate::manifest;
use anyhow::{Context as _, Result, ensure};
use nightkeep_engine::backup::{self, BackupOptions, Clock};
use nightkeep_engine::exclude::Excludes;
use nightkeep_engine::progress::{Silent, Stop};
use nightkeep_engine::source::SourceOptions;
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{self, CollectOptions};
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::{CustomerRoot, recovery_sheet};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::CivilTime;
use nightkeep_vault::record::retention::Action;
use nightkeep_vault::session::Session;
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::Vault;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// The machine whose points it holds.
pub const MACHINE: &str = "golden";
/// Opens its passphrase slot.
pub const PASSPHRASE: &str = "correct horse battery staple";
const VAULT: VaultId = VaultId(*b"golden vault 1 !");
/// The second in which everything happens.
const NOW: i64 = 1_900_000_000;

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> CivilTime {
        let at = Time { seconds: NOW, nanoseconds: 123_456_789 };
        CivilTime { at, offset_minutes: 345, zone: "Asia/Kathmandu".into() }
    }
}

/// The folder of a format version.
pub fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("v{version}"))
}

/// Writes a golden vault, its key file and its manifest into a folder that must not exist.
///
/// It holds three points: one in the trash, one, and a newest one; between them a file was changed, the vault's key pair
/// rotated, and what a discarded point alone needed collected.
pub fn write(into: &Path) -> Result<()> {
    ensure!(!into.exists(), "{} exists: a golden vault is written once and never again", into.display());
    let place = tempfile::tempdir()?;
    let source = place.path().join("source");
    write_source(&source)?;
    let root = CustomerRoot::generate();
    let store = || Arc::new(DiskStore::new(into.join("vault")));
    let vault = Vault::create(store(), root.clone(), VAULT, Custody::Owner, FixedClock.now().at)?;
    vault.add_slot(PASSPHRASE, "the slot of the golden vault")?;
    let mut vault = Arc::new(vault);
    back_up(&vault, &source)?;
    put(&source, "soon gone", &noise(150_000, 9))?;
    back_up(&vault, &source)?;
    fs::remove_file(source.join("soon gone"))?;
    put(&source, "folder/text", "another line, again and again\n".repeat(9_000).as_bytes())?;
    Arc::get_mut(&mut vault).context("the vault is in use")?.rotate()?;
    let vault = Arc::new(Vault::open_owner(store(), VAULT, root.clone())?);
    back_up(&vault, &source)?;
    // A session that never ends, for the collection to fence.
    drop(Session::open(vault.clone(), vault.writer(MACHINE)?, FixedClock.now().at)?);
    retire(&vault)?;
    fs::write(
        into.join("key.txt"),
        recovery_sheet(VAULT, &root, "The golden vault of format 1. A test key: it protects nothing."),
    )?;
    fs::write(into.join("manifest.txt"), manifest::describe(&source)?.join("\n") + "\n")?;
    // What a disk keeps for a week after a collection is not part of the vault.
    let _ = fs::remove_dir_all(into.join("vault/trash"));
    let _ = fs::remove_dir(into.join("vault/tmp"));
    Ok(())
}

/// The first point goes to the trash; the second is forgotten and collected.
fn retire(vault: &Vault) -> Result<()> {
    let machine = vault.writer(MACHINE)?.id;
    let points = vault.points(machine)?;
    let at = FixedClock.now().at;
    vault.retain(&points.points[0], Action::Trash, at, "shows a point in the trash")?;
    vault.retain(&points.points[1], Action::Forget, at, "shows a forgotten point")?;
    let options = CollectOptions::new(at);
    let plan = collect::plan(vault, &options)?;
    ensure!(plan.garbage_bytes() > 100_000, "nothing is collected");
    collect::run(vault, plan, &options)?;
    Ok(())
}

/// Backs up `source` as the golden machine.
pub fn back_up(vault: &Arc<Vault>, source: &Path) -> Result<backup::BackupReport> {
    let source = SourceOptions {
        machine_root: source.to_path_buf(),
        roots: vec![Vec::new()],
        excludes: Excludes::new(&[])?,
        skip: Vec::new(),
        entire_machine: false,
        read_at: Vec::new(),
    };
    let report = backup::run(vault, &BackupOptions::new(source, MACHINE), &FixedClock, &Silent, &Stop::new())?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    Ok(report)
}

fn write_source(source: &Path) -> Result<()> {
    fs::create_dir_all(source.join("folder/below/deep"))?;
    fs::create_dir_all(source.join("empty folder"))?;
    put(source, "empty", b"")?;
    put(source, "folder/inline", b"so short that it lies in the catalogue")?;
    for n in 0..40u64 {
        put(source, &format!("folder/below/small-{n}"), &noise(600 + 37 * n as usize, n))?;
    }
    put(source, "folder/text", "the same line, again and again\n".repeat(9_000).as_bytes())?;
    put(source, "noise", &noise(40_000, 77))?;
    let odd = std::ffi::OsStr::from_bytes(b"folder/no \xff\xfe text");
    fs::write(source.join(odd), b"a name that is no text")?;
    symlink("folder/text", source.join("link"))?;
    fs::hard_link(source.join("noise"), source.join("folder/the same noise"))?;
    let sparse = File::create(source.join("sparse"))?;
    sparse.set_len(3 << 20)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"an island in a sea of holes", 2 << 20)?;
    let made = Command::new("mkfifo").arg(source.join("fifo")).status().context("mkfifo is not there")?;
    ensure!(made.success(), "mkfifo failed");
    xattr::set(source.join("folder/inline"), "user.colour", b"green")?;
    fs::set_permissions(source.join("folder/inline"), fs::Permissions::from_mode(0o640))?;
    let old = UNIX_EPOCH + Duration::new(86_400, 987_654_321);
    File::options().write(true).open(source.join("noise"))?.set_times(FileTimes::new().set_modified(old))?;
    Ok(())
}

fn put(source: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::write(source.join(name), bytes).with_context(|| format!("cannot write {name}"))
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
