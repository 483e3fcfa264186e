//! Windows: the Application log, and the registry's entry that leads from a source to its table of texts.
#![expect(unsafe_code, reason = "the standard library knows no event log")]

use std::io;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, FreeLibrary};
use windows_sys::Win32::System::Diagnostics::Debug::{
    FORMAT_MESSAGE_ARGUMENT_ARRAY, FORMAT_MESSAGE_FROM_HMODULE, FormatMessageW,
};
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};
use windows_sys::Win32::System::LibraryLoader::{LOAD_LIBRARY_AS_DATAFILE, LoadLibraryExW};
use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, REG_DWORD, REG_EXPAND_SZ, RRF_RT_REG_SZ, RegDeleteKeyW, RegGetValueW, RegSetKeyValueW,
};

use super::{Event, Kind};
use crate::nt::{check_bool, check_code, wide, wide_path};

const SOURCES: &str = "SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application";
const MESSAGE_FILE: &str = "EventMessageFile";
const TYPES: &str = "TypesSupported";
/// The system takes 31,839 characters.
const TEXT_CHARS_MAX: usize = 8_000;
/// Room for a path, and for a text with what stands before it.
const UNITS_MAX: usize = 32 * 1024;

pub(super) fn tell(source: &str, event: Event, text: &str) -> io::Result<()> {
    let (source, text) = (wide(source), wide(&insert(text)));
    let texts = [text.as_ptr()];
    let kind = match event.kind() {
        Kind::Information => EVENTLOG_INFORMATION_TYPE,
        Kind::Warning => EVENTLOG_WARNING_TYPE,
        Kind::Error => EVENTLOG_ERROR_TYPE,
    };
    // SAFETY: both texts end with a zero and live until the calls return; the log is closed by whom it was opened.
    unsafe {
        let log = RegisterEventSourceW(null(), source.as_ptr());
        if log.is_null() {
            return Err(io::Error::last_os_error());
        }
        let told = check_bool(ReportEventW(log, kind, 0, event.id(), null_mut(), 1, 0, texts.as_ptr(), null()));
        DeregisterEventSource(log);
        told
    }
}

pub(super) fn register(source: &str, program: &Path) -> io::Result<()> {
    let all = EVENTLOG_INFORMATION_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_ERROR_TYPE;
    let path: Vec<u8> = wide_path(program).into_iter().flat_map(u16::to_le_bytes).collect();
    set(source, MESSAGE_FILE, REG_EXPAND_SZ, &path)?;
    set(source, TYPES, REG_DWORD, &u32::from(all).to_le_bytes())
}

pub(super) fn unregister(source: &str) -> io::Result<()> {
    let key = key(source);
    // SAFETY: the text ends with a zero.
    match unsafe { RegDeleteKeyW(HKEY_LOCAL_MACHINE, key.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => check_code(code),
    }
}

pub(super) fn shown(source: &str, event: Event, text: &str) -> io::Result<String> {
    let file = wide_path(&message_file(source)?);
    let (text, mut answer) = (wide(&insert(text)), vec![0_u16; UNITS_MAX]);
    let texts = [text.as_ptr()];
    // SAFETY: the texts end with a zero, the buffer is as long as said, and the one insert of the table's texts is there.
    let units = unsafe {
        let module = LoadLibraryExW(file.as_ptr(), null_mut(), LOAD_LIBRARY_AS_DATAFILE);
        if module.is_null() {
            return Err(io::Error::last_os_error());
        }
        let how = FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY;
        let (room, inserts) = (answer.len() as u32, texts.as_ptr().cast());
        let units = FormatMessageW(how, module.cast(), event.id(), 0, answer.as_mut_ptr(), room, inserts);
        let units = if units == 0 { Err(io::Error::last_os_error()) } else { Ok(units) };
        FreeLibrary(module);
        units?
    };
    Ok(String::from_utf16_lossy(&answer[..units as usize]).trim_end().to_owned())
}

fn message_file(source: &str) -> io::Result<PathBuf> {
    let (key, name, mut path) = (key(source), wide(MESSAGE_FILE), vec![0_u16; UNITS_MAX]);
    let mut bytes = size_of_val(path.as_slice()) as u32;
    // SAFETY: the texts end with a zero, and the buffer is as long as said.
    check_code(unsafe {
        // Variables in it are replaced by what they stand for.
        let (kinds, buffer) = (RRF_RT_REG_SZ, path.as_mut_ptr().cast());
        RegGetValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kinds, null_mut(), buffer, &raw mut bytes)
    })?;
    let path = path.split(|unit| *unit == 0).next().unwrap_or_default();
    Ok(std::os::windows::ffi::OsStringExt::from_wide(path)).map(|path: std::ffi::OsString| path.into())
}

fn set(source: &str, name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
    let (key, name) = (key(source), wide(name));
    // SAFETY: the texts end with a zero, and the value is as long as said.
    check_code(unsafe {
        let (value, bytes) = (value.as_ptr().cast(), value.len() as u32);
        RegSetKeyValueW(HKEY_LOCAL_MACHINE, key.as_ptr(), name.as_ptr(), kind, value, bytes)
    })
}

fn key(source: &str) -> Vec<u16> {
    wide(&format!("{SOURCES}\\{source}"))
}

/// A text for the place of `%1`. Two percent signs in it would stand for another text.
fn insert(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect::<String>().replace("%%", "% %").replace('\0', " ")
}
