//! Letting machines in.
//!
//! Invariant: what a machine is given is sealed to the key it came with; a machine in the lobby is given nothing.

use nightkeep_database::{EnrolError, Machine, NewMachine, Place, TokenProblem};
use nightkeep_wire::enrol::{EnrollRequest, EnrollResponse, EnrollState, MachineKeys};
use nightkeep_wire::machine::{MachineClass, MachineState};
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::{MachineId, POLL_WAIT_SECONDS, PROTOCOL_VERSION};
use uuid::Uuid;

use super::identity::require_active;
use super::{App, AppError};

/// Longest host name or fingerprint taken.
const FACT_CHARS_MAX: usize = 255;
/// Bytes of a sealed 32-byte key: encapsulated key, ciphertext, tag.
const META_SEALED_BYTES: usize = 32 + 32 + 16;

impl App {
    /// Exchanges a token for a machine identity. The same machine with the same keys gets the same answer again.
    pub(crate) async fn enrol(&self, request: EnrollRequest, authority: &str) -> Result<EnrollResponse, AppError> {
        check(&request)?;
        let now = self.now();
        let secret_hash = *blake3::hash(request.secret.expose()).as_bytes();
        let wish = NewMachine {
            id: MachineId::from_uuid(Uuid::now_v7()),
            class: class_of(&request),
            facts: request.facts,
            signing_key: request.signing_key,
            sealing_key: request.sealing_key,
            incarnation: request.incarnation,
        };
        let enrolled = self.database.enrol(secret_hash, wish, now).await.map_err(token_problem)?;
        let machine = enrolled.machine;
        let place = self.place_of(&machine).await?;
        if enrolled.is_new {
            let detail = format!("{} at {} / {}", machine.facts.hostname, place.client.name, place.location.name);
            self.audit(&machine.id.to_string(), "enrol", machine.id, detail).await?;
            self.refresh(&machine).await?;
        }
        let (state, vault) = match machine.state {
            MachineState::Active => {
                (EnrollState::Active, Some(self.vault_grant(place.customer.id, &machine, authority).await?))
            }
            MachineState::Lobby => (EnrollState::Lobby, None),
            MachineState::Retired | MachineState::Replaced | MachineState::Moved => {
                require_active(&machine)?;
                (EnrollState::Lobby, None)
            }
        };
        Ok(EnrollResponse {
            machine_id: machine.id,
            state,
            customer: place.customer.name,
            client: place.client.name,
            location: place.location.name,
            vault,
            poll_wait_seconds: POLL_WAIT_SECONDS,
        })
    }

    /// Takes a machine's own catalogue key, sealed to the vault, and makes the machine known to the vault.
    pub(crate) async fn put_machine_keys(&self, machine: &Machine, keys: MachineKeys) -> Result<(), AppError> {
        require_active(machine)?;
        let sealed = keys.meta_key_sealed.0;
        if sealed.len() != META_SEALED_BYTES {
            let detail = format!("meta_key_sealed has {} bytes, expected {META_SEALED_BYTES}", sealed.len());
            return Err(AppError::new(ProblemCode::BadRequest, detail));
        }
        if machine.recorded_in_vault {
            return match machine.meta_sealed.as_ref() == Some(&sealed) {
                true => Ok(()),
                false => Err(AppError::new(
                    ProblemCode::Conflict,
                    "the vault holds another key of this machine already: keep that one, or make a new identity",
                )),
            };
        }
        // A try that was cut off may have left a record: the first key stays.
        let sealed = match &machine.meta_sealed {
            Some(first) if *first != sealed => {
                let detail = "another key of this machine was given before: send that one again";
                return Err(AppError::new(ProblemCode::Conflict, detail));
            }
            Some(_) | None => sealed,
        };
        self.database.set_meta_key(machine.id, &sealed).await?;
        let place = self.place_of(machine).await?;
        self.record_machine(place.customer.id, machine, sealed).await?;
        self.database.set_recorded_in_vault(machine.id).await?;
        Ok(())
    }

    /// Where a machine stands.
    pub(crate) async fn place_of(&self, machine: &Machine) -> Result<Place, AppError> {
        let place = self.database.place(machine.location).await?;
        place.ok_or_else(|| AppError::internal(format!("machine {} stands nowhere", machine.id)))
    }
}

fn check(request: &EnrollRequest) -> Result<(), AppError> {
    if request.version == 0 {
        let detail = format!("protocol version 0 does not exist; this host speaks up to {PROTOCOL_VERSION}");
        return Err(AppError::new(ProblemCode::VersionUnsupported, detail));
    }
    let facts = &request.facts;
    for (field, text) in [("hostname", &facts.hostname), ("hardware_fingerprint", &facts.hardware_fingerprint)] {
        if text.trim().is_empty() || text.chars().count() > FACT_CHARS_MAX {
            let detail = format!("facts.{field} must have 1 to {FACT_CHARS_MAX} characters");
            return Err(AppError::new(ProblemCode::BadRequest, detail));
        }
    }
    Ok(())
}

/// The host decides: until customers have quotas of virtual machines, one counts by its operating system.
fn class_of(request: &EnrollRequest) -> MachineClass {
    request.facts.class
}

fn token_problem(error: EnrolError) -> AppError {
    let remedy = "make a new one in the console or with `nightkeep-host token create`";
    match error {
        EnrolError::Database(error) => error.into(),
        EnrolError::Token(TokenProblem::Unknown) => {
            let detail = format!("this host does not know the enrolment token, or it was revoked: {remedy}");
            AppError::new(ProblemCode::TokenUnknown, detail)
        }
        EnrolError::Token(TokenProblem::Expired { at }) => {
            let detail = format!("the enrolment token expired on {}: {remedy}", at.format("%Y-%m-%d %H:%M UTC"));
            AppError::new(ProblemCode::TokenExpired, detail)
        }
        EnrolError::Token(TokenProblem::UsedUp { allowed }) => {
            let times = if allowed == 1 { "once".to_owned() } else { format!("{allowed} times") };
            let detail = format!("the enrolment token was good {times} and is used up: {remedy}");
            AppError::new(ProblemCode::TokenUsed, detail)
        }
    }
}
