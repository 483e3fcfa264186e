//! The host's memory: tenants, machines, plans, reports, vaults, accounts. SQLite by default, PostgreSQL when one host
//! is not enough; the same code and the same tests.
//!
//! Invariant: every change that belongs together happens in one transaction, and whoever asks says whose thing they
//! mean: ids are typed, and what belongs to a machine is asked for with the machine's id.

mod accounts;
mod audit;
mod convert;
mod database;
mod desired;
mod enrolment;
mod entity;
mod error;
mod jobs;
mod list;
mod machines;
mod migration;
mod plans;
mod reports;
mod status;
mod storage;
mod tenants;
mod vaults;

pub use accounts::{NewSession, Role, Session, SessionKind, User};
pub use audit::AuditEntry;
pub use database::{Database, default_url};
pub use desired::{Issued, NewCommand};
pub use enrolment::{EnrolError, Enrolled, NewMachine, NewToken, Token, TokenProblem};
pub use error::DatabaseError;
pub use jobs::{JobRecord, PlanStatement};
pub use list::{Cursor, CursorKey, ListFilter, ListPage, ListSort, MachineRow, SortKey};
pub use machines::Machine;
pub use plans::{Application, ApplicationCause, PlanRecord};
pub use reports::{IncomingReport, ReportOutcome, ReportStop};
pub use status::{BucketCount, StatusRecord};
pub use storage::{GrantRecord, NewGrant, Reservation};
pub use tenants::{Client, Customer, Location, Place, TenantKind};
pub use vaults::VaultRecord;
