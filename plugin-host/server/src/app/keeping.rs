//! Carries out retention in every vault, and gives back the space of what is dropped.
//!
//! Invariant: idempotent and safe on several hosts at once; done with the two keys it needs, the index key and the
//! maintenance key; what a vault's trouble is stands in the listing until a run without it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, Utc};
use nightkeep_database::{Customer, VaultRecord};
use nightkeep_rules::retention::{self, Point as RulePoint, Rules};
use nightkeep_vault::codec::Time;
use nightkeep_vault::collect::{self, Candidate, CollectError, CollectOptions, RetireOptions};
use nightkeep_vault::crypto::SigningKey;
use nightkeep_vault::id as vault_id;
use nightkeep_vault::keys::VaultKeys;
use nightkeep_vault::record::point::BackupSet;
use nightkeep_vault::store::DiskStore;
use nightkeep_vault::vault::{Health, Vault, VaultError};
use nightkeep_wire::report::BackupSet as PlanSet;
use nightkeep_wire::{CustomerId, MachineId, VaultId};
use serde::Serialize;

use super::vaults::blocking;
use super::{App, AppError};

/// Without a person's word at most one in five of a plan's recovery points on a machine goes to the trash in one run.
const ONE_IN: u64 = 5;
/// What was deleted can be moved back from the vault's trash folder for so long.
const SWEPT_SECONDS: i64 = 7 * 24 * 3600;

/// What was done in one vault, or why not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    pub(crate) customer: String,
    pub(crate) vault: String,
    pub(crate) at: DateTime<Utc>,
    /// Recovery points that went to the trash.
    pub(crate) trashed: u64,
    /// Recovery points whose time in the trash was over.
    pub(crate) forgotten: u64,
    /// Expired ones that wait, as too many would go at once: a person may confirm them.
    pub(crate) held_back: u64,
    pub(crate) points: u64,
    pub(crate) live_bytes: u64,
    pub(crate) packs_deleted: u64,
    pub(crate) bytes_deleted: u64,
    /// Runs that were at work meanwhile and may have to send something again.
    pub(crate) sessions_fenced: u64,
    /// Why nothing was deleted.
    pub(crate) error: Option<String>,
}

/// The plans applied to each machine of a vault, by their ids: plans that were revoked expire nothing.
type RulesOf = HashMap<vault_id::MachineId, HashMap<[u8; 16], Rules>>;

/// What opens a vault for its keeper.
struct Keeper {
    path: PathBuf,
    id: vault_id::VaultId,
    keys: VaultKeys,
    maintenance: SigningKey,
}

impl App {
    /// Keeps every vault, or one customer's; `confirmed` lifts the limit of what may go at once.
    pub(crate) async fn keep_vaults(
        &self,
        by: &str,
        only: Option<CustomerId>,
        confirmed: bool,
    ) -> Result<Vec<Kept>, AppError> {
        let mut all = Vec::new();
        for customer in self.database.customers().await? {
            if *self.stopping.borrow() || only.is_some_and(|only| only != customer.id) {
                continue;
            }
            let Some(vault) = self.database.vault_of(customer.id).await? else { continue };
            let kept = self.keep_vault(by, &customer, &vault, confirmed).await?;
            self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(vault.id, kept.clone());
            all.push(kept);
        }
        Ok(all)
    }

