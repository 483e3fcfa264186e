//! macOS: getfsstat(2), without asking a filesystem that may hang.
#![expect(unsafe_code, reason = "neither the standard library nor rustix lists mounts here")]

use std::ffi::{CStr, c_char};
use std::io;

use super::Mount;
use super::apple::{self, Flags};

/// Mounts may come while they are counted; more than these at once are an error.
const MORE: usize = 16;

pub(super) fn read() -> io::Result<Vec<Mount>> {
    Ok(list()?.iter().map(mount).collect())
}

fn list() -> io::Result<Vec<libc::statfs>> {
    // SAFETY: without a buffer it only counts.
    let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())? + MORE;
    let mut mounts = Vec::<libc::statfs>::with_capacity(count);
    let too_many = || io::Error::new(io::ErrorKind::FileTooLarge, "more mounts than can be listed");
    let bytes = i32::try_from(count * size_of::<libc::statfs>()).map_err(|_| too_many())?;
    // SAFETY: there is room for so many bytes.
    let found = unsafe { libc::getfsstat(mounts.as_mut_ptr(), bytes, libc::MNT_NOWAIT) };
    let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
    if found >= count {
        return Err(too_many());
    }
    // SAFETY: so many were written.
    unsafe { mounts.set_len(found) };
    Ok(mounts)
}

fn mount(entry: &libc::statfs) -> Mount {
    let mount_point = bytes(&entry.f_mntonname).to_vec();
    let filesystem = String::from_utf8_lossy(bytes(&entry.f_fstypename)).into_owned();
    // SAFETY: sys/_types/_fsid_t.h: two integers, of which the first is the device; libc keeps them to itself.
    let [device, _] = unsafe { std::mem::transmute::<libc::fsid_t, [i32; 2]>(entry.f_fsid) };
    let is_set = |flag: libc::c_int| entry.f_flags & flag.cast_unsigned() != 0;
    let flags = Flags { local: is_set(libc::MNT_LOCAL), hidden: is_set(libc::MNT_DONTBROWSE) };
    Mount {
        id: crate::files::system::device(device),
        root: b"/".to_vec(),
        device: crate::files::system::device(device),
        class: apple::classify(&filesystem, flags, &mount_point),
        source: String::from_utf8_lossy(bytes(&entry.f_mntfromname)).into_owned(),
        filesystem,
        mount_point,
    }
}

/// Text up to its zero; all of it where the kernel cut it off.
fn bytes(text: &[c_char]) -> &[u8] {
    // SAFETY: the same memory, as bytes.
    let all = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    CStr::from_bytes_until_nul(all).map_or(all, CStr::to_bytes)
}
