//! Windows: below `ProgramData`, where the system says that it is: a caller's own environment may say otherwise.
#![expect(unsafe_code, reason = "the standard library knows none of the system's folders")]

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr::null_mut;

use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::UI::Shell::{FOLDERID_ProgramData, KF_FLAG_DEFAULT, SHGetKnownFolderPath};

use super::Paths;

pub(super) fn standard() -> Paths {
    let base = program_data().unwrap_or_else(|| PathBuf::from(r"C:\ProgramData")).join("Nightkeep");
    Paths {
        state: base.join("State"),
        identity: base.join("Identity"),
        config: base.clone(),
        log: base.join("Logs"),
        run: base.join("State").join("run"),
    }
}

/// The same for everybody: who is no administrator may speak with the service, and has no service of its own.
pub(super) fn of_service() -> Paths {
    standard()
}

fn program_data() -> Option<PathBuf> {
    let (folder, mut path) = (FOLDERID_ProgramData, null_mut());
    // SAFETY: the pointers live until the call returns; the text ends with a zero and is freed by whom it was given to,
    // also when the call failed.
    unsafe {
        let code = SHGetKnownFolderPath(&raw const folder, KF_FLAG_DEFAULT as u32, null_mut(), &raw mut path);
        let text = (code == 0 && !path.is_null()).then(|| {
            let length = (0..).take_while(|at| *path.add(*at) != 0).count();
            OsString::from_wide(std::slice::from_raw_parts(path, length))
        });
        CoTaskMemFree(path.cast());
        text.map(PathBuf::from).filter(|path| path.is_absolute())
    }
}
