//! macOS: what provides power, by IOKit (IOPowerSources.h).
#![expect(unsafe_code, reason = "the standard library knows nothing of power")]

use std::ffi::c_void;
use std::ptr::NonNull;

use objc2_core_foundation::{CFRetained, CFString, CFType};

#[link(name = "IOKit", kind = "framework")]
unsafe extern "C" {
    fn IOPSCopyPowerSourcesInfo() -> *mut c_void;
    fn IOPSGetProvidingPowerSourceType(snapshot: *const c_void) -> *const c_void;
}

use super::Supply;

pub(super) fn supply() -> Supply {
    Supply { on_battery: on_battery(), charge_percent: None }
}

fn on_battery() -> Option<bool> {
    // SAFETY: what is copied is ours to give back, which its owner does; what is got lives as long as that.
    let source = unsafe {
        let snapshot = NonNull::new(IOPSCopyPowerSourcesInfo())?;
        let snapshot: CFRetained<CFType> = CFRetained::from_raw(snapshot.cast());
        let source = IOPSGetProvidingPowerSourceType((&raw const *snapshot).cast());
        NonNull::new(source.cast_mut())?.cast::<CFString>().as_ref().to_string()
    };
    match source.as_str() {
        // A power supply with a battery of its own is told of as well, and is as finite.
        "Battery Power" | "UPS Power" => Some(true),
        "AC Power" => Some(false),
        _ => None,
    }
}
