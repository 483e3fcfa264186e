//! Whether the machine runs on its battery: schedules may wait for mains power.

#[cfg_attr(target_os = "linux", path = "power/linux.rs")]
#[cfg_attr(target_os = "macos", path = "power/macos.rs")]
#[cfg_attr(target_os = "windows", path = "power/windows.rs")]
mod system;

/// Whether the machine runs on battery; nothing where it has none or does not tell.
pub fn on_battery() -> Option<bool> {
    system::on_battery()
}
