//! Accounts: their identifiers (SID), names, and what their tokens say of them.
#![expect(unsafe_code, reason = "the standard library knows no accounts")]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{ConvertSidToStringSidW, GetSecurityInfo, SE_OBJECT_TYPE};
use windows_sys::Win32::Security::{
    CheckTokenMembership, CreateWellKnownSid, GetLengthSid, GetTokenInformation, IsWellKnownSid, LookupAccountSidW,
    OWNER_SECURITY_INFORMATION, PSID, SECURITY_MAX_SID_SIZE, TOKEN_QUERY, TOKEN_USER, TokenUser,
    WinBuiltinAdministratorsSid, WinLocalSystemSid,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

use super::{Rules, check_bool, check_code, text_of};

/// Names are short; a domain's is below 256 units, too.
const NAME_UNITS_MAX: usize = 512;
const SID_WORDS_MAX: usize = SECURITY_MAX_SID_SIZE as usize / 4 + 1;

/// The identifier of an account; of 32-bit words, as the system aligns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sid(Vec<u32>);

impl Sid {
    /// Copies an identifier.
    ///
    /// # Safety
    /// The pointer must be to a valid identifier.
    pub(crate) unsafe fn copy(sid: PSID) -> Self {
        // SAFETY: the caller vouches for it; its length is that of whole words.
        unsafe {
            let words = GetLengthSid(sid) as usize / 4;
            Self(std::slice::from_raw_parts(sid.cast::<u32>(), words).to_vec())
        }
    }

    /// Whose token it is.
    pub(crate) fn of_token(token: &OwnedHandle) -> io::Result<Self> {
        let mut buffer = [0u64; 2 + SID_WORDS_MAX];
        let mut bytes = size_of_val(&buffer) as u32;
        // SAFETY: the buffer is as long as said and aligned for pointers; what the system put into it points into it.
        unsafe {
            let pointer = buffer.as_mut_ptr().cast::<c_void>();
            check_bool(GetTokenInformation(token.as_raw_handle(), TokenUser, pointer, bytes, &raw mut bytes))?;
            Ok(Self::copy((*pointer.cast::<TOKEN_USER>()).User.Sid))
        }
    }

    /// The account this process runs as.
    pub(crate) fn of_process() -> io::Result<Self> {
        let mut token = null_mut();
        // SAFETY: the pointer lives until the call returns, and the token is new.
        let token = unsafe {
            check_bool(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token))?;
            OwnedHandle::from_raw_handle(token)
        };
        Self::of_token(&token)
    }

    /// Whether it is the system itself, or the group of the administrators: nobody else can own things in these names.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        // SAFETY: the identifier is whole.
        [WinLocalSystemSid, WinBuiltinAdministratorsSid]
            .into_iter()
            .any(|kind| unsafe { IsWellKnownSid(self.as_ptr(), kind) != 0 })
    }

    /// Whether what this account made may be relied on: the machine's own, or this process's.
    pub(crate) fn is_trusted(&self) -> io::Result<bool> {
        Ok(self.is_of_the_machine() || Self::of_process()? == *self)
    }

    /// `DOMAIN\name`; nothing where nobody knows it. May wait for a domain controller.
    pub(crate) fn account_name(&self) -> Option<String> {
        let (mut name, mut domain) = ([0u16; NAME_UNITS_MAX], [0u16; NAME_UNITS_MAX]);
        let (mut name_units, mut domain_units, mut kind) = (NAME_UNITS_MAX as u32, NAME_UNITS_MAX as u32, 0);
        // SAFETY: the identifier is whole, and the buffers are as long as said.
        let found = unsafe {
            LookupAccountSidW(
                null(),
                self.as_ptr(),
                name.as_mut_ptr(),
                &raw mut name_units,
                domain.as_mut_ptr(),
                &raw mut domain_units,
                &raw mut kind,
            )
        };
        let text =
            |units: &[u16], length: u32| String::from_utf16_lossy(units.get(..length as usize).unwrap_or_default());
        let (name, domain) = (text(&name, name_units), text(&domain, domain_units));
        let full = if domain.is_empty() { name.clone() } else { format!(r"{domain}\{name}") };
        (found != 0 && !name.is_empty()).then_some(full)
    }

    fn as_ptr(&self) -> PSID {
        self.0.as_ptr().cast_mut().cast()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = null_mut();
        // SAFETY: the identifier is whole; the text ends with a zero and is freed by whom it was given to.
        unsafe {
            if ConvertSidToStringSidW(self.as_ptr(), &raw mut text) == 0 {
                return out.write_str("an unknown account");
            }
            let shown = text_of(text);
            LocalFree(text.cast());
            out.write_str(&shown)
        }
    }
}

/// Whose a pipe (`SE_KERNEL_OBJECT`) or a file (`SE_FILE_OBJECT`) is; the handle must be one that reads its rules.
pub(crate) fn owner_of(handle: BorrowedHandle<'_>, kind: SE_OBJECT_TYPE) -> io::Result<Sid> {
    let (mut owner, mut descriptor) = (null_mut(), null_mut());
    // SAFETY: both pointers live until the call returns, and the descriptor that holds the owner is freed by its guard.
    unsafe {
        let (handle, what) = (handle.as_raw_handle(), OWNER_SECURITY_INFORMATION);
        let (owner_out, descriptor_out) = (&raw mut owner, &raw mut descriptor);
        let code = GetSecurityInfo(handle, kind, what, owner_out, null_mut(), null_mut(), null_mut(), descriptor_out);
        check_code(code)?;
        let _descriptor = Rules::from_raw(descriptor);
        Ok(Sid::copy(owner))
    }
}

/// Whether a client's token (this process's own, where none is given) has the rights of an administrator now: those that
/// are filtered until somebody confirms them do not count.
pub(crate) fn is_elevated(token: Option<&OwnedHandle>) -> io::Result<bool> {
    let (mut administrators, mut bytes, mut is_member) = ([0u32; SID_WORDS_MAX], SECURITY_MAX_SID_SIZE, 0);
    // SAFETY: the buffer is at least as long as said, and the pointers live until the calls return.
    unsafe {
        let sid = administrators.as_mut_ptr().cast();
        check_bool(CreateWellKnownSid(WinBuiltinAdministratorsSid, null_mut(), sid, &raw mut bytes))?;
        let token = token.map_or(null_mut(), AsRawHandle::as_raw_handle);
        check_bool(CheckTokenMembership(token, sid, &raw mut is_member))?;
    }
    Ok(is_member != 0)
}
