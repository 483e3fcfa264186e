//! Windows: the system's power status.

use windows_sys::Win32::System::Power::{GetSystemPowerStatus, SYSTEM_POWER_STATUS};

use super::Supply;

/// SYSTEM_POWER_STATUS: there is none to run on.
const NO_BATTERY: u8 = 128;

#[expect(unsafe_code, reason = "the standard library knows nothing of power")]
pub(super) fn supply() -> Supply {
    let mut status = SYSTEM_POWER_STATUS::default();
    // SAFETY: the structure lives until the call returns.
    let is_known = unsafe { GetSystemPowerStatus(&raw mut status) } != 0;
    let on_battery = match (is_known, status.BatteryFlag, status.ACLineStatus) {
        (true, NO_BATTERY, _) => Some(false),
        (true, _, 0) => Some(true),
        (true, _, 1) => Some(false),
        (true | false, _, _) => None,
    };
    // 255 means unknown.
    let has_charge = is_known && status.BatteryFlag != NO_BATTERY && status.BatteryLifePercent <= 100;
    Supply { on_battery, charge_percent: has_charge.then_some(status.BatteryLifePercent) }
}
