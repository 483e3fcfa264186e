//! Who sends an agent's request: its signature, its time, its nonce.
//!
//! Invariant: a nonce is remembered for longer than its request could be fresh, and only after its signature was found
//! right, so strangers fill nothing.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use nightkeep_database::Machine;
use nightkeep_vault::crypto::VerifyingKey;
use nightkeep_wire::MachineId;
use nightkeep_wire::bytes::RequestSignature;
use nightkeep_wire::id::Nonce;
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::signing::{CLOCK_SKEW_MAX_MS, SignedParts, is_fresh};

use super::{App, AppError};

/// Nonces in one half of the cache: three thousand machines for half an hour, with room to spare. 48 MB at most.
const NONCES_MAX: usize = 500_000;

/// What the headers of a request claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) machine: MachineId,
    pub(crate) time_unix_ms: u64,
    pub(crate) nonce: Nonce,
    pub(crate) signature: RequestSignature,
}

impl App {
    /// The machine that a claim names, when the claim's time is fresh. Its body need not be read before.
    pub(crate) async fn claimant(&self, claim: &Claim) -> Result<Machine, AppError> {
        let host_ms = unix_ms(self.now());
        if !is_fresh(claim.time_unix_ms, host_ms) {
            let detail = format!(
                "the request is of {} ms, the host's clock says {host_ms} ms: correct the clock or its offset",
                claim.time_unix_ms
            );
            return Err(AppError::new(ProblemCode::ClockSkew, detail));
        }
        let unknown = || {
            let detail = format!("machine {} is not enrolled here: enrol it with a token", claim.machine);
            AppError::new(ProblemCode::MachineUnknown, detail)
        };
        self.database.machine(claim.machine).await?.ok_or_else(unknown)
    }

    /// Checks signature and nonce.
    pub(crate) fn verify(&self, machine: &Machine, claim: &Claim, parts: SignedParts<'_>) -> Result<(), AppError> {
        let key = VerifyingKey(*machine.signing_key.as_bytes());
        if !key.verifies(&parts.to_bytes(), &claim.signature.0) {
            let detail = format!("the request is not signed with the key of machine {}", claim.machine);
            return Err(AppError::new(ProblemCode::SignatureInvalid, detail));
        }
        self.nonces.take(claim.machine, claim.nonce, self.now())
    }
}

/// A machine that may work: in service, neither waiting nor retired.
pub(crate) fn require_active(machine: &Machine) -> Result<(), AppError> {
    let name = &machine.facts.hostname;
    match machine.state {
        MachineState::Active => Ok(()),
        MachineState::Lobby => Err(AppError::new(
            ProblemCode::MachineInLobby,
            format!("{name} waits for approval: a technician has to approve it in the console"),
        )),
        MachineState::Retired | MachineState::Replaced | MachineState::Moved => Err(AppError::new(
            ProblemCode::MachineRetired,
            format!("{name} is out of service: bring it back in the console, or enrol it anew"),
        )),
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// Nonces seen, in two halves that take turns: each is kept for at least the time in which its request stays fresh.
#[derive(Debug, Default)]
pub(crate) struct NonceCache(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    current: HashSet<(MachineId, Nonce)>,
    previous: HashSet<(MachineId, Nonce)>,
    turned_at_ms: u64,
}

impl NonceCache {
    fn take(&self, machine: MachineId, nonce: Nonce, now: DateTime<Utc>) -> Result<(), AppError> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = unix_ms(now);
        if now_ms.saturating_sub(halves.turned_at_ms) > 2 * CLOCK_SKEW_MAX_MS {
            halves.previous = std::mem::take(&mut halves.current);
            halves.turned_at_ms = now_ms;
        }
        if halves.previous.contains(&(machine, nonce)) || halves.current.contains(&(machine, nonce)) {
            let detail = format!("nonce {nonce} came before: sign the request again with a new one");
            return Err(AppError::new(ProblemCode::NonceReplayed, detail));
        }
        if halves.current.len() >= NONCES_MAX {
            let detail = "too many requests in half an hour: wait a little";
            return Err(AppError::new(ProblemCode::RateLimited, detail));
        }
        halves.current.insert((machine, nonce));
        Ok(())
    }
}
