//! Windows: the few system calls by handle that several facades share.
#![expect(unsafe_code, reason = "the standard library opens nothing relative to a directory's handle")]

use std::ffi::c_void;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::Once;

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_OPEN_FOR_BACKUP_INTENT, FILE_SYNCHRONOUS_IO_NONALERT, NTCREATEFILE_CREATE_DISPOSITION,
    NTCREATEFILE_CREATE_OPTIONS, NtCreateFile,
};
use windows_sys::Win32::Foundation::{HANDLE, NTSTATUS, RtlNtStatusToDosError, UNICODE_STRING};
use windows_sys::Win32::Security::{
    AdjustTokenPrivileges, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED, SECURITY_DESCRIPTOR, TOKEN_ADJUST_PRIVILEGES,
    TOKEN_PRIVILEGES,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_NORMAL, FILE_INFO_BY_HANDLE_CLASS, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandleEx, GetFinalPathNameByHandleW, SYNCHRONIZE, SetFileInformationByHandle, VOLUME_NAME_GUID,
};
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

mod rules;
mod sid;

pub(crate) use rules::{Rules, list_of};
pub(crate) use sid::{Sid, is_elevated, owner_of};

/// The longest path there is.
const PATH_UNITS_MAX: usize = 32 * 1024;

/// How to open an entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    /// Rights asked for, besides waiting for what the handle does.
    pub(crate) access: u32,
    /// Open, create, or either.
    pub(crate) disposition: NTCREATEFILE_CREATE_DISPOSITION,
    /// Directory or not, reparse points followed or not.
    pub(crate) options: NTCREATEFILE_CREATE_OPTIONS,
}

/// Opens `name` relative to a directory or file, exactly as it is written: no drive, no `..`, no length limit but the
/// filesystem's own. An empty name opens the same object again; `:name` opens a stream of a file.
pub(crate) fn open_at(dir: BorrowedHandle<'_>, name: &[u16], how: Open) -> io::Result<OwnedHandle> {
    open_or_make(dir, name, how, null())
}

/// The same for an entry that is made, with rules of its own.
pub(crate) fn make_at(dir: BorrowedHandle<'_>, name: &[u16], how: Open, rules: &Rules) -> io::Result<OwnedHandle> {
    open_or_make(dir, name, how, rules.attributes().lpSecurityDescriptor.cast::<SECURITY_DESCRIPTOR>())
}

fn open_or_make(
    dir: BorrowedHandle<'_>,
    name: &[u16],
    how: Open,
    rules: *const SECURITY_DESCRIPTOR,
) -> io::Result<OwnedHandle> {
    let bytes = name.len().checked_mul(2).and_then(|bytes| u16::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "a name of more than 64 KiB"))?;
    let text = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_ptr().cast_mut() };
    let object = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: dir.as_raw_handle(),
        ObjectName: &raw const text,
        Attributes: 0,
        SecurityDescriptor: rules,
        SecurityQualityOfService: null(),
    };
    let (mut handle, mut status): (HANDLE, IO_STATUS_BLOCK) = (null_mut(), IO_STATUS_BLOCK::default());
    // SAFETY: every pointer is to a value that lives until the call returns, and the name is not written to. On success
    // the handle is new and nobody else's.
    unsafe {
        check(NtCreateFile(
            &raw mut handle,
            how.access | SYNCHRONIZE,
            &raw const object,
            &raw mut status,
            null(),
            FILE_ATTRIBUTE_NORMAL,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            how.disposition,
            how.options | FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_FOR_BACKUP_INTENT,
            null(),
            0,
        ))?;
        Ok(OwnedHandle::from_raw_handle(handle))
    }
}

/// Switches on what this account may do for backups: read past access lists, set owners. An account without these rights
/// reads and sets what it may, and the rest is findings.
pub(crate) fn use_privileges() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for name in ["SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege"] {
            // The account may not have it.
            let _ = use_privilege(name);
        }
    });
}

