//! Writing to the audit log.

use nightkeep_database::AuditEntry;

use super::{App, AppError};

impl App {
    /// Notes who did what to what.
    pub(crate) async fn audit(
        &self,
        actor: &str,
        action: &str,
        subject: impl ToString,
        detail: impl Into<String>,
    ) -> Result<(), AppError> {
        let entry = AuditEntry {
            at: self.now(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_string(),
            detail: detail.into(),
        };
        Ok(self.database.audit(entry).await?)
    }
}
