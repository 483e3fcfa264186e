//! Customers' vaults on the host's own disk: made with the customer, their keys sealed by the master key.
//!
//! Invariant: the sealed root is in the database before the vault is on the disk, so no vault exists that nobody can
//! open; what a crash left half-made is finished by the next call.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nightkeep_database::{Customer, Machine, VaultRecord};
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto as sealing;
use nightkeep_vault::id as vault_id;
use nightkeep_vault::keys::{CustomerRoot, recovery_sheet};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::machine::MachineRecord;
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::{Vault, VaultError};
use nightkeep_wire::bytes::{Sealed, SealingPublicKey, SigningPublicKey};
use nightkeep_wire::enrol::{MACHINE_SECRETS_INFO, VaultGrant};
use nightkeep_wire::{CustomerId, VaultId};
use zeroize::Zeroize;

use super::{App, AppError};

const ROOT_PURPOSE: &str = "vault root";
const FIRST_EPOCH: u32 = 1;

impl App {
    /// The customer's vault; made when there is none.
    pub(crate) async fn ensure_vault(&self, customer: CustomerId) -> Result<VaultRecord, AppError> {
        let record = match self.database.vault_of(customer).await? {
            Some(record) => record,
            None => self.new_vault(customer).await?,
        };
        let root = self.root_of(&record)?;
        let (path, now) = (self.data.vault(record.id), self.now());
        blocking(move || create_on_disk(&path, root, record.id, now)).await?;
        Ok(record)
    }

    async fn new_vault(&self, customer: CustomerId) -> Result<VaultRecord, AppError> {
        let root = CustomerRoot::generate();
        let id = VaultId(sealing::random());
        let own = vault_id::VaultId(id.0);
        let record = VaultRecord {
            id,
            customer,
            root_sealed: self.master.seal(&purpose(id), root.expose()),
            public_key: SealingPublicKey(root.key_pair(own, FIRST_EPOCH).public().0),
            maintenance_key: SigningPublicKey(root.maintenance(own).public().0),
            epoch: FIRST_EPOCH,
            quota_bytes: None,
            used_bytes: 0,
            created_at: self.now(),
        };
        self.database.insert_vault(&record).await?;
        // Of two that made one at once, the first counts for both.
        self.database.vault_of(customer).await?.ok_or_else(|| AppError::not_found("vault"))
    }

    pub(crate) fn root_of(&self, vault: &VaultRecord) -> Result<CustomerRoot, AppError> {
        let mut plain = self.master.unseal(&purpose(vault.id), &vault.root_sealed).map_err(AppError::internal)?;
        let root = <[u8; 32]>::try_from(plain.as_slice()).map(CustomerRoot::from_bytes);
        plain.zeroize();
        root.map_err(|_| AppError::internal("a sealed vault root has the wrong length"))
    }

    /// What a machine needs to write into its customer's vault, sealed to the machine.
    pub(crate) async fn vault_grant(
        &self,
        customer: CustomerId,
        machine: &Machine,
        authority: &str,
    ) -> Result<VaultGrant, AppError> {
        let vault = self.ensure_vault(customer).await?;
        let keys = self.root_of(&vault)?.vault_keys(vault_id::VaultId(vault.id.0));
        let mut plain = [*keys.id.expose(), *keys.chunk.expose(), *keys.index.expose()].concat();
        let info = std::str::from_utf8(MACHINE_SECRETS_INFO).map_err(AppError::internal)?;
        let to = sealing::SealingPublicKey(*machine.sealing_key.as_bytes());
        let sealed = to.seal(info, machine.id.as_bytes(), &plain);
        plain.zeroize();
        let unusable = |_| {
            let detail = "the machine's sealing key is not an X25519 public key: make a new identity and enrol again";
            AppError::new(nightkeep_wire::problem::ProblemCode::BadRequest, detail)
        };
        Ok(VaultGrant {
            vault_id: vault.id,
            location: format!("nightkeep+https://{authority}/{}", vault.id),
            public_key: vault.public_key,
            epoch: vault.epoch,
            maintenance_key: vault.maintenance_key,
            secrets_sealed: Sealed(sealed.map_err(unusable)?),
        })
    }

    /// Makes a machine known to its vault: public keys, and its catalogue key sealed to the vault.
    pub(crate) async fn record_machine(
        &self,
        customer: CustomerId,
        machine: &Machine,
        meta_sealed: Vec<u8>,
    ) -> Result<(), AppError> {
        let vault = self.ensure_vault(customer).await?;
        let root = self.root_of(&vault)?;
        let path = self.data.vault(vault.id);
        let record = MachineRecord {
            machine: vault_id::MachineId(*machine.id.as_bytes()),
            name: machine.facts.hostname.clone(),
            signing: sealing::VerifyingKey(*machine.signing_key.as_bytes()),
            sealing: Some(sealing::SealingPublicKey(*machine.sealing_key.as_bytes())),
            meta_sealed: Some(meta_sealed),
            epoch: vault.epoch,
            owner_machine: false,
        };
        let id = vault_id::VaultId(vault.id.0);
        blocking(move || Vault::open_owner(Arc::new(DiskStore::new(path)), id, root)?.write_machine(&record)).await
    }

    /// The recovery sheet of a customer's vault.
    pub(crate) async fn sheet(&self, customer: &Customer) -> Result<String, AppError> {
        let vault = self.ensure_vault(customer.id).await?;
        let root = self.root_of(&vault)?;
        let title = format!(
            "Customer: {}\nLocation on this host: file://{}",
            customer.name,
            self.data.vault(vault.id).display()
        );
        Ok(recovery_sheet(vault_id::VaultId(vault.id.0), &root, &title))
    }
}

fn purpose(vault: VaultId) -> String {
    format!("{ROOT_PURPOSE} {vault}")
}

fn create_on_disk(
    path: &std::path::Path,
    root: CustomerRoot,
    vault: VaultId,
    now: DateTime<Utc>,
) -> Result<(), VaultError> {
    // The configuration is what makes a folder a vault; it is written last.
    if path.join("cfg/1").exists() {
        return Ok(());
    }
    let store = Arc::new(DiskStore::new(path));
    let now = Time { seconds: now.timestamp(), nanoseconds: now.timestamp_subsec_nanos().min(999_999_999) };
    match Vault::create(store, root, vault_id::VaultId(vault.0), Custody::Managed, now) {
        Ok(_) | Err(VaultError::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Runs what blocks on the disk away from the network's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(AppError::internal)?.map_err(AppError::internal)
}
