//! Windows: the connection cost that the network list manager knows.
#![expect(unsafe_code, reason = "windows-sys has no COM interfaces, so the one that is needed stands here")]

use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;

use windows_sys::Win32::System::Com::{
    CLSCTX_ALL, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows_sys::core::{GUID, HRESULT};

use super::Connection;

/// NetworkListManager and INetworkCostManager of netlistmgr.h.
static MANAGER: GUID = GUID::from_u128(0xdcb00c01_570f_4a9b_8d69_199fdba5723b);
static COST_MANAGER: GUID = GUID::from_u128(0xdcb00008_570f_4a9b_8d69_199fdba5723b);

/// NLM_CONNECTION_COST.
const UNRESTRICTED: u32 = 0x1;
const FIXED: u32 = 0x2;
const VARIABLE: u32 = 0x4;
const OVER_DATA_LIMIT: u32 = 0x1_0000;
const ROAMING: u32 = 0x4_0000;

/// The interface up to the call that is used; the ones behind it do not matter.
#[repr(C)]
struct CostManagerTable {
    query_interface: usize,
    add_ref: usize,
    release: unsafe extern "system" fn(*mut c_void) -> u32,
    get_cost: unsafe extern "system" fn(*mut c_void, *mut u32, *const c_void) -> HRESULT,
}

pub(super) fn connection() -> io::Result<Connection> {
    let cost = cost()?;
    let paid = cost & (FIXED | VARIABLE | OVER_DATA_LIMIT | ROAMING) != 0;
    let known = paid || cost & UNRESTRICTED != 0;
    Ok(Connection { metered: known.then_some(paid), vpn: None })
}

fn cost() -> io::Result<u32> {
    // SAFETY: every successful CoInitializeEx has its CoUninitialize; the interface is released before it, and its first
    // field is the table of its calls by the rules of COM.
    unsafe {
        let initialized = CoInitializeEx(std::ptr::null(), COINIT_MULTITHREADED as u32);
        let mut manager: *mut c_void = null_mut();
        let made =
            CoCreateInstance(&raw const MANAGER, null_mut(), CLSCTX_ALL, &raw const COST_MANAGER, &raw mut manager);
        let asked = check(made).and_then(|()| {
            let table = *manager.cast::<*const CostManagerTable>();
            let mut cost = 0;
            let asked = ((*table).get_cost)(manager, &raw mut cost, std::ptr::null());
            ((*table).release)(manager);
            check(asked).map(|()| cost)
        });
        if initialized >= 0 {
            CoUninitialize();
        }
        asked
    }
}

fn check(result: HRESULT) -> io::Result<()> {
    if result >= 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cost_is_told_or_an_error_is() {
        // What the machine says differs; that the call is made by the rules does not.
        let _ = super::connection();
    }
}
