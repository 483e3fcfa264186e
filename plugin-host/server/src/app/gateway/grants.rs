//! Upload grants: an address for one object, for fifteen minutes, to create it and nothing else.
//!
//! Invariant: the bytes granted are reserved against the quota before the address is given.

use chrono::Duration;
use nightkeep_database::{Machine, NewGrant, Reservation, VaultRecord};
use nightkeep_vault::crypto::random;
use nightkeep_wire::AGENT_API_BASE;
use nightkeep_wire::gateway::{GRANTS_PER_REQUEST_MAX, Grant, GrantOutcome, GrantRequest, GrantResponse, GrantWish};
use nightkeep_wire::problem::{Problem, ProblemCode};

use super::super::{App, AppError};
use super::{name_part, policy, space};

const VALID_FOR: Duration = Duration::minutes(15);

/// Largest pack with room for its frame; nothing else is larger (FORMAT.md, "Bounds").
const OBJECT_BYTES_MAX: u64 = (128 << 20) + (1 << 20);

/// Data leaves this much of the quota to what commits it.
const COMMIT_RESERVE_BYTES: u64 = 64 << 20;

/// A wish that passed the rules, with the token of its address.
struct Allowed<'a> {
    at: usize,
    wish: &'a GrantWish,
    token: [u8; 32],
}

impl App {
    /// Decides on a batch of wishes, in their order.
    pub(crate) async fn grants(
        &self,
        machine: &Machine,
        request: GrantRequest,
        authority: &str,
    ) -> Result<GrantResponse, AppError> {
        if request.objects.len() > GRANTS_PER_REQUEST_MAX {
            let detail = format!("{} objects in one request, at most {GRANTS_PER_REQUEST_MAX}", request.objects.len());
            return Err(AppError::new(ProblemCode::TooLarge, detail));
        }
        let vault = self.vault_of_machine(machine).await?;
        let own = name_part(machine);
        let mut outcomes = Vec::with_capacity(request.objects.len());
        let mut allowed = Vec::new();
        let mut room_for = 0;
        for wish in &request.objects {
            let refusal = self.refusal(&vault, &own, wish, room_for).await?;
            if refusal.is_none() {
                room_for += wish.len;
                allowed.push(Allowed { at: outcomes.len(), wish, token: random() });
            }
            outcomes.push(refusal);
        }
        self.reserve(machine, &vault, &allowed, authority, &mut outcomes).await?;
        let grants = request
            .objects
            .into_iter()
            .zip(outcomes)
            .filter_map(|(wish, outcome)| Some(Grant { name: wish.name, outcome: outcome? }));
        Ok(GrantResponse { grants: grants.collect() })
    }

    /// Why a wish gets no address; none when it may.
    async fn refusal(
        &self,
        vault: &VaultRecord,
        own: &str,
        wish: &GrantWish,
        room_for: u64,
    ) -> Result<Option<GrantOutcome>, AppError> {
        if let Err(reason) = policy::may_create(own, &wish.name, &wish.hash) {
            return Ok(Some(GrantOutcome::Refused { code: ProblemCode::NotAllowed, reason }));
        }
        if wish.len > OBJECT_BYTES_MAX {
            let reason = format!("{} has {} bytes, at most {OBJECT_BYTES_MAX} are taken", wish.name, wish.len);
            return Ok(Some(GrantOutcome::Refused { code: ProblemCode::TooLarge, reason }));
        }
        let path = self.object_path(vault, &wish.name);
        if tokio::fs::try_exists(&path).await.map_err(AppError::storage)? {
            return Ok(Some(GrantOutcome::Exists));
        }
        Ok(space::check(self.data.path(), room_for + wish.len).err().map(refused))
    }

    async fn reserve(
        &self,
        machine: &Machine,
        vault: &VaultRecord,
        allowed: &[Allowed<'_>],
        authority: &str,
        outcomes: &mut [Option<GrantOutcome>],
    ) -> Result<(), AppError> {
        if allowed.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let expires = now + VALID_FOR;
        let wishes: Vec<NewGrant> = allowed.iter().map(new_grant).collect();
        let answers = self.database.reserve(vault.id, machine.id, &wishes, expires, now).await?;
        for (allowed, answer) in allowed.iter().zip(answers) {
            let outcome = match answer {
                Reservation::Reserved => {
                    let token = hex::encode(allowed.token);
                    let url = format!("https://{authority}{AGENT_API_BASE}/vault/upload/{token}");
                    GrantOutcome::Url { url, expires }
                }
                Reservation::OverQuota { quota_bytes } => GrantOutcome::Refused {
                    code: ProblemCode::QuotaExceeded,
                    reason: format!(
                        "{} does not fit: the customer's quota of {} MB is used up; raise it in the console or shorten retention",
                        allowed.wish.name,
                        quota_bytes >> 20
                    ),
                },
            };
            if let Some(slot) = outcomes.get_mut(allowed.at) {
                *slot = Some(outcome);
            }
        }
        Ok(())
    }
}

fn new_grant(allowed: &Allowed<'_>) -> NewGrant {
    let name = allowed.wish.name.as_str();
    let is_data = name.starts_with("p/") || name.starts_with("m/");
    NewGrant {
        token_hash: *blake3::hash(&allowed.token).as_bytes(),
        object: name.to_owned(),
        bytes: allowed.wish.len,
        hash: allowed.wish.hash,
        keep_free_bytes: if is_data { COMMIT_RESERVE_BYTES } else { 0 },
    }
}

fn refused(error: AppError) -> GrantOutcome {
    let Problem { code, detail, .. } = error.problem;
    GrantOutcome::Refused { code, reason: detail }
}
