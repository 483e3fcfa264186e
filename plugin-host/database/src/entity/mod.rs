//! Tables as SeaORM sees them: one file per table, columns as in the migrations.
//!
//! Invariant: nothing here leaves this crate; records with typed ids do.
#![allow(unreachable_pub, reason = "the derive macros need `pub` inside a module that is private to the crate")]

pub(crate) mod audit_log;
pub(crate) mod clients;
pub(crate) mod commands;
pub(crate) mod customers;
pub(crate) mod enrolment_tokens;
pub(crate) mod job_progress;
pub(crate) mod jobs;
pub(crate) mod locations;
pub(crate) mod machine_online;
pub(crate) mod machine_status;
pub(crate) mod machines;
pub(crate) mod missed_backups;
pub(crate) mod plan_applications;
pub(crate) mod plan_states;
pub(crate) mod plans;
pub(crate) mod reports;
pub(crate) mod sessions;
pub(crate) mod storage_grants;
pub(crate) mod users;
pub(crate) mod vaults;
