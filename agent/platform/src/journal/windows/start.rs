//! Tells one start of the system from another: a key of the registry that lives in memory alone, with a random text.
//!
//! Not the system's own count of starts: that rises too when a system wakes from its "fast startup", over which services keep
//! their files open.
#![expect(unsafe_code, reason = "the standard library knows no registry")]

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_SET_VALUE, REG_OPTION_VOLATILE, REG_SZ, RRF_RT_REG_SZ, RegCloseKey,
    RegCreateKeyExW, RegGetValueW, RegSetValueExW,
};

use crate::nt::{check_code, wide};

const KEY: &str = "SOFTWARE\\Nightkeep\\ThisStart";
const VALUE: &str = "Id";
/// 32 digits and the end.
const TEXT_UNITS: usize = 33;

struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it afterwards.
        unsafe { RegCloseKey(self.0) };
    }
}

/// The text of this start of the system; made if need be.
pub(super) fn this_start() -> io::Result<String> {
    let (name, mut key) = (wide(KEY), null_mut());
    // SAFETY: the text ends with a zero, and the pointers are to values that live until the call returns.
    check_code(unsafe {
        let (access, place) = (KEY_QUERY_VALUE | KEY_SET_VALUE, &raw mut key);
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            name.as_ptr(),
            0,
            null(),
            REG_OPTION_VOLATILE,
            access,
            null(),
            place,
            null_mut(),
        )
    })?;
    let key = Key(key);
    if let Some(text) = read(&key) {
        return Ok(text);
    }
    // The standard library's keys are random.
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let (value, text) = (wide(VALUE), wide(&format!("{:016x}{:016x}", random(), random())));
    // SAFETY: the texts end with a zero, and the second is as long as said.
    check_code(unsafe {
        RegSetValueExW(key.0, value.as_ptr(), 0, REG_SZ, text.as_ptr().cast(), size_of_val(text.as_slice()) as u32)
    })?;
    read(&key).ok_or_else(|| io::Error::other("the registry does not keep what was written to it"))
}

fn read(key: &Key) -> Option<String> {
    let (value, mut text) = (wide(VALUE), [0_u16; TEXT_UNITS]);
    let mut bytes = size_of_val(&text) as u32;
    // SAFETY: the text ends with a zero, and the buffer is as long as said.
    check_code(unsafe {
        let (kind, buffer) = (RRF_RT_REG_SZ, text.as_mut_ptr().cast());
        RegGetValueW(key.0, null(), value.as_ptr(), kind, null_mut(), buffer, &raw mut bytes)
    })
    .ok()?;
    let text = String::from_utf16_lossy(text.split(|unit| *unit == 0).next()?);
    (text.len() == TEXT_UNITS - 1).then_some(text)
}
