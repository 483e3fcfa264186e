//! What the machine runs on: schedules may wait for mains power, and spare a battery that is nearly empty.

#[cfg_attr(target_os = "linux", path = "power/linux.rs")]
#[cfg_attr(target_os = "macos", path = "power/macos.rs")]
#[cfg_attr(target_os = "windows", path = "power/windows.rs")]
mod system;

/// What the machine runs on; nothing where it has no battery or does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supply {
    /// Whether it runs on its battery.
    pub on_battery: Option<bool>,
    /// How full its batteries are, 0 to 100 percent.
    pub charge_percent: Option<u8>,
}

/// What the machine runs on now.
pub fn supply() -> Supply {
    system::supply()
}
