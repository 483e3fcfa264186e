//! Who can write without an event so far: whoever has a file open for writing, or mapped (libproc.h, sys/proc_info.h).
//!
//! The kernel keeps no mark that tells a shared mapping from a private one, so every mapping that could be written to counts;
//! those are mostly of programs, whose files are looked at once more and found the same.
//!
//! **Invariant**: what cannot be looked at is not taken to be harmless: no answer is given instead.
#![expect(unsafe_code, reason = "neither the standard library nor rustix lists open files")]

use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;

use crate::journal::Lost;

/// sys/proc_info.h.
const PROC_PIDFDVNODEINFO: c_int = 1;
const PROC_PIDREGIONPATHINFO: c_int = 8;
/// sys/fcntl.h, as the kernel keeps a descriptor's flags.
const FWRITE: u32 = 2;
/// mach/vm_prot.h.
const VM_PROT_WRITE: u32 = 2;
/// A process that begins while the others are looked at may have got a file from one that ended meanwhile.
const ROUNDS: usize = 4;
/// Room for processes and descriptors that come while they are counted.
const MORE: usize = 64;
/// Serves files to other machines; the kernel tells of what it writes later.
const NFS_SERVER: &str = "nfsd";

/// `struct vnode_fdinfo`.
#[repr(C)]
struct FileInfo {
    open_flags: u32,
    _status: u32,
    _offset: i64,
    _kind: i32,
    _guard_flags: u32,
    vnode: libc::vnode_info,
}

/// `struct proc_regionwithpathinfo`.
#[repr(C)]
struct Region {
    _protection: u32,
    max_protection: u32,
    _inheritance: u32,
    _flags: u32,
    _offset: u64,
    _counts: [u32; 14],
    address: u64,
    bytes: u64,
    file: libc::vnode_info_path,
}

/// Inode numbers of the regular files that may be written without an event.
pub(super) fn open_files(overlook: &[String]) -> Result<HashSet<u64>, Lost> {
    let (mut files, mut seen) = (HashSet::new(), HashSet::new());
    for _ in 0..ROUNDS {
        let processes = processes().map_err(|error| Lost::Failed(format!("processes cannot be listed: {error}")))?;
        let new: Vec<c_int> = processes.into_iter().filter(|process| seen.insert(*process)).collect();
        if new.is_empty() {
            break;
        }
        for process in new {
            let name = name_of(process);
            if name == NFS_SERVER {
                return Err(Lost::Blind("this machine serves files by NFS, whose writes are told of later".to_owned()));
            }
            match files_of(process, &mut files) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(_) if overlook.contains(&name) => {}
                Err(error) => {
                    let text = format!("process {name} ({process}) cannot be looked at and may write unseen: {error}");
                    return Err(Lost::Blind(text));
                }
            }
        }
    }
    Ok(files)
}

