//! A plan: what is backed up, when, where to, how long it is kept, and how a run behaves.
//!
//! Invariant: a plan that passes [`Plan::validate`] can be run, scheduled and explained without further checks of form.

mod defaults;
mod items;
mod options;
mod retention;
mod schedule;
mod validate;

use serde::{Deserialize, Serialize};

pub use items::{Items, PolicyRule, Selection};
pub use options::{
    BatteryRule, CommandFailure, Compression, EventLog, EventLogLevel, LimitWindow, NetworkRule, PlanOptions, Priority,
    Retries, VssPolicy,
};
pub use retention::{Retention, WeeklyAnchor};
pub use schedule::{CatchUp, Schedule, ZoneChoice};
pub use validate::{PlanError, PlanProblem};

use crate::id::PlanId;

/// Version of the plan schema that this build writes.
pub const PLAN_SCHEMA: u32 = 1;

/// A set of rules that say how the given data is protected on a given machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of the schema; a newer one is refused by [`Plan::validate`] with the advice to update.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The plan's id.
    pub id: PlanId,
    /// Its name in console and backup monitor.
    pub name: String,
    /// What is backed up.
    pub items: Items,
    /// When.
    pub schedule: Schedule,
    /// How long recovery points are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Where to.
    #[serde(default)]
    pub location: Location,
    /// Who can open it. Data is always encrypted.
    #[serde(default)]
    pub encryption: Encryption,
    /// How a run behaves.
    #[serde(default)]
    pub options: PlanOptions,
}

fn schema() -> u32 {
    PLAN_SCHEMA
}

impl Plan {
    /// Reads the TOML form and validates it.
    pub fn from_toml(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|source| PlanError::Toml(Box::new(source)))?;
        plan.validate()?;
        Ok(plan)
    }

    /// Reads the JSON form and validates it.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text).map_err(PlanError::Json)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The TOML form, for people.
    pub fn to_toml(&self) -> Result<String, PlanError> {
        toml::to_string(self).map_err(|source| PlanError::Write(Box::new(source)))
    }

    /// Whether it may be imported for all clients: only a plan that selects by rules means the same everywhere.
    pub fn is_importable(&self) -> bool {
        match self.items.selection {
            Selection::EntireMachine | Selection::PolicyRules { .. } => true,
            Selection::Paths { .. } | Selection::Unknown => false,
        }
    }
}

/// Where recovery points go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Location {
    /// The customer's vault, wherever the host keeps it.
    #[default]
    CloudStorage,
    /// A vault at a location of its own.
    Vault {
        /// `file://`, `s3://`, `az://`, `gs://` or `nightkeep+https://`.
        url: String,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// Who can open the recovery points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Encryption {
    /// The vault's own keys: the host can open it.
    #[default]
    Managed,
    /// A private domain behind a password that the host never stores.
    Password {
        /// Name of the domain in the customer's vault.
        domain: String,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}
