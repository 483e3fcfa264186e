//! What a machine says about itself, and what the host holds it for.
//!
//! Invariant: facts are observations. Class and state are decisions of the host and travel in the desired state.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A machine's description, sent at enrolment and whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Name of the computer as its owner knows it.
    pub hostname: String,
    /// Operating system.
    pub os: OsFacts,
    /// Processor architecture, as Rust names it: `x86_64`, `aarch64`.
    pub arch: String,
    /// What the machine takes itself for; the host may decide otherwise.
    pub class: MachineClass,
    /// Digest of board, disk and firmware identifiers: the same after a new installation, another on other hardware.
    pub hardware_fingerprint: String,
    /// Version of nightkeep-agent.
    pub agent_version: String,
    /// IANA name of the machine's zone, such as `Europe/Berlin`.
    pub zone: String,
    /// Changes with every start of the operating system.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// When the operating system started.
    #[serde(default)]
    pub booted_at: Option<DateTime<Utc>>,
    /// A hypervisor was detected.
    #[serde(default)]
    pub virtual_machine: bool,
    /// Bytes in use on all local volumes: how much "entire machine" is.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// What this agent can do beyond the base, by name; a host asks for nothing that is not listed.
    #[serde(default)]
    pub abilities: Vec<String>,
}

/// Operating system of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsFacts {
    /// Family; decides paths and exclusions.
    pub family: OsFamily,
    /// Product name: `Windows Server 2022 Standard`, `Debian GNU/Linux`.
    pub name: String,
    /// Version or build.
    pub version: String,
}

/// Family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OsFamily {
    /// Linux of any distribution.
    Linux,
    /// Apple's desktop system.
    Macos,
    /// Windows, desktop and server.
    Windows,
}

/// Class of a machine: decides quotas, thresholds and ticket priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineClass {
    /// By the edition of its operating system.
    Server,
    /// Anything a person sits at.
    Workstation,
    /// A hypervisor was detected and the customer has a quota of virtual machines.
    Vm,
    /// Kept as a quota; there is no agent behind it.
    Mobile,
}

impl MachineClass {
    /// Every class, in the order of the quota page.
    pub const ALL: [Self; 4] = [Self::Server, Self::Vm, Self::Workstation, Self::Mobile];

    /// Whether it is meant to run day and night: such a machine is judged by the clock, others by their online time.
    pub const fn always_on(self) -> bool {
        match self {
            Self::Server | Self::Vm => true,
            Self::Workstation | Self::Mobile => false,
        }
    }
}

/// Where a machine stands in its life on the host.
///
/// ```text
/// lobby -> active -> retired -> active (brought back)
///            |---> replaced (its history goes on under the new hardware)
///            '---> moved    (its history stays with the old customer's vault)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Unknown or cloned: reads nothing and writes nothing until someone approves it.
    Lobby,
    /// In service.
    Active,
    /// Out of service: points are kept until the shown date, statuses stop.
    Retired,
    /// Another machine took over its history.
    Replaced,
    /// Belongs to another customer now.
    Moved,
}

impl MachineState {
    /// Whether the machine is counted in the dashboard and may open tickets.
    pub const fn is_counted(self) -> bool {
        match self {
            Self::Active => true,
            Self::Lobby | Self::Retired | Self::Replaced | Self::Moved => false,
        }
    }
}