fn processes() -> io::Result<Vec<c_int>> {
    // SAFETY: without a buffer it only counts.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut processes = vec![0; usize::try_from(count).map_err(|_| io::Error::last_os_error())? + MORE];
    let bytes = size_of_val(processes.as_slice()) as c_int;
    // SAFETY: there is room for so many bytes.
    let count = unsafe { libc::proc_listallpids(processes.as_mut_ptr().cast(), bytes) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    if count >= processes.len() {
        return Err(io::Error::other("processes come faster than they are counted"));
    }
    processes.truncate(count);
    // The kernel itself has no files.
    processes.retain(|process| *process != 0);
    Ok(processes)
}

fn name_of(process: c_int) -> String {
    let mut name = [0_u8; 256];
    // SAFETY: there is room for so many bytes.
    let bytes = unsafe { libc::proc_name(process, name.as_mut_ptr().cast(), name.len() as u32) };
    String::from_utf8_lossy(name.get(..usize::try_from(bytes).unwrap_or(0)).unwrap_or_default()).into_owned()
}

fn files_of(process: c_int, files: &mut HashSet<u64>) -> io::Result<()> {
    for descriptor in descriptors(process)? {
        // SAFETY: the structure is what this question is answered with.
        let info = unsafe {
            ask::<FileInfo>(|room, bytes| libc::proc_pidfdinfo(process, descriptor, PROC_PIDFDVNODEINFO, room, bytes))
        };
        match info {
            Ok(Some(info)) if info.open_flags & FWRITE != 0 => files.extend(regular(&info.vnode)),
            Ok(_) => {}
            // Closed since it was listed, or of a volume that is gone.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOENT)) => {}
            Err(error) => return Err(error),
        }
    }
    mapped_in(process, files)
}

fn descriptors(process: c_int) -> io::Result<Vec<c_int>> {
    let list = |room: *mut c_void, bytes: usize| {
        // SAFETY: there is room for so many bytes, or it only counts.
        let bytes = unsafe { libc::proc_pidinfo(process, libc::PROC_PIDLISTFDS, 0, room, bytes as c_int) };
        // Nothing is how an error is told, and how a process without any is.
        let error = io::Error::last_os_error();
        match usize::try_from(bytes) {
            Ok(bytes) if bytes > 0 || error.raw_os_error() == Some(0) => Ok(bytes / size_of::<libc::proc_fdinfo>()),
            Ok(_) | Err(_) => Err(error),
        }
    };
    let count = list(std::ptr::null_mut(), 0)? + MORE;
    let mut found = Vec::<libc::proc_fdinfo>::with_capacity(count);
    let listed = list(found.as_mut_ptr().cast(), count * size_of::<libc::proc_fdinfo>())?;
    if listed >= count {
        return Err(io::Error::other("files are opened faster than they are counted"));
    }
    // SAFETY: so many were written.
    unsafe { found.set_len(listed) };
    let vnode = libc::PROX_FDTYPE_VNODE.cast_unsigned();
    Ok(found.iter().filter(|info| info.proc_fdtype == vnode).map(|info| info.proc_fd).collect())
}

fn mapped_in(process: c_int, files: &mut HashSet<u64>) -> io::Result<()> {
    let mut address = 0;
    loop {
        // SAFETY: the structure is what this question is answered with.
        let region = unsafe {
            ask::<Region>(|room, bytes| libc::proc_pidinfo(process, PROC_PIDREGIONPATHINFO, address, room, bytes))
        };
        let region = match region {
            Ok(Some(region)) => region,
            // There is no further one.
            Ok(None) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
            Err(error) => return Err(error),
        };
        if region.max_protection & VM_PROT_WRITE != 0 {
            files.extend(regular(&region.file.vip_vi));
        }
        match region.address.checked_add(region.bytes) {
            Some(next) if next > address => address = next,
            Some(_) | None => return Ok(()),
        }
    }
}

/// Inode number of a regular file.
fn regular(vnode: &libc::vnode_info) -> Option<u64> {
    let is_regular = u32::from(vnode.vi_stat.vst_mode) & u32::from(libc::S_IFMT) == u32::from(libc::S_IFREG);
    is_regular.then_some(vnode.vi_stat.vst_ino)
}

/// Asks for one structure; none where the answer is shorter.
///
/// # Safety
/// `T` must be the structure of the question, of integers alone.
unsafe fn ask<T>(question: impl Fn(*mut c_void, c_int) -> c_int) -> io::Result<Option<T>> {
    let mut answer = MaybeUninit::<T>::zeroed();
    let bytes = question(answer.as_mut_ptr().cast(), size_of::<T>() as c_int);
    match usize::try_from(bytes) {
        // SAFETY: all of it was written, and any bits are integers.
        Ok(bytes) if bytes == size_of::<T>() => Ok(Some(unsafe { answer.assume_init() })),
        Ok(bytes) if bytes > 0 => Ok(None),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}
