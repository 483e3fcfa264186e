//! The scan: looks at every machine and puts right what is not as wished.
//!
//! Invariant: idempotent, takes no hint of what changed, safe to run twice or on several hosts at once: what it changes
//! is changed by statements that change nothing the second time.

use nightkeep_database::{Machine, PlanRecord};
use nightkeep_wire::plan::Plan;
use serde::Serialize;

use super::{App, AppError};

/// Machines looked at per step; bounds memory, not the scan.
const PAGE: u64 = 200;

/// What a scan did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ScanReport {
    /// Machines looked at.
    pub(crate) machines: u64,
    /// Machines that got the default plan.
    pub(crate) plans_applied: u64,
    /// Machines that could not be judged; the log says why.
    pub(crate) failed: u64,
}

impl App {
    /// Makes the shipped plans known. Called at start.
    pub(crate) async fn ensure_shipped_plans(&self) -> Result<(), AppError> {
        let plans = [(Plan::default_plan(), true), (Plan::server_plan(), false), (Plan::user_profiles_plan(), false)];
        for (plan, is_default) in plans {
            self.database.ensure_plan(&plan, is_default, self.now()).await?;
        }
        Ok(())
    }

    /// Looks at all machines.
    pub(crate) async fn scan(&self) -> Result<ScanReport, AppError> {
        let default = self.database.default_plan().await?;
        let mut report = ScanReport::default();
        let mut after = None;
        loop {
            let machines = self.database.active_machines(after, PAGE).await?;
            for machine in &machines {
                report.machines += 1;
                // One machine's trouble is no reason to leave the others alone.
                match self.reconcile(machine, default.as_ref()).await {
                    Ok(applied) => report.plans_applied += u64::from(applied),
                    Err(error) => {
                        report.failed += 1;
                        tracing::error!(machine = %machine.id, %error, cause = ?error.cause, "A machine could not be scanned");
                    }
                }
            }
            match machines.last() {
                Some(last) => after = Some(last.id),
                None => return Ok(report),
            }
        }
    }

    async fn reconcile(&self, machine: &Machine, default: Option<&PlanRecord>) -> Result<bool, AppError> {
        let mut applied = false;
        if let Some(plan) = default
            && !machine.auto_apply_excluded
            && self.place_of(machine).await?.auto_apply()
            && self.database.applications(machine.id).await?.is_empty()
        {
            applied = self.database.apply_automatically(machine.id, plan.plan.id, self.now()).await?;
            if applied {
                let name = &machine.facts.hostname;
                tracing::info!(machine = %machine.id, hostname = %name, plan = %plan.plan.name, "Default plan applied");
                self.audit("scan", "apply_plan", machine.id, plan.plan.name.clone()).await?;
                self.hub.wake(machine.id);
            }
        }
        self.refresh(machine).await?;
        Ok(applied)
    }
}
