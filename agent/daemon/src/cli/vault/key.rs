//! `key`: passphrases, recovery sheet, key file, rotation.

use std::path::Path;

use anyhow::Context as _;
use nightkeep_vault::keys::{key_text, recovery_sheet};
use nightkeep_vault::record::slot::Slot;
use nightkeep_vault::vault::{Vault, VaultError};
use serde::Serialize;

use super::open;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::{KeyArgs, KeyCommand};

#[derive(Serialize)]
struct SlotsDocument {
    slots: Vec<SlotDocument>,
}

#[derive(Serialize)]
struct SlotDocument {
    name: String,
    label: String,
}

#[derive(Serialize)]
struct DoneDocument {
    done: String,
}

/// Runs one key command.
pub(super) fn run(args: &KeyArgs, json: bool) -> anyhow::Result<Exit> {
    let mut vault = open::owner_uncached(&args.vault)?;
    match &args.command {
        KeyCommand::Add { new_passphrase_file, label } => add(&vault, new_passphrase_file.as_deref(), label, json),
        KeyCommand::Remove { slot } => remove(&vault, slot, json),
        KeyCommand::List => list(&vault, json),
        KeyCommand::Rotate => {
            let epoch = vault.rotate()?;
            done(json, format!("what is written from now on is sealed to key pair {epoch}; older points stay readable"))
        }
        KeyCommand::Sheet => sheet(&vault, json),
        KeyCommand::Export { file } => export(&vault, file, json),
    }
}

fn add(vault: &Vault, file: Option<&Path>, label: &str, json: bool) -> anyhow::Result<Exit> {
    let passphrase = open::passphrase(file, "NIGHTKEEP_NEW_PASSPHRASE", "New passphrase: ")?;
    let slot = vault.add_slot(&passphrase, label)?;
    done(json, format!("added passphrase {}", slot.name))
}

fn remove(vault: &Vault, wanted: &str, json: bool) -> anyhow::Result<Exit> {
    let slots = vault.slots()?;
    let matching: Vec<&Slot> =
        slots.iter().filter(|slot| slot.label == wanted || slot.name.as_str() == wanted).collect();
    let [slot] = matching.as_slice() else {
        let message = match matching.len() {
            0 => format!("no passphrase is called '{wanted}'; `key list` shows them"),
            several => format!("{several} passphrases are called '{wanted}'; give the name that `key list` shows"),
        };
        return Err(Failure::new("no-slot", message).into());
    };
    if slots.len() == 1 {
        let failure = Failure::new("last-slot", "this is the only passphrase of the vault");
        return Err(failure.remedy("add another one first: key add").into());
    }
    vault.remove_slot(&slot.name)?;
    done(json, format!("removed passphrase {}", slot.name))
}

fn list(vault: &Vault, json: bool) -> anyhow::Result<Exit> {
    let slots = vault.slots()?;
    if json {
        let slots = slots.iter().map(|slot| SlotDocument { name: slot.name.to_string(), label: slot.label.clone() });
        output::json(&SlotsDocument { slots: slots.collect() });
    } else {
        slots.iter().for_each(|slot| output::line(format_args!("{}  {}", slot.name, slot.label)));
    }
    Ok(Exit::Done)
}

fn sheet(vault: &Vault, json: bool) -> anyhow::Result<Exit> {
    let root = vault.root().ok_or(VaultError::NotOwner { operation: "printing the recovery sheet" })?;
    let sheet = recovery_sheet(vault.id(), root, &vault.store().location());
    if json {
        output::json(&serde_json::json!({ "vault": vault.id().to_string(), "sheet": sheet }));
    } else {
        output::line(sheet);
    }
    Ok(Exit::Done)
}

/// Writes a key file for its owner's eyes only; one that exists is not overwritten.
fn export(vault: &Vault, file: &Path, json: bool) -> anyhow::Result<Exit> {
    let root = vault.root().ok_or(VaultError::NotOwner { operation: "writing a key file" })?;
    let failed = || format!("failed to write the key file {}; it must not exist yet", file.display());
    let text = format!("{}\n", key_text(vault.id(), root));
    nightkeep_platform::secret_file::create(file, text.as_bytes()).with_context(failed)?;
    done(json, format!("wrote the key of vault {} to {}", vault.id(), file.display()))
}

fn done(json: bool, text: String) -> anyhow::Result<Exit> {
    if json {
        output::json(&DoneDocument { done: text })
    } else {
        output::line(text)
    }
    Ok(Exit::Done)
}