fn use_privilege(name: &str) -> io::Result<()> {
    let (name, mut token, mut wanted) = (wide(name), null_mut(), TOKEN_PRIVILEGES::default());
    // SAFETY: the text ends with a zero; every other pointer is to a value that lives until the calls return, and the
    // token that is opened is closed by its owner.
    unsafe {
        check_bool(OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES, &raw mut token))?;
        let token = OwnedHandle::from_raw_handle(token);
        wanted.PrivilegeCount = 1;
        wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
        check_bool(LookupPrivilegeValueW(null(), name.as_ptr(), &raw mut wanted.Privileges[0].Luid))?;
        check_bool(AdjustTokenPrivileges(token.as_raw_handle(), 0, &raw const wanted, 0, null_mut(), null_mut()))
    }
}

/// An error of the kernel in the words of the standard library.
pub(crate) fn check(status: NTSTATUS) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: a number goes in and a number comes out.
    let code = unsafe { RtlNtStatusToDosError(status) };
    Err(io::Error::from_raw_os_error(code as i32))
}

/// Whether a call of the older kind worked.
pub(crate) fn check_bool(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether a call that answers with an error's number worked.
pub(crate) fn check_code(code: u32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code as i32)) }
}

/// A fact of an open file.
///
/// # Safety
/// `T` must be the structure of plain numbers that belongs to `class`.
pub(crate) unsafe fn query<T>(handle: BorrowedHandle<'_>, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the buffer is as long as said, and zeros are a value of such a structure already.
    unsafe {
        let pointer = value.as_mut_ptr().cast::<c_void>();
        check_bool(GetFileInformationByHandleEx(handle.as_raw_handle(), class, pointer, size_of::<T>() as u32))?;
        Ok(value.assume_init())
    }
}

/// Facts of an open file that need not fit; the buffer is of 64-bit words, as their structures must be aligned.
pub(crate) fn query_list(
    handle: BorrowedHandle<'_>,
    class: FILE_INFO_BY_HANDLE_CLASS,
    buffer: &mut [u64],
) -> io::Result<()> {
    let bytes = size_of_val(buffer) as u32;
    // SAFETY: the buffer is as long as said.
    check_bool(unsafe {
        GetFileInformationByHandleEx(handle.as_raw_handle(), class, buffer.as_mut_ptr().cast(), bytes)
    })
}

/// Sets a fact of an open file.
///
/// # Safety
/// `T` must be the structure that belongs to `class`.
pub(crate) unsafe fn set<T>(handle: BorrowedHandle<'_>, class: FILE_INFO_BY_HANDLE_CLASS, value: &T) -> io::Result<()> {
    // SAFETY: the value is as long as said and is only read.
    check_bool(unsafe {
        let pointer = std::ptr::from_ref(value).cast::<c_void>();
        SetFileInformationByHandle(handle.as_raw_handle(), class, pointer, size_of::<T>() as u32)
    })
}

/// Asks a filesystem or a device; answers how many bytes of `output` it wrote.
pub(crate) fn control(handle: BorrowedHandle<'_>, code: u32, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let mut written = 0;
    // SAFETY: both buffers are as long as said, and the handle is not one for overlapped use.
    check_bool(unsafe {
        DeviceIoControl(
            handle.as_raw_handle(),
            code,
            input.as_ptr().cast(),
            input.len() as u32,
            output.as_mut_ptr().cast(),
            output.len() as u32,
            &raw mut written,
            null_mut(),
        )
    })?;
    Ok(written as usize)
}

/// The path of an open entry, beginning with its volume's own name.
pub(crate) fn final_path(handle: BorrowedHandle<'_>) -> io::Result<Vec<u16>> {
    let mut path = vec![0; PATH_UNITS_MAX];
    // SAFETY: the buffer is as long as said.
    let length = unsafe {
        let (handle, room) = (handle.as_raw_handle(), path.len() as u32);
        GetFinalPathNameByHandleW(handle, path.as_mut_ptr(), room, VOLUME_NAME_GUID)
    };
    match length as usize {
        0 => Err(io::Error::last_os_error()),
        length if length > path.len() => Err(io::ErrorKind::InvalidFilename.into()),
        length => {
            path.truncate(length);
            Ok(path)
        }
    }
}

/// A path for calls that take a text, with its end.
pub(crate) fn wide_path(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}

/// A text for calls that take one, with its end.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// A text that the system gave.
///
/// # Safety
/// It must end with a zero.
pub(crate) unsafe fn text_of(text: *const u16) -> String {
    // SAFETY: the caller vouches for its end.
    unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        String::from_utf16_lossy(std::slice::from_raw_parts(text, length))
    }
}
