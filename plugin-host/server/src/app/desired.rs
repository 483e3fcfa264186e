//! The desired state of a machine, and waiting for a newer one.
//!
//! Invariant: the version that is answered is never newer than what is answered with it.

use std::time::Duration;

use nightkeep_database::Machine;
use nightkeep_wire::desired::{DesiredState, EndUserRights, MachineSettings};
use nightkeep_wire::machine::MachineState;
use tokio::time::{Instant, sleep_until};

use super::identity::require_active;
use super::{App, AppError};

/// Longest wait that a poll may ask for.
const WAIT_MAX: Duration = Duration::from_secs(55);

/// How often a waiting poll asks the database: another host may have made the change.
const RECHECK: Duration = Duration::from_secs(5);

impl App {
    /// The desired state when it is newer than `version`, or none after the wait.
    pub(crate) async fn desired(
        &self,
        machine: &Machine,
        version: u64,
        wait: Duration,
        authority: &str,
    ) -> Result<Option<DesiredState>, AppError> {
        self.database.touch_machine(machine.id, self.now()).await?;
        let listener = self.hub.listen(machine.id);
        let mut stopping = self.stopping.subscribe();
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            let changed = listener.changed();
            let present = self.database.desired_version(machine.id).await?;
            if present.is_some_and(|present| present != version) {
                return self.desired_now(machine, authority).await.map(Some);
            }
            let now = Instant::now();
            if now >= deadline || *stopping.borrow_and_update() {
                return Ok(None);
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline.min(now + RECHECK)) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    async fn desired_now(&self, machine: &Machine, authority: &str) -> Result<DesiredState, AppError> {
        // The machine may have left the lobby while it waited.
        let machine = self.database.machine(machine.id).await?.ok_or_else(|| AppError::not_found("machine"))?;
        let issued = self.database.issued(machine.id).await?.ok_or_else(|| AppError::not_found("machine"))?;
        let in_service = require_active(&machine).is_ok();
        let vault = match in_service && !machine.recorded_in_vault {
            true => {
                let place = self.place_of(&machine).await?;
                Some(self.vault_grant(place.customer.id, &machine, authority).await?)
            }
            false => None,
        };
        Ok(DesiredState {
            version: issued.version,
            state: machine.state,
            vault,
            plans: if in_service { issued.plans } else { Vec::new() },
            commands: if machine.state == MachineState::Lobby { Vec::new() } else { issued.commands },
            settings: settings(&machine),
            exclusions: None,
        })
    }
}

fn settings(machine: &Machine) -> MachineSettings {
    let end_user = if machine.class.always_on() { EndUserRights::read_only() } else { EndUserRights::default() };
    MachineSettings { class: Some(machine.class), end_user, ..MachineSettings::default() }
}
