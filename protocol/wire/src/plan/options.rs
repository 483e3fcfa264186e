//! How a run of a plan behaves. Names stay close to what imported plans call them.

use serde::{Deserialize, Serialize};

/// Options of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanOptions {
    /// Volume snapshots.
    pub vss: VssPolicy,
    /// Compression before sealing.
    pub compression: Compression,
    /// Share of the processor and disk.
    pub priority: Priority,
    /// Upload limit; none means no limit.
    pub upload_bytes_per_second_max: Option<u64>,
    /// Keeps the machine awake while a run is going on.
    pub prevent_sleep: bool,
    /// On battery.
    pub battery: BatteryRule,
    /// On metered networks.
    pub network: NetworkRule,
    /// Within a run: a failed request is tried again.
    pub reattempts: Retries,
    /// After a failed run: the whole run is tried again.
    pub task_failure: Retries,
    /// Alerts after so many days without a backup, beside the thresholds of the class; none means off.
    pub no_backup_alert_days: Option<u32>,
    /// Entries in the Windows event log.
    pub windows_event_log: EventLog,
    /// Runs before, by its name in the machine's own list of allowed commands.
    pub pre_command: Option<String>,
    /// Runs after, likewise.
    pub post_command: Option<String>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            vss: VssPolicy::Preferred,
            compression: Compression::Normal,
            priority: Priority::Low,
            upload_bytes_per_second_max: None,
            prevent_sleep: true,
            battery: BatteryRule::default(),
            network: NetworkRule::default(),
            reattempts: Retries { enabled: true, tries: 30, interval_seconds: 30 },
            task_failure: Retries { enabled: false, tries: 1, interval_seconds: 3600 },
            no_backup_alert_days: None,
            windows_event_log: EventLog { enabled: false, level: EventLogLevel::ErrorsAndWarnings },
            pre_command: None,
            post_command: None,
        }
    }
}

/// Volume snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VssPolicy {
    /// Used where they work; else files are read live, which is a finding.
    Preferred,
    /// Without one the run fails.
    Required,
    /// Files are read live.
    Off,
}

/// Compression before sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As it comes.
    None,
    /// Good and fast.
    Normal,
    /// Smaller and slower.
    High,
}

/// Share of the processor and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Behind whatever else runs.
    Low,
    /// Like any program.
    Normal,
}

/// On battery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatteryRule {
    /// Whether a run may start on battery at all.
    pub run: bool,
    /// Below this charge in percent no run starts.
    pub charge_percent_min: u8,
}

impl Default for BatteryRule {
    fn default() -> Self {
        Self { run: true, charge_percent_min: 30 }
    }
}

/// On metered networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRule {
    /// Whether a run may start on a metered network.
    pub on_metered: bool,
    /// Whether a run may start over a VPN.
    pub on_vpn: bool,
}

impl Default for NetworkRule {
    fn default() -> Self {
        Self { on_metered: false, on_vpn: true }
    }
}

/// Trying again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Whether at all.
    pub enabled: bool,
    /// How often.
    pub tries: u32,
    /// Seconds between two tries.
    pub interval_seconds: u32,
}

/// Entries in the Windows event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    /// Whether at all.
    pub enabled: bool,
    /// Which.
    pub level: EventLogLevel,
}

/// Which entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventLogLevel {
    /// Failed runs.
    Errors,
    /// Failed runs and those with warnings.
    ErrorsAndWarnings,
    /// Every run.
    All,
}
