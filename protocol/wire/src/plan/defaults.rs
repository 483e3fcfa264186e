//! The plans that ship with the product.

use uuid::Uuid;

use super::{
    CatchUp, Encryption, Items, Location, PLAN_SCHEMA, Plan, PlanOptions, PolicyRule, Retention, Schedule, Selection,
};
use crate::id::PlanId;

impl Plan {
    /// Id of [`Plan::default_plan`]: the same on every host, so that applying it twice is applying it once.
    pub const DEFAULT_ID: PlanId = PlanId::from_uuid(Uuid::from_u128(0x6e69_6768_746b_7000_8000_0000_0000_0001));

    /// Id of [`Plan::server_plan`].
    pub const SERVER_ID: PlanId = PlanId::from_uuid(Uuid::from_u128(0x6e69_6768_746b_7000_8000_0000_0000_0002));

    /// Id of [`Plan::user_profiles_plan`].
    pub const USER_PROFILES_ID: PlanId = PlanId::from_uuid(Uuid::from_u128(0x6e69_6768_746b_7000_8000_0000_0000_0003));

    /// The default plan (item 72): entire machine to cloud storage, Monday to Friday at 23:00; monthly points for six
    /// months, weekly for four weeks, daily for seven days.
    pub fn default_plan() -> Self {
        shipped(Self::DEFAULT_ID, "Entire machine to Cloud Storage", Selection::EntireMachine, "0 0 23 * * Mon-Fri")
    }

    /// For servers, beside the default: entire machine every four hours on every day, with a start window, so
    /// that a late run does not meet the next.
    pub fn server_plan() -> Self {
        let name = "Entire server to Cloud Storage, every 4 hours";
        let mut plan = shipped(Self::SERVER_ID, name, Selection::EntireMachine, "0 0 */4 * * *");
        plan.schedule.start_window_seconds = Some(3 * 3600);
        plan
    }

    /// The default plan of a trial: what people wrote, small enough for a trial's quota.
    pub fn user_profiles_plan() -> Self {
        let selection = Selection::PolicyRules { rules: vec![PolicyRule::UserProfiles] };
        shipped(Self::USER_PROFILES_ID, "User profiles to Cloud Storage", selection, "0 0 23 * * Mon-Fri")
    }
}

fn shipped(id: PlanId, name: &str, selection: Selection, cron: &str) -> Plan {
    Plan {
        schema: PLAN_SCHEMA,
        id,
        name: name.to_owned(),
        items: Items::new(selection),
        schedule: Schedule { catch_up: CatchUp::WhenPossible, ..Schedule::cron(cron) },
        retention: Retention::default(),
        location: Location::CloudStorage,
        encryption: Encryption::Managed,
        options: PlanOptions::default(),
    }
}