    /// What the last run did in each vault.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().cloned().collect()
    }

    async fn keep_vault(
        &self,
        by: &str,
        customer: &Customer,
        vault: &VaultRecord,
        confirmed: bool,
    ) -> Result<Kept, AppError> {
        let now = self.now();
        let named = Kept { customer: customer.name.clone(), vault: vault.id.to_string(), at: now, ..Kept::default() };
        let done = match self.rules_of(vault).await {
            Ok(rules) => {
                let (keeper, named) = (self.keeper(vault)?, named.clone());
                blocking(move || Ok(keep(&keeper, &rules, now, confirmed, named))).await?
            }
            Err(error) => Err(error.to_string()),
        };
        match done {
            Ok(kept) => {
                self.tell(by, vault, &kept).await?;
                Ok(kept)
            }
            Err(error) => {
                tracing::error!(vault = %vault.id, %error, "A vault could not be kept; nothing was deleted");
                self.audit(by, "keep_failed", vault.id, error.clone()).await?;
                Ok(Kept { error: Some(error), ..named })
            }
        }
    }

    fn keeper(&self, vault: &VaultRecord) -> Result<Keeper, AppError> {
        let (root, id) = (self.root_of(vault)?, vault_id::VaultId(vault.id.0));
        Ok(Keeper { path: self.data.vault(vault.id), id, keys: root.vault_keys(id), maintenance: root.maintenance(id) })
    }

    async fn rules_of(&self, vault: &VaultRecord) -> Result<RulesOf, AppError> {
        let keeper = self.keeper(vault)?;
        let machines = blocking(move || match keeper.open() {
            Ok(vault) => vault.machines(),
            Err(VaultError::NoVault { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        });
        let mut rules = RulesOf::new();
        for record in machines.await? {
            let applied = self.database.applications(MachineId::from(uuid::Uuid::from_bytes(record.machine.0))).await?;
            let of_plan =
                |plan: nightkeep_wire::plan::Plan| (*plan.id.as_uuid().as_bytes(), Rules::from(plan.retention));
            rules.insert(record.machine, applied.into_iter().map(|applied| of_plan(applied.plan.plan)).collect());
        }
        Ok(rules)
    }

    async fn tell(&self, by: &str, vault: &VaultRecord, kept: &Kept) -> Result<(), AppError> {
        let Kept { trashed, forgotten, held_back, packs_deleted, bytes_deleted, .. } = kept;
        if trashed + forgotten + held_back + packs_deleted == 0 {
            return Ok(());
        }
        tracing::info!(vault = %vault.id, trashed, forgotten, held_back, packs_deleted, bytes_deleted, "Kept a vault");
        let detail = format!(
            "{trashed} recovery points to the trash, {forgotten} dropped for good, {held_back} held back; {packs_deleted} \
             packs with {bytes_deleted} bytes deleted"
        );
        self.audit(by, "keep", vault.id, detail).await?;
        Ok(self.database.give_back(vault.id, *bytes_deleted).await?)
    }
}

impl Keeper {
    fn open(&self) -> Result<Vault, VaultError> {
        let store = Arc::new(DiskStore::new(self.path.clone()));
        Vault::open_keeper(store, self.id, self.keys.clone(), self.maintenance.clone())
    }
}

/// Retention first, then the collection. The error is in words: it goes to the listing.
fn keep(keeper: &Keeper, rules: &RulesOf, at: DateTime<Utc>, confirmed: bool, mut kept: Kept) -> Result<Kept, String> {
    let vault = match keeper.open() {
        // It is in the database a moment before it is on the disk.
        Err(VaultError::NoVault { .. }) => return Ok(kept),
        opened => opened.map_err(|error| words(&error))?,
    };
    let now = Time { seconds: at.timestamp(), nanoseconds: 0 };
    let options = RetireOptions { one_in: (!confirmed).then_some(ONE_IN), ..RetireOptions::new(now) };
    let retirement = collect::plan_retirement(&vault, &options, &mut |candidates| expired(candidates, rules, at));
    let retirement = retirement.map_err(|error| words(&error))?;
    retirement.run(&vault, now).map_err(|error| words(&error))?;
    kept.trashed = retirement.trash.len() as u64;
    kept.forgotten = retirement.forget.len() as u64;
    kept.held_back = retirement.held_back;
    let options = CollectOptions::new(now);
    let report = match collect::plan(&vault, &options).and_then(|plan| collect::run(&vault, plan, &options)) {
        // Another host is at it; what it leaves comes next time.
        Err(CollectError::Raced) => return Ok(kept),
        other => other.map_err(|error| words(&error))?,
    };
    (kept.points, kept.live_bytes) = (report.points, report.live_bytes);
    (kept.packs_deleted, kept.bytes_deleted) = (report.packs_deleted, report.bytes_deleted);
    kept.sessions_fenced = report.fenced;
    let before = Time { seconds: now.seconds - SWEPT_SECONDS, nanoseconds: 0 };
    vault.store().empty_trash(before).map_err(|error| words(&error))?;
    Ok(kept)
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The reason why each of one plan's points on one machine goes, or none.
fn expired(candidates: &[Candidate<'_>], rules: &RulesOf, at: DateTime<Utc>) -> Vec<Option<String>> {
    let kept = || vec![None; candidates.len()];
    let Some(first) = candidates.first() else { return kept() };
    let header = &first.listed.point.header;
    let rules = header.plan.and_then(|plan| rules.get(&header.machine)?.get(&plan));
    // Outside a plan, and of a plan that was revoked, everything stays.
    let Some(rules) = rules else { return kept() };
    let points: Vec<RulePoint> = candidates.iter().map(rule_point).collect();
    let decisions = retention::decide(&points, rules, at);
    let reason = |point, decision| retention::explain(point, decision, &rules.current, at);
    let both = points.iter().zip(&decisions);
    both.map(|(point, decision)| (!decision.keeps()).then(|| reason(point, decision))).collect()
}

fn rule_point(candidate: &Candidate<'_>) -> RulePoint {
    let header = &candidate.listed.point.header;
    let set = match header.set {
        BackupSet::Monthly => PlanSet::Monthly,
        BackupSet::Weekly => PlanSet::Weekly,
        BackupSet::Daily | BackupSet::None => PlanSet::Daily,
    };
    let zone = header.started.offset_minutes.checked_mul(60).and_then(FixedOffset::east_opt);
    let moment = DateTime::from_timestamp(candidate.began.seconds, candidate.began.nanoseconds);
    // A moment beyond the calendar is one that never expires.
    let at = moment.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let at = zone.map_or_else(|| at.fixed_offset(), |zone| at.with_timezone(&zone));
    let restorable = candidate.listed.health == Health::Sound;
    RulePoint { at, set, restorable, held: candidate.listed.retained.held }
}

/// What the last runs did, by vault.
pub(crate) type KeptVaults = std::sync::Mutex<BTreeMap<VaultId, Kept>>;
