//! How a run of a plan behaves. Names stay close to what imported plans call them.

use chrono::{NaiveTime, Weekday};
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
    /// Bytes per second put to the vault; none means no limit.
    pub upload_bytes_per_second_max: Option<u64>,
    /// Bytes per second read from the vault; none means no limit.
    pub download_bytes_per_second_max: Option<u64>,
    /// Share of all the machine's processors, 1 to 100 percent; none means no limit.
    pub cpu_percent_max: Option<u8>,
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
    /// What a pre command that fails means.
    pub pre_command_failure: CommandFailure,
    /// Other limits at certain hours; the first window that holds replaces all three limits.
    pub limit_windows: Vec<LimitWindow>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            vss: VssPolicy::Preferred,
            compression: Compression::Normal,
            priority: Priority::Low,
            upload_bytes_per_second_max: None,
            download_bytes_per_second_max: None,
            cpu_percent_max: None,
            prevent_sleep: true,
            battery: BatteryRule::default(),
            network: NetworkRule::default(),
            reattempts: Retries { enabled: true, tries: 30, interval_seconds: 30 },
            task_failure: Retries { enabled: false, tries: 1, interval_seconds: 3600 },
            no_backup_alert_days: None,
            windows_event_log: EventLog { enabled: false, level: EventLogLevel::ErrorsAndWarnings },
            pre_command: None,
            post_command: None,
            pre_command_failure: CommandFailure::Fail,
            limit_windows: Vec::new(),
        }
    }
}

/// Volume snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VssPolicy {
    /// "When available": used where they work; else files are read live, which is a finding.
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
    /// Below this charge in percent a run that the schedule brought is interrupted; 0 lets it go on to the end. One above
    /// `charge_percent_min` counts as that.
    pub charge_percent_stop: u8,
}

impl Default for BatteryRule {
    fn default() -> Self {
        Self { run: true, charge_percent_min: 30, charge_percent_stop: 15 }
    }
}

/// On metered networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRule {
    /// Whether a run may start on a metered network.
    pub on_metered: bool,
    /// Where it may not: whether a run that the schedule brought is interrupted when the network becomes metered.
    pub stop_on_metered: bool,
    /// Whether a run may start over a VPN.
    pub on_vpn: bool,
}

impl Default for NetworkRule {
    fn default() -> Self {
        Self { on_metered: false, stop_on_metered: true, on_vpn: true }
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

/// What a pre command that fails means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandFailure {
    /// The run fails; nothing is backed up.
    Fail,
    /// The run goes on and ends with a warning.
    Warn,
}

/// Limits that hold between two times of day, in the zone of the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitWindow {
    /// Days on which it begins; none means every day.
    #[serde(default)]
    pub weekdays: Vec<Weekday>,
    /// Its begin.
    pub from: NaiveTime,
    /// Its end, not included; not after its begin, it lies on the next day.
    pub until: NaiveTime,
    /// Bytes per second put to the vault; none means no limit.
    #[serde(default)]
    pub upload_bytes_per_second_max: Option<u64>,
    /// Bytes per second read from the vault; none means no limit.
    #[serde(default)]
    pub download_bytes_per_second_max: Option<u64>,
    /// Share of all the machine's processors, 1 to 100 percent; none means no limit.
    #[serde(default)]
    pub cpu_percent_max: Option<u8>,
}
