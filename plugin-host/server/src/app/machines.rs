//! Machines as users see them.
//!
//! Invariant: a user bound to a customer finds that customer's machines and no trace of others.

use nightkeep_database::{Machine, Place, User};
use nightkeep_wire::MachineId;
use nightkeep_wire::machine::MachineState;
use nightkeep_wire::problem::ProblemCode;

use super::{App, AppError};

impl App {
    /// A machine that the user may know.
    pub(crate) async fn machine_for(&self, user: &User, id: MachineId) -> Result<(Machine, Place), AppError> {
        let missing = || AppError::not_found("machine");
        let machine = self.database.machine(id).await?.ok_or_else(missing)?;
        let place = self.place_of(&machine).await?;
        match user.customer {
            Some(own) if own != place.customer.id => Err(missing()),
            Some(_) | None => Ok((machine, place)),
        }
    }

    /// Lets a machine out of the lobby.
    pub(crate) async fn approve(&self, machine: &Machine, by: &str) -> Result<(), AppError> {
        if machine.state != MachineState::Lobby {
            let detail = format!("{} does not wait for approval", machine.facts.hostname);
            return Err(AppError::new(ProblemCode::Conflict, detail));
        }
        self.database.set_machine_state(machine.id, MachineState::Active).await?;
        self.audit(by, "approve", machine.id, machine.facts.hostname.clone()).await?;
        if let Some(machine) = self.database.machine(machine.id).await? {
            self.refresh(&machine).await?;
        }
        self.hub.wake(machine.id);
        Ok(())
    }
}
