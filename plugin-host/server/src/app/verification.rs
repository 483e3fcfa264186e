//! Reads back what machines wrote, so that the customer's other machines may count on it (security.md, rule 3).
//!
//! Invariant: idempotent and safe on several hosts at once; a vault's trouble is logged and the next vault is looked at.

use std::sync::Arc;

use nightkeep_database::VaultRecord;
use nightkeep_vault::id as vault_id;
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::{Vault, VaultError};
use nightkeep_vault::verify::{Verification, verify_segments};

use super::vaults::blocking;
use super::{App, AppError};

impl App {
    /// Verifies every vault. What one host verifies first counts for all.
    pub(crate) async fn verify_vaults(&self) -> Result<(), AppError> {
        for customer in self.database.customers().await? {
            let Some(vault) = self.database.vault_of(customer.id).await? else { continue };
            match self.verify_vault(&vault).await {
                Ok(report) => tell(&vault, &report),
                Err(error) => {
                    tracing::error!(vault = %vault.id, %error, cause = ?error.cause, "A vault could not be verified");
                }
            }
        }
        Ok(())
    }

    async fn verify_vault(&self, vault: &VaultRecord) -> Result<Verification, AppError> {
        let root = self.root_of(vault)?;
        let (path, id) = (self.data.vault(vault.id), vault_id::VaultId(vault.id.0));
        let stopping = self.stopping.subscribe();
        blocking(move || {
            let vault = match Vault::open_owner(Arc::new(DiskStore::new(path)), id, root) {
                // It is in the database a moment before it is on the disk.
                Err(VaultError::NoVault { .. }) => return Ok(Verification::default()),
                opened => Arc::new(opened?),
            };
            match verify_segments(&vault, &|| *stopping.borrow()) {
                // Another host published first; what is left comes next time.
                Err(VaultError::Conflict { .. }) => Ok(Verification::default()),
                other => other,
            }
        })
        .await
    }
}

fn tell(vault: &VaultRecord, report: &Verification) {
    for problem in &report.rejected {
        tracing::error!(vault = %vault.id, name = %problem.name, error = %problem.error, "A machine wrote what is not what it says; no other machine will count on it");
    }
    if report.segments > 0 {
        let Verification { segments, packs, bytes, .. } = report;
        tracing::info!(vault = %vault.id, segments, packs, bytes, "Verified what machines wrote");
    }
}
