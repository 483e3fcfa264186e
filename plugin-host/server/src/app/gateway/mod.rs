//! The storage gateway: a vault on the host's own disk, for machines that hold no storage credentials.
//!
//! Invariant: an object appears whole, durable and with the announced bytes, or not at all; nothing is overwritten or
//! deleted for an agent; no object is ever held in memory whole.

mod grants;
mod policy;
mod read;
mod space;
mod upload;

pub(crate) use read::OpenObject;

use std::path::PathBuf;

use nightkeep_database::{Machine, VaultRecord};
use nightkeep_wire::gateway::ObjectName;
use nightkeep_wire::problem::ProblemCode;

use super::identity::require_active;
use super::{App, AppError};

/// Where unfinished uploads lie in a vault's folder; the disk store leaves it out of listings.
const TEMPORARY: &str = "tmp";

impl App {
    /// The vault a machine works in, once it may.
    async fn vault_of_machine(&self, machine: &Machine) -> Result<VaultRecord, AppError> {
        require_active(machine)?;
        let place = self.place_of(machine).await?;
        self.ensure_vault(place.customer.id).await
    }

    fn object_path(&self, vault: &VaultRecord, name: &ObjectName) -> PathBuf {
        self.data.vault(vault.id).join(name.as_str())
    }
}

/// The machine as it is called in object names.
fn name_part(machine: &Machine) -> String {
    machine.id.as_uuid().simple().to_string()
}

fn not_allowed(reason: String) -> AppError {
    AppError::new(ProblemCode::NotAllowed, reason)
}
