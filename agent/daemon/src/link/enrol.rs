//! Enrolment: a token becomes a machine of the host.
//!
//! ```text
//! no identity -> keys stored -> host answered (active or lobby) -> catalogue key delivered
//! ```
//! Invariant: each step can be repeated; a repeated enrolment gives the same machine.

use nightkeep_vault::crypto::SealingPublicKey;
use nightkeep_wire::PROTOCOL_VERSION;
use nightkeep_wire::bytes::{Sealed, SealingPublicKey as WireSealingKey, SigningPublicKey};
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse, META_KEY_INFO, MachineKeys};
use nightkeep_wire::machine::MachineFacts;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::token::EnrolmentToken;

use super::client::HostLink;
use super::error::LinkError;
use crate::files::FileError;
use crate::identity::{Enrolled, Identity};
use crate::places::Places;

/// Why a machine was not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// The token's time is over.
    #[error("the enrolment token has expired: make a new one in the console or with `nightkeep-host token create`")]
    Expired,
    /// The token's uses are used up.
    #[error("the enrolment token is used up: make a new one, or one with more uses")]
    Used,
    /// No such token.
    #[error("the host {host} does not know this enrolment token: was it revoked, or made by another host?")]
    Unknown {
        /// The host.
        host: String,
    },
    /// The host did not answer well.
    #[error(transparent)]
    Link(LinkError),
    /// The identity cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// The vault's public key is none.
    #[error("the host sent a vault key that is none: ask its administrator to check the vault")]
    VaultKey,
}

impl EnrolError {
    fn of(error: LinkError, host: &str) -> Self {
        match error.code() {
            Some(ProblemCode::TokenExpired) => Self::Expired,
            Some(ProblemCode::TokenUsed) => Self::Used,
            Some(ProblemCode::TokenUnknown) => Self::Unknown { host: host.to_owned() },
            Some(_) | None => Self::Link(error),
        }
    }

    /// Whether trying again may help without anybody doing anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Link(error) => error.is_passing(),
            Self::Expired | Self::Used | Self::Unknown { .. } | Self::File(_) | Self::VaultKey => false,
        }
    }
}

/// Asks the host to take this machine in, and keeps what it answers.
pub(crate) async fn enrol(
    link: &HostLink,
    token: &EnrolmentToken,
    facts: MachineFacts,
    identity: &mut Identity,
    places: &Places,
) -> Result<(), EnrolError> {
    identity.save(places)?;
    let request = EnrollRequest {
        version: PROTOCOL_VERSION,
        secret: token.secret.clone(),
        facts,
        signing_key: SigningPublicKey(identity.signing_key().public().0),
        sealing_key: WireSealingKey(identity.sealing_key().public().0),
        incarnation: identity.incarnation,
    };
    let answer: Result<EnrollResponse, _> = link.unsigned("/enroll", &request).await;
    let answer = answer.map_err(|error| EnrolError::of(error, link.host()))?;
    identity.enrolled = Some(Enrolled {
        machine: answer.machine_id,
        host_url: link.host().to_owned(),
        pin: Some(token.pin),
        customer: answer.customer,
        client: answer.client,
        location: answer.location,
        state: answer.state,
        vault: answer.vault,
        meta_key_delivered: false,
    });
    Ok(identity.save(places)?)
}

/// This machine's catalogue key sealed to the vault, while the host does not have it yet.
pub(crate) fn undelivered_meta_key(identity: &Identity) -> Result<Option<MachineKeys>, EnrolError> {
    let Some(enrolled) = &identity.enrolled else { return Ok(None) };
    let Some(grant) = enrolled.vault.as_ref().filter(|_| !enrolled.meta_key_delivered) else { return Ok(None) };
    let info = std::str::from_utf8(META_KEY_INFO).unwrap_or_default();
    let vault_key = SealingPublicKey(*grant.public_key.as_bytes());
    let sealed = vault_key.seal(info, enrolled.machine.as_bytes(), identity.meta_key().expose());
    Ok(Some(MachineKeys { meta_key_sealed: Sealed(sealed.map_err(|_| EnrolError::VaultKey)?) }))
}
