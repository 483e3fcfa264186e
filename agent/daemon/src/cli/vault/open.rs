//! Opens a vault with what the person has: a passphrase, a key file, a recovery sheet.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use nightkeep_platform::paths::Paths;
use nightkeep_storage::open_location;
use nightkeep_vault::id::MachineId;
use nightkeep_vault::keys::parse_key_text;
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::record::point::Point;
use nightkeep_vault::store::Store;
use nightkeep_vault::vault::{Local, Vault, is_point_prefix};

use crate::cli::args::Globals;
use crate::cli::failure::Failure;
use crate::cli::vault_args::VaultFlags;

/// Nothing kept, but many requests in flight.
const UNCACHED: Local = Local { cache: None, requests: 16 };

/// The variable that may hold the passphrase.
const PASSPHRASE: &str = "NIGHTKEEP_PASSPHRASE";

/// The store at the location that was asked for.
pub(super) fn store(flags: &VaultFlags) -> anyhow::Result<Arc<dyn Store>> {
    // With its causes: what the environment lacks is in them.
    open_location(&flags.vault).map_err(|error| Failure::usage(format!("{:#}", anyhow::Error::from(error))).into())
}

/// Opens the vault as its owner, with the caches of the state directory.
pub(super) fn owner(flags: &VaultFlags, globals: &Globals) -> anyhow::Result<Vault> {
    let state = globals.state_dir.clone().unwrap_or_else(|| Paths::standard().state);
    Ok(owner_uncached(flags)?.with_local(Local::in_dir(state.join("cache"))))
}

/// Opens the vault as its owner, for a command that must see what the storage has, not what was read once.
pub(super) fn owner_uncached(flags: &VaultFlags) -> anyhow::Result<Vault> {
    let store = store(flags)?;
    let config = Vault::read_config(&*store)?;
    if let Some(file) = &flags.key_file {
        let (vault, root) = parse_key_text(&read_text(file)?).map_err(|error| wrong_key_file(file, &error))?;
        return Ok(Vault::open_owner(store, vault, root)?.with_local(UNCACHED));
    }
    let passphrase = passphrase(flags.passphrase_file.as_deref(), PASSPHRASE, "Passphrase: ")?;
    let root = Vault::unlock(&*store, config.vault, &passphrase)?;
    Ok(Vault::open_owner(store, config.vault, root)?.with_local(UNCACHED))
}

fn wrong_key_file(file: &Path, error: &dyn std::error::Error) -> Failure {
    Failure {
        exit: crate::cli::exit::Exit::WrongPassphrase,
        ..Failure::new("wrong-key", format!("{}: {error}", file.display()))
    }
}

/// A passphrase from a file, the environment or a terminal, in this order.
pub(super) fn passphrase(file: Option<&Path>, variable: &str, prompt: &str) -> anyhow::Result<String> {
    let passphrase = if let Some(file) = file {
        let text = read_text(file)?;
        text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text).to_owned()
    } else if let Ok(passphrase) = std::env::var(variable) {
        passphrase
    } else if std::io::stdin().is_terminal() {
        rpassword::prompt_password(prompt).context("failed to read the passphrase from the terminal")?
    } else {
        let message = format!("no passphrase: set {variable}, or give --passphrase-file or --key-file");
        return Err(Failure::usage(message).into());
    };
    if passphrase.is_empty() {
        return Err(Failure::usage("the passphrase is empty; choose one with at least one character").into());
    }
    Ok(passphrase)
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}

/// The name this machine's points carry.
pub(super) fn machine_name(flags: &VaultFlags) -> String {
    flags.machine.clone().unwrap_or_else(|| nightkeep_platform::host::HostFacts::gather().hostname)
}

/// The machines a command is about: the named one, else this one, else (where this one has none) all.
pub(super) fn machines(vault: &Vault, flags: &VaultFlags) -> anyhow::Result<Vec<MachineRecord>> {
    let all = vault.machines()?;
    let wanted = machine_name(flags);
    let named: Vec<MachineRecord> = all.iter().filter(|record| record.name == wanted).cloned().collect();
    if named.is_empty() && flags.machine.is_some() {
        return Err(no_machine(&wanted, &all).into());
    }
    Ok(if named.is_empty() { all } else { named })
}

fn no_machine(wanted: &str, all: &[MachineRecord]) -> Failure {
    let failure = Failure::new("no-machine", format!("the vault knows no machine named '{wanted}'"));
    failure.remedy(format!("machines in this vault: {}", names(all)))
}

fn names(machines: &[MachineRecord]) -> String {
    if machines.is_empty() {
        return "none yet".into();
    }
    machines.iter().map(|record| record.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The point that `text` means: `latest`, an id, or the start of one.
pub(super) fn point(vault: &Vault, flags: &VaultFlags, text: &str) -> anyhow::Result<Point> {
    if text == "latest" { latest(vault, flags) } else { by_id(vault, flags, text) }
}

fn latest(vault: &Vault, flags: &VaultFlags) -> anyhow::Result<Point> {
    let (all, wanted) = (vault.machines()?, machine_name(flags));
    let mut newest: Option<Point> = None;
    for record in all.iter().filter(|record| record.name == wanted) {
        let points = vault.points(record.machine)?;
        let last = points.sound().next_back().map(|listed| listed.point.clone());
        newest = [newest, last].into_iter().flatten().max_by_key(|point| point.header.finished.at);
    }
    newest.ok_or_else(|| {
        let message = format!("there is no recovery point of machine '{wanted}' in this vault");
        let remedy = format!("pick one with --machine NAME; machines in this vault: {}", names(&all));
        Failure::new("no-point", message).remedy(remedy).into()
    })
}

fn by_id(vault: &Vault, flags: &VaultFlags, text: &str) -> anyhow::Result<Point> {
    if !is_point_prefix(text) {
        let message = format!("'{text}' is no recovery point: give `latest`, an id of `points`, or the start of one");
        return Err(Failure::usage(message).into());
    }
    let machine = machine_filter(vault, flags)?;
    let mut found = vault.find_point(&text.to_ascii_lowercase(), machine)?;
    match (found.pop(), found.len()) {
        (Some(point), 0) => Ok(point),
        (None, _) => Err(Failure::new("no-point", format!("no recovery point begins with '{text}'"))
            .remedy("`points` lists them; `undelete` brings back one from the trash")
            .into()),
        (Some(_), others) => {
            let message = format!("{} recovery points begin with '{text}'; give more of the id", others + 1);
            Err(Failure::new("ambiguous-point", message).into())
        }
    }
}

fn machine_filter(vault: &Vault, flags: &VaultFlags) -> anyhow::Result<Option<MachineId>> {
    let Some(wanted) = &flags.machine else { return Ok(None) };
    let all = vault.machines()?;
    let record = all.iter().find(|record| record.name == *wanted).ok_or_else(|| no_machine(wanted, &all))?;
    Ok(Some(record.machine))
}
