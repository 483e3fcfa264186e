//! Start and stop from the console (items 79-81).
//!
//! Invariant: asking twice is asking once: while a command of the same kind for the same plan is open, no second is
//! given.

use chrono::Duration;
use nightkeep_database::{Machine, NewCommand};
use nightkeep_wire::desired::CommandAction;
use nightkeep_wire::problem::ProblemCode;
use nightkeep_wire::{CommandId, JobId, PlanId};
use uuid::Uuid;

use super::identity::require_active;
use super::{App, AppError};

/// A start or stop that the machine did not hear for so long is no longer meant.
const VALID_FOR: Duration = Duration::hours(24);

impl App {
    /// Starts a backup now. Without a plan the machine's only plan is meant.
    pub(crate) async fn start(&self, machine: &Machine, plan: Option<PlanId>, by: &str) -> Result<CommandId, AppError> {
        require_active(machine)?;
        let applied = self.database.applications(machine.id).await?;
        let name = &machine.facts.hostname;
        let conflict = |detail: String| AppError::new(ProblemCode::Conflict, detail);
        let plan = match (plan, applied.as_slice()) {
            (Some(plan), applied) if applied.iter().any(|a| a.plan.plan.id == plan) => plan,
            (Some(_), _) => return Err(conflict(format!("this plan is not applied to {name}: apply it first"))),
            (None, [only]) => only.plan.plan.id,
            (None, []) => return Err(conflict(format!("{name} has no plan: apply one first"))),
            (None, _) => return Err(conflict(format!("{name} has several plans: say which one to start"))),
        };
        self.give(machine, CommandAction::Start { plan }, by).await
    }

    /// Stops what runs and discards it; the schedule is untouched.
    pub(crate) async fn stop(
        &self,
        machine: &Machine,
        job: Option<JobId>,
        plan: Option<PlanId>,
        by: &str,
    ) -> Result<CommandId, AppError> {
        require_active(machine)?;
        self.give(machine, CommandAction::Stop { job, plan }, by).await
    }

    async fn give(&self, machine: &Machine, action: CommandAction, by: &str) -> Result<CommandId, AppError> {
        let now = self.now();
        let open = self.database.open_commands(machine.id).await?;
        let is_same = |action: &CommandAction, valid: bool, other: &CommandAction| valid && action == other;
        if let Some(same) = open.iter().find(|c| is_same(&c.action, c.expires_at.is_none_or(|at| at > now), &action)) {
            return Ok(same.id);
        }
        let id = CommandId::from_uuid(Uuid::now_v7());
        let word = match action {
            CommandAction::Start { .. } => "start",
            CommandAction::Stop { .. } => "stop",
            CommandAction::Unenroll => "unenroll",
            CommandAction::Unknown => "unknown",
        };
        let expires_at = Some(now + VALID_FOR);
        let command = NewCommand { id, machine: machine.id, action, issued_by: by.to_owned(), expires_at };
        self.database.add_command(command, now).await?;
        self.hub.wake(machine.id);
        self.changed(machine.id);
        self.audit(by, word, machine.id, machine.facts.hostname.clone()).await?;
        Ok(id)
    }
}
