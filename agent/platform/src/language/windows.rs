//! Windows: the language of the user's menus and dialogs.
#![expect(unsafe_code, reason = "the standard library knows no languages")]

use windows_sys::Win32::Globalization::{GetLocaleInfoW, GetUserDefaultUILanguage, LOCALE_SISO639LANGNAME};

/// Three letters at most, and the end.
const UNITS: usize = 9;

pub(super) fn of_user() -> Option<String> {
    let mut name = [0u16; UNITS];
    // SAFETY: the buffer is as long as said.
    let length = unsafe {
        let language = u32::from(GetUserDefaultUILanguage());
        GetLocaleInfoW(language, LOCALE_SISO639LANGNAME, name.as_mut_ptr(), UNITS as i32)
    };
    let text = name.get(..usize::try_from(length).ok()?.checked_sub(1)?)?;
    Some(String::from_utf16_lossy(text).to_ascii_lowercase())
}
