//! Windows: a list of its own, which hands nothing down from above: the system, administrators and the owner.
//!
//! A rename within a volume is one entry of its journal: before or after, never half.
#![expect(unsafe_code, reason = "the standard library creates nothing with a list of its own")]

use std::fs::File;
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_ATTRIBUTE_NORMAL};

use crate::nt::{self, Rules, wide_path};

/// All rights to the system, to administrators and to the owner, and to nobody by inheritance.
const FILE_RULES: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)";
/// The same, handed down to what is made within.
const DIR_RULES: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    let (path, rules) = (wide_path(path), Rules::of(FILE_RULES)?);
    // SAFETY: the path ends with a zero, and the rules live until the call returns. A handle that comes back is new.
    unsafe {
        let attributes = rules.attributes();
        let (access, kind) = (GENERIC_WRITE, FILE_ATTRIBUTE_NORMAL);
        let handle = CreateFileW(path.as_ptr(), access, 0, &raw const attributes, CREATE_NEW, kind, null_mut());
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from(OwnedHandle::from_raw_handle(handle)))
    }
}

pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_private_dir(parent)?;
    }
    let (wide, rules) = (wide_path(path), Rules::of(DIR_RULES)?);
    // SAFETY: the path ends with a zero, and the rules live until the call returns.
    let created = nt::check_bool(unsafe {
        let attributes = rules.attributes();
        CreateDirectoryW(wide.as_ptr(), &raw const attributes)
    });
    match created {
        Err(error) if error.raw_os_error() == Some(ERROR_ALREADY_EXISTS as i32) && path.is_dir() => Ok(()),
        other => other,
    }
}

pub(super) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
