//! Every message that crosses a process boundary: agent and host, agent and its local clients.
//!
//! Invariant: nothing here does I/O or asks a clock. A message read by an older build ignores the fields it does not
//! know; an older build reads unknown variants of open enums as `Unknown` and says so instead of guessing.

pub mod bytes;
pub mod control;
pub mod desired;
pub mod enrol;
pub mod exclusions;
pub mod gateway;
pub mod id;
pub mod machine;
pub mod plan;
pub mod problem;
pub mod progress;
pub mod report;
pub mod signing;
pub mod status;
pub mod token;

pub use id::{
    ClientId, CommandId, CustomerId, IncarnationId, JobId, LocationId, MachineId, PartnerId, PlanId, RecoveryPointId,
    TicketId, UnitId, VaultId,
};

/// Version of the messages between agent and host. A host serves agents of the two minor releases before its own.
pub const PROTOCOL_VERSION: u32 = 1;

/// Path under which the host serves agents.
pub const AGENT_API_BASE: &str = "/api/agent/v1";

/// Seconds a long poll for the desired state waits unless the host says otherwise: below the minute at which proxies
/// drop a silent connection.
pub const POLL_WAIT_SECONDS: u32 = 55;
