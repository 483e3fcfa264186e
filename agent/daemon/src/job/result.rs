//! From the engine's words to the wire's: totals, findings, errors.

use nightkeep_engine::backup::{BackupError, BackupReport};
use nightkeep_engine::progress::{Finding as EngineFinding, FindingKind as EngineKind};
use nightkeep_vault::record::point::{BackupSet as VaultSet, Totals};
use nightkeep_vault::store::StoreError;
use nightkeep_vault::vault::VaultError;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::report::{
    BackupSet, ErrorClass, FINDINGS_MAX, Finding, FindingKind, JobStats, REPORT_TEXT_BYTES_MAX,
};

use crate::link::LinkError;

/// The figures.
pub(super) fn stats(totals: &Totals) -> JobStats {
    JobStats {
        files: totals.files,
        dirs: totals.directories,
        bytes: totals.bytes,
        files_new: totals.files_new,
        files_changed: totals.files_changed,
        files_unchanged: totals.files_unchanged,
        bytes_read: totals.bytes_read,
        bytes_new: totals.bytes_new,
        bytes_stored: totals.bytes_stored,
        objects: totals.objects,
    }
}

/// The findings of a report, the grave ones first, as many as it may carry.
pub(super) fn findings(report: &BackupReport, own: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = own.into_iter().chain(report.findings.iter().map(finding)).collect();
    all.sort_by_key(|finding| finding.kind.is_benign());
    all.truncate(FINDINGS_MAX);
    all
}

fn finding(finding: &EngineFinding) -> Finding {
    Finding {
        path_lossy: bounded(&finding.path_lossy()),
        kind: match finding.kind {
            EngineKind::Unreadable => FindingKind::Unreadable,
            EngineKind::Vanished => FindingKind::Vanished,
            EngineKind::Changed => FindingKind::Changing,
            EngineKind::Attributes | EngineKind::Metadata => FindingKind::MetadataLost,
            EngineKind::Unrestored | EngineKind::Damaged => FindingKind::Unsupported,
        },
        message: bounded(&finding.text),
    }
}

/// A text cut at a character to what a report may carry.
pub(super) fn bounded(text: &str) -> String {
    let mut end = text.len().min(REPORT_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The set as the vault stores it.
pub(super) fn vault_set(set: BackupSet) -> VaultSet {
    match set {
        BackupSet::Daily => VaultSet::Daily,
        BackupSet::Weekly => VaultSet::Weekly,
        BackupSet::Monthly => VaultSet::Monthly,
    }
}

/// What a failure is about; `refusal` is the host's last one.
pub(super) fn class_of(error: &BackupError, refusal: Option<ProblemCode>) -> ErrorClass {
    match error {
        BackupError::Vault(error) => class_of_vault(error, refusal),
        BackupError::Source(_) | BackupError::Hardware(_) | BackupError::TooLarge { .. } => ErrorClass::Machine,
        BackupError::Stopped(_) | BackupError::Worker => ErrorClass::Internal,
    }
}

/// What a vault's failure is about.
pub(super) fn class_of_vault(error: &VaultError, refusal: Option<ProblemCode>) -> ErrorClass {
    match error {
        VaultError::Store(error) => class_of_store(error, refusal),
        VaultError::NoVault { .. } => ErrorClass::Storage,
        VaultError::Object { .. }
        | VaultError::Pack { .. }
        | VaultError::Missing { .. }
        | VaultError::Forged { .. } => ErrorClass::VaultDamaged,
        VaultError::WrongPassphrase { .. } | VaultError::WrongKey { .. } | VaultError::NotOwner { .. } => {
            ErrorClass::Credentials
        }
        VaultError::Index(_) => ErrorClass::Machine,
        VaultError::Exists { .. } | VaultError::Conflict { .. } | VaultError::Fenced { .. } | VaultError::Slot(_) => {
            ErrorClass::Internal
        }
    }
}

fn class_of_store(error: &StoreError, refusal: Option<ProblemCode>) -> ErrorClass {
    match (error, refusal) {
        (StoreError::Full { .. }, _) => ErrorClass::Storage,
        (_, Some(ProblemCode::QuotaExceeded)) => ErrorClass::Quota,
        (_, Some(ProblemCode::StorageFull | ProblemCode::StorageUnavailable)) => ErrorClass::Storage,
        (StoreError::Refused { .. }, _) => ErrorClass::Credentials,
        (StoreError::Failed { source, .. }, _) if is_unreachable(source.as_ref()) => ErrorClass::HostUnreachable,
        (StoreError::Failed { .. } | StoreError::NotFound { .. }, _) => ErrorClass::Storage,
    }
}

fn is_unreachable(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    match source.downcast_ref::<LinkError>() {
        Some(LinkError::Unreachable { .. } | LinkError::Untrusted { .. }) => true,
        Some(LinkError::Problem { problem }) => problem.code == ProblemCode::Unavailable,
        Some(LinkError::Status { .. } | LinkError::Answer { .. } | LinkError::Setup { .. }) | None => false,
    }
}
