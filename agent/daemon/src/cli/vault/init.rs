//! `init`: makes a vault, with a first passphrase.

use anyhow::Context as _;
use nightkeep_storage::Races;
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::random;
use nightkeep_vault::id::VaultId;
use nightkeep_vault::keys::{CustomerRoot, recovery_sheet};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::slot::Slot;
use nightkeep_vault::vault::{Vault, VaultError};
use serde::Serialize;

use super::open;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::vault_args::InitArgs;

#[derive(Serialize)]
struct Document {
    vault: String,
    location: String,
}

/// Makes the vault.
///
/// The passphrase is written first, the configuration last: with it the vault exists, and a vault nobody can open never does.
pub(super) fn run(args: &InitArgs, json: bool) -> anyhow::Result<Exit> {
    let store = open::store(&args.vault)?;
    let location = store.location();
    match Vault::read_config(&*store) {
        Err(VaultError::NoVault { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(VaultError::Exists { location }.into()),
    }
    if nightkeep_storage::is_remote(&location) {
        // Before anything is asked of the person: a vault's safety stands on this.
        nightkeep_storage::probe_create_only(&*store, Races::default())?;
    }
    let passphrase =
        open::passphrase(args.vault.passphrase_file.as_deref(), "NIGHTKEEP_PASSPHRASE", "New passphrase: ")?;
    let root = CustomerRoot::generate();
    let id = VaultId(random());
    let slot = Slot::create(id, &root, &passphrase, "init").map_err(VaultError::Slot)?;
    store.put_same(&slot.name, &slot.seal(id)).map_err(VaultError::from)?;
    Vault::create(store, root.clone(), id, Custody::Owner, now())?;
    if let Some(file) = &args.sheet {
        let sheet = recovery_sheet(id, &root, &location);
        nightkeep_platform::secret_file::write(file, sheet.as_bytes())
            .with_context(|| format!("the vault was made, but the sheet could not be written to {}", file.display()))?;
    }
    if json {
        output::json(&Document { vault: id.to_string(), location });
    } else {
        output::line(format_args!("Made vault {id} at {location}"));
        if args.sheet.is_none() {
            output::note("Print the recovery sheet now and lock it away: nightkeep-agent key --vault … sheet");
        }
    }
    Ok(Exit::Done)
}

/// The moment, as the format stores it.
pub(super) fn now() -> Time {
    let now = chrono::Utc::now();
    Time { seconds: now.timestamp(), nanoseconds: now.timestamp_subsec_nanos().min(999_999_999) }
}
