//! Who may do what with an object that is made, written in the system's own short language for it (SDDL).
#![expect(unsafe_code, reason = "the standard library makes nothing with rules of its own")]

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertStringSecurityDescriptorToSecurityDescriptorW,
    GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT, SetSecurityInfo,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    SECURITY_ATTRIBUTES,
};

use super::{check_bool, check_code, text_of, wide};

/// A security descriptor that the system made.
pub(crate) struct Rules(PSECURITY_DESCRIPTOR);

impl Rules {
    pub(crate) fn of(text: &str) -> io::Result<Self> {
        let (text, mut rules) = (wide(text), null_mut());
        // SAFETY: the text ends with a zero, and the pointer lives until the call returns.
        check_bool(unsafe {
            let text = text.as_ptr();
            ConvertStringSecurityDescriptorToSecurityDescriptorW(text, SDDL_REVISION_1, &raw mut rules, null_mut())
        })?;
        Ok(Self(rules))
    }

    /// Takes over a descriptor.
    ///
    /// # Safety
    /// The system must have made it with `LocalAlloc`, and nobody else may have it.
    pub(crate) unsafe fn from_raw(rules: PSECURITY_DESCRIPTOR) -> Self {
        Self(rules)
    }

    /// Sets the list of who may do what of an open file or folder, and takes nothing over from above.
    pub(crate) fn set_list(&self, file: BorrowedHandle<'_>) -> io::Result<()> {
        let (mut list, mut is_there, mut is_default) = (null_mut(), 0, 0);
        // SAFETY: the pointers live until the calls return; the list is a part of the descriptor.
        unsafe {
            check_bool(GetSecurityDescriptorDacl(self.0, &raw mut is_there, &raw mut list, &raw mut is_default))?;
            let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
            let (file, kind) = (file.as_raw_handle(), SE_FILE_OBJECT);
            check_code(SetSecurityInfo(file, kind, what, null_mut(), null_mut(), list, null_mut()))
        }
    }

    /// For a call that makes something; not to be used longer than the rules.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        let bytes = size_of::<SECURITY_ATTRIBUTES>() as u32;
        SECURITY_ATTRIBUTES { nLength: bytes, lpSecurityDescriptor: self.0, bInheritHandle: 0 }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        // SAFETY: the system made it with LocalAlloc, and nobody else has it.
        unsafe { LocalFree(self.0) };
    }
}

/// Who may do what with an open file or folder, as [`Rules::of`] takes it. Whether a list was handed down is left out.
pub(crate) fn list_of(file: BorrowedHandle<'_>) -> io::Result<String> {
    let (mut descriptor, mut text) = (null_mut(), null_mut());
    let what = DACL_SECURITY_INFORMATION;
    // SAFETY: the pointers live until the calls return; descriptor and text are freed by whom they were given to, and the
    // text ends with a zero.
    unsafe {
        let (handle, out) = (file.as_raw_handle(), &raw mut descriptor);
        let (owner, group, list, audit) = (null_mut(), null_mut(), null_mut(), null_mut());
        check_code(GetSecurityInfo(handle, SE_FILE_OBJECT, what, owner, group, list, audit, out))?;
        let descriptor = Rules::from_raw(descriptor);
        let (revision, bytes) = (SDDL_REVISION_1, null_mut());
        check_bool(ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor.0,
            revision,
            what,
            &raw mut text,
            bytes,
        ))?;
        let shown = text_of(text);
        LocalFree(text.cast());
        Ok(shown.replacen("D:PAI(", "D:P(", 1))
    }
}
