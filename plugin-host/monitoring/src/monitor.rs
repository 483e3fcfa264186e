//! The eight internal monitors (item 84) and the severities of their alerts.

use serde::{Deserialize, Serialize};

/// How bad an alert is. Critical and error together are "error severity" on the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Shall be looked at some day.
    Warning,
    /// A backup is not as it should be.
    Error,
    /// Data may be lost if nobody acts.
    Critical,
}

impl Severity {
    /// The word shown to people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// An internal monitor. "Clients" are alerts not bound to one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Severity critical, not bound to one machine.
    ClientsCritical,
    /// Severity error, not bound to one machine.
    ClientsNonCritical,
    /// Severity warning, not bound to one machine.
    ClientsWarnings,
    /// Severity critical, of one machine.
    MachinesCritical,
    /// Severity error, of one machine.
    MachinesNonCritical,
    /// Severity warning, of one machine.
    MachinesWarnings,
    /// Occurrences that nobody served.
    MachinesMissed,
    /// Machines with a plan and nothing that protects them.
    MachinesNotProtected,
}

impl Monitor {
    /// All eight, in the order of the monitors page.
    pub const ALL: [Self; 8] = [
        Self::ClientsCritical,
        Self::ClientsNonCritical,
        Self::ClientsWarnings,
        Self::MachinesCritical,
        Self::MachinesNonCritical,
        Self::MachinesWarnings,
        Self::MachinesMissed,
        Self::MachinesNotProtected,
    ];

    /// The exact name that technicians look for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientsCritical => "Nightkeep Backup - Clients - Critical Issues",
            Self::ClientsNonCritical => "Nightkeep Backup - Clients - Non Critical Issues",
            Self::ClientsWarnings => "Nightkeep Backup - Clients - Warnings",
            Self::MachinesCritical => "Nightkeep Backup - Machines - Critical Issues",
            Self::MachinesNonCritical => "Nightkeep Backup - Machines - Non Critical Issues",
            Self::MachinesWarnings => "Nightkeep Backup - Machines - Warnings",
            Self::MachinesMissed => "Nightkeep Backup - Machines - Missed Backups",
            Self::MachinesNotProtected => "Nightkeep Backup - Machines - Not protected",
        }
    }

    /// The monitor of alerts that are not bound to one machine.
    pub const fn of_clients(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::ClientsCritical,
            Severity::Error => Self::ClientsNonCritical,
            Severity::Warning => Self::ClientsWarnings,
        }
    }

    /// The monitor of results of one machine.
    pub const fn of_machines(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::MachinesCritical,
            Severity::Error => Self::MachinesNonCritical,
            Severity::Warning => Self::MachinesWarnings,
        }
    }
}
