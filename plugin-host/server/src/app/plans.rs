//! Applying and revoking plans.

use nightkeep_database::Machine;
use nightkeep_wire::PlanId;

use super::identity::require_active;
use super::{App, AppError};

impl App {
    /// Applies a plan, and starts it at once when asked; false when it was applied already.
    pub(crate) async fn apply_plan(
        &self,
        machine: &Machine,
        plan: PlanId,
        run_immediately: bool,
        by: &str,
    ) -> Result<bool, AppError> {
        require_active(machine)?;
        let place = self.place_of(machine).await?;
        let record = self.database.plan(plan).await?;
        // A plan made for one customer does not exist for another.
        let record = record.filter(|record| record.customer.is_none_or(|owner| owner == place.customer.id));
        let record = record.ok_or_else(|| AppError::not_found("plan"))?;
        let applied = self.database.apply_plan(machine.id, plan, by, self.now()).await?;
        if applied {
            self.audit(by, "apply_plan", machine.id, record.plan.name).await?;
            self.refresh(machine).await?;
            self.hub.wake(machine.id);
        }
        if run_immediately {
            self.start(machine, Some(plan), by).await?;
        }
        Ok(applied)
    }

    /// Revokes a plan; its recovery points stay. False when it was not applied.
    pub(crate) async fn revoke_plan(
        &self,
        machine: &Machine,
        plan: PlanId,
        exclude_from_automatic: bool,
        by: &str,
    ) -> Result<bool, AppError> {
        let revoked = self.database.revoke_plan(machine.id, plan, exclude_from_automatic).await?;
        if revoked {
            self.audit(by, "revoke_plan", machine.id, plan.to_string()).await?;
            self.refresh(machine).await?;
            self.hub.wake(machine.id);
        }
        Ok(revoked)
    }
}
