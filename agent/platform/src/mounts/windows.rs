//! Windows: the volumes that have drive letters.
#![expect(unsafe_code, reason = "the standard library lists no volumes")]

use std::io;
use std::ptr::null_mut;

use windows_sys::Win32::Storage::FileSystem::{GetDriveTypeW, GetLogicalDrives, GetVolumeInformationW};
use windows_sys::Win32::System::WindowsProgramming::{DRIVE_FIXED, DRIVE_REMOTE, DRIVE_REMOVABLE};

use super::{Mount, MountClass};
use crate::nt::{self, wide};

const LETTERS: u32 = 26;
/// MAX_PATH and its end.
const NAME_UNITS: usize = 261;

pub(super) fn read() -> io::Result<Vec<Mount>> {
    // SAFETY: nothing goes in and a number comes out.
    let drives = unsafe { GetLogicalDrives() };
    if drives == 0 {
        return Err(io::Error::last_os_error());
    }
    let letters = (0..LETTERS).filter(|letter| drives >> letter & 1 == 1);
    // A drive without a medium is no volume.
    Ok(letters.filter_map(|letter| volume(char::from(b'A' + letter as u8), letter.into()).ok()).collect())
}

fn volume(letter: char, id: u64) -> io::Result<Mount> {
    let root = wide(&format!("{letter}:\\"));
    // SAFETY: the text ends with a zero.
    let class = match unsafe { GetDriveTypeW(root.as_ptr()) } {
        DRIVE_FIXED | DRIVE_REMOVABLE => MountClass::Local,
        DRIVE_REMOTE => MountClass::Network,
        // A disc that cannot be written, a disk in memory, or nothing.
        _ => MountClass::Pseudo,
    };
    let (mut label, mut filesystem, mut serial) = ([0u16; NAME_UNITS], [0u16; NAME_UNITS], 0);
    // SAFETY: the text ends with a zero, and the buffers are as long as said.
    nt::check_bool(unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            label.as_mut_ptr(),
            NAME_UNITS as u32,
            &raw mut serial,
            null_mut(),
            null_mut(),
            filesystem.as_mut_ptr(),
            NAME_UNITS as u32,
        )
    })?;
    Ok(Mount {
        id,
        root: b"/".to_vec(),
        mount_point: format!("{letter}:/").into_bytes(),
        device: serial.into(),
        filesystem: text(&filesystem),
        source: text(&label),
        class,
    })
}

fn text(units: &[u16]) -> String {
    String::from_utf16_lossy(units.split(|unit| *unit == 0).next().unwrap_or_default())
}
