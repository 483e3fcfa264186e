//! Who this machine is to its host: keys, enrolment, vault. Kept apart from state and caches.
//!
//! Invariant: the keys are on disk before the host hears of them, so that an enrolment whose answer was lost is repeated
//! with the same keys and gives the same machine.

use base64::engine::general_purpose::STANDARD;
use nightkeep_platform::secret_file;
use nightkeep_vault::crypto::{SealingKeyPair, Secret, SigningKey};
use nightkeep_wire::enrol::{EnrollState, VaultGrant};
use nightkeep_wire::id::SpkiPin;
use nightkeep_wire::{IncarnationId, MachineId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::files::{self, FileError};
use crate::places::Places;

const VERSION: u32 = 1;

/// The identity as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    version: u32,
    #[serde(with = "secret_text")]
    signing_seed: Secret,
    #[serde(with = "secret_text")]
    sealing_seed: Secret,
    #[serde(with = "secret_text")]
    meta_key: Secret,
    /// The life of the numbering of reports.
    pub(crate) incarnation: IncarnationId,
    /// Whether reports were ever numbered under it: an empty outbox then means that state was lost.
    #[serde(default)]
    pub(crate) reports_begun: bool,
    /// The host, once it took this machine in.
    #[serde(default)]
    pub(crate) enrolled: Option<Enrolled>,
}

/// What the host answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    /// The machine's id.
    pub(crate) machine: MachineId,
    /// Address of the host, `https://host[:port]`.
    pub(crate) host_url: String,
    /// The host's certificate as the token named it.
    pub(crate) pin: Option<SpkiPin>,
    /// Name of the customer.
    pub(crate) customer: String,
    /// Name of the client.
    pub(crate) client: String,
    /// Name of the location.
    pub(crate) location: String,
    /// Whether it may start, or waits for approval.
    pub(crate) state: EnrollState,
    /// The vault; none while it waits.
    #[serde(default)]
    pub(crate) vault: Option<VaultGrant>,
    /// Whether the host has this machine's catalogue key, sealed to the vault.
    #[serde(default)]
    pub(crate) meta_key_delivered: bool,
}

impl Identity {
    /// New keys; nothing is stored yet.
    pub(crate) fn generate() -> Self {
        Self {
            version: VERSION,
            signing_seed: Secret::generate(),
            sealing_seed: Secret::generate(),
            meta_key: Secret::generate(),
            incarnation: new_incarnation(),
            reports_begun: false,
            enrolled: None,
        }
    }

    /// The stored identity; none where there is none.
    pub(crate) fn load(places: &Places) -> Result<Option<Self>, FileError> {
        files::load(&places.identity_file())
    }

    /// Stores it, durably and for the owner alone.
    pub(crate) fn save(&self, places: &Places) -> Result<(), FileError> {
        let directory = &places.identity;
        secret_file::create_private_dir(directory)
            .map_err(|source| FileError::Write { path: directory.clone(), source })?;
        files::save(&places.identity_file(), self)
    }

    /// Forgets it.
    pub(crate) fn remove(places: &Places) -> Result<(), FileError> {
        files::remove(&places.identity_file())
    }

    /// Signs requests and recovery points.
    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(self.signing_seed.clone())
    }

    /// Opens what the host seals to this machine.
    pub(crate) fn sealing_key(&self) -> SealingKeyPair {
        SealingKeyPair::derive(&self.sealing_seed)
    }

    /// `K_meta`: this machine's catalogues.
    pub(crate) fn meta_key(&self) -> &Secret {
        &self.meta_key
    }

    /// Begins a new life of the numbering: state was lost or rolled back.
    pub(crate) fn renew_incarnation(&mut self) {
        self.incarnation = new_incarnation();
        self.reports_begun = false;
    }

    /// Notes that the host has the catalogue key.
    pub(crate) fn note_meta_key_delivered(&mut self) {
        if let Some(enrolled) = &mut self.enrolled {
            enrolled.meta_key_delivered = true;
        }
    }

    /// Whether there is a vault to write to.
    pub(crate) fn has_vault(&self) -> bool {
        self.enrolled.as_ref().is_some_and(|enrolled| enrolled.vault.is_some())
    }

    /// Takes over a vault; another vault, or other keys of the same, needs the catalogue key again.
    pub(crate) fn take_vault(&mut self, grant: &VaultGrant) -> Result<bool, VaultChanged> {
        let Some(enrolled) = &mut self.enrolled else { return Ok(false) };
        match &enrolled.vault {
            Some(held) if held == grant => return Ok(false),
            // The keys are pinned at enrolment: a host that was taken over must not substitute its own.
            Some(held) if held.public_key != grant.public_key || held.maintenance_key != grant.maintenance_key => {
                return Err(VaultChanged { held: held.vault_id.to_string() });
            }
            Some(_) | None => {}
        }
        enrolled.meta_key_delivered &= enrolled.vault.as_ref().is_some_and(|held| held.vault_id == grant.vault_id);
        enrolled.vault = Some(grant.clone());
        Ok(true)
    }
}

/// The host sent other vault keys than were pinned.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host sent other keys for vault {held} than this machine pinned when it enrolled; they are not used. If the vault was really replaced, run `nightkeep-agent unenroll` and enrol again"
)]
pub(crate) struct VaultChanged {
    held: String,
}

fn new_incarnation() -> IncarnationId {
    IncarnationId::from_uuid(Uuid::new_v4())
}

mod secret_text {
    use super::{STANDARD, Secret};
    use base64::Engine as _;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(secret.expose()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("a key is not base64"))?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| D::Error::custom("a key does not have 32 bytes"))?;
        Ok(Secret::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot store has failed")]
    use super::*;
    use base64::Engine as _;

    fn places(dir: &std::path::Path) -> Places {
        let at = |name: &str| dir.join(name);
        Places { state: at("state"), identity: at("identity"), log: at("log"), config_file: at("agent.toml") }
    }

    #[test]
    fn an_identity_comes_back_with_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        assert!(Identity::load(&places).unwrap().is_none());
        let identity = Identity::generate();
        identity.save(&places).unwrap();
        let back = Identity::load(&places).unwrap().unwrap();
        assert_eq!(back.signing_key().public(), identity.signing_key().public());
        assert_eq!(back.sealing_key().public(), identity.sealing_key().public());
        assert_eq!(back.meta_key(), identity.meta_key());
        assert_eq!(back.incarnation, identity.incarnation);
    }

    #[test]
    fn debug_output_shows_no_key() {
        let identity = Identity::generate();
        let shown = format!("{identity:?}");
        assert!(!shown.contains(&STANDARD.encode(identity.meta_key().expose())), "{shown}");
        assert!(shown.contains("Secret(..)"));
    }
}
