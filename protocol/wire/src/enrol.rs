//! Enrolment: a token's secret becomes a machine identity and the right to write into a vault.
//!
//! Invariant: the same hardware with the same signing key is always given the same machine id.

use serde::{Deserialize, Serialize};

use crate::bytes::{Sealed, SealingPublicKey, SigningPublicKey, TokenSecret};
use crate::id::{IncarnationId, MachineId, VaultId};
use crate::machine::MachineFacts;

/// Label under which a machine's vault secrets are sealed (HPKE `info`).
pub const MACHINE_SECRETS_INFO: &[u8] = b"nightkeep machine secrets v1";

/// Label under which a machine seals its own catalogue key to the vault (HPKE `info`).
pub const META_KEY_INFO: &[u8] = b"nightkeep k_meta v1";

/// `POST /enroll`: the only request that is not signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// [`crate::PROTOCOL_VERSION`] of the agent.
    pub version: u32,
    /// From the token.
    pub secret: TokenSecret,
    /// What the machine is.
    pub facts: MachineFacts,
    /// Verifies its requests from now on.
    pub signing_key: SigningPublicKey,
    /// Receives what only it may read.
    pub sealing_key: SealingPublicKey,
    /// The numbering of reports that starts now.
    pub incarnation: IncarnationId,
}

/// The host's answer to [`EnrollRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollResponse {
    /// The machine's id from now on.
    pub machine_id: MachineId,
    /// Whether it may start at once.
    pub state: EnrollState,
    /// Name of the customer.
    pub customer: String,
    /// Name of the client.
    pub client: String,
    /// Name of the location.
    pub location: String,
    /// The vault it writes into; none while it waits in the lobby, then it comes with the desired state.
    #[serde(default)]
    pub vault: Option<VaultGrant>,
    /// How long the host lets a poll wait.
    pub poll_wait_seconds: u32,
}

/// Outcome of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollState {
    /// In service at once.
    Active,
    /// Waits for a person's approval.
    Lobby,
}

/// What a machine needs to write into its customer's vault, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultGrant {
    /// The vault.
    pub vault_id: VaultId,
    /// `nightkeep+https://HOST/<vault id>` for the gateway, or a direct location.
    pub location: String,
    /// X25519 key to which pack keys are sealed; pinned by the agent.
    pub public_key: SealingPublicKey,
    /// Key epoch of the vault.
    pub epoch: u32,
    /// Verifies generations, fences, decisions and forgets.
    pub maintenance_key: SigningPublicKey,
    /// `K_id || K_chunk || K_index`, sealed to the machine: HPKE with [`MACHINE_SECRETS_INFO`], the machine id as
    /// associated data.
    pub secrets_sealed: Sealed,
}

/// `PUT /machine/keys`: the machine's own catalogue key, readable by the vault's owner alone. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineKeys {
    /// `K_meta` sealed to the vault's public key: HPKE with [`META_KEY_INFO`], the machine id as associated data.
    pub meta_key_sealed: Sealed,
}
