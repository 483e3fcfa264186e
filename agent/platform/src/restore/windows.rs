//! Windows: every entry is made and changed relative to its directory's handle, links as themselves.
//!
//! Attributes come in this order: streams while the entry is writable, then owner, group and access control list, then
//! attributes with all times. Until then a file that will have rules of its own is open to this account, administrators and the
//! system; any other entry to whom the target's own rules let in.

use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::FileExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_OVERWRITE_IF,
    FileLinkInformation, NtSetInformationFile, NtSetSecurityObject,
};
use windows_sys::Wdk::System::SystemServices::RtlValidRelativeSecurityDescriptor;
use windows_sys::Win32::Security::DACL_SECURITY_INFORMATION;
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, FILE_ATTRIBUTE_OFFLINE, FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_SYSTEM, FILE_BASIC_INFO, FILE_DISPOSITION_FLAG_DELETE,
    FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE, FILE_DISPOSITION_FLAG_POSIX_SEMANTICS, FILE_DISPOSITION_INFO,
    FILE_DISPOSITION_INFO_EX, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA,
    FILE_WRITE_EA, FileBasicInfo, FileDispositionInfo, FileDispositionInfoEx, READ_CONTROL, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_REPARSE_POINT;
use windows_sys::Win32::System::SystemServices::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};

use super::{Attributes, Birth, Known, Node, Operation, RestoreError, failed};
use crate::Unsupported;
use crate::files::system::{self, LOOK, REPARSE_BYTES_MAX};
use crate::files::{Dir, FileKind};
use crate::names::wtf8;
use crate::nt::{self, Open, Rules, Sid};
use crate::xattrs::Xattr;
use crate::xattrs::system::{
    ATTRIBUTES, CREATED, OWNER_GROUP_AND_LIST, REPARSE, SECURITY, STREAM, has_no_such, stream_name,
};

/// What a program may set; the others follow from what an entry is or how it is stored.
const SETTABLE: u32 = FILE_ATTRIBUTE_READONLY
    | FILE_ATTRIBUTE_HIDDEN
    | FILE_ATTRIBUTE_SYSTEM
    | FILE_ATTRIBUTE_ARCHIVE
    | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
    | FILE_ATTRIBUTE_OFFLINE;
const SYMLINK_RELATIVE: u32 = 1;
/// Reparse points that a restore makes.
const LINKS: [u32; 2] = [IO_REPARSE_TAG_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT];

const READ_WRITE: u32 = FILE_READ_DATA
    | FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_READ_ATTRIBUTES
    | FILE_WRITE_ATTRIBUTES
    | FILE_WRITE_EA
    | READ_CONTROL;
const NEW_FILE: Open = Open { access: READ_WRITE, disposition: FILE_CREATE, options: FILE_NON_DIRECTORY_FILE };
/// Handed down from nowhere: the system, administrators, and who is added.
const PRIVATE_RULES: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";
const NEW_DIR: Open = Open {
    access: FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES,
    disposition: FILE_CREATE,
    options: FILE_DIRECTORY_FILE,
};

pub(super) fn open_beneath(dir: &Dir, path: &[u8]) -> io::Result<Dir> {
    let mut current = dir.try_clone()?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        current = current.open_dir(name)?;
    }
    Ok(current)
}

pub(super) fn create_dir(dir: &Dir, name: &[u8]) -> io::Result<()> {
    create(dir, name, NEW_DIR).map(drop)
}

/// A file that will have rules of its own is nobody else's until they are set; another one is whose its folder's rules say.
pub(super) fn create_file(dir: &Dir, name: &[u8], _mode: u32, xattrs: &[Xattr]) -> io::Result<File> {
    if !xattrs.iter().any(|(known, _)| known == SECURITY) {
        return create(dir, name, NEW_FILE).map(File::from);
    }
    let rules = Rules::of(&format!("{PRIVATE_RULES}(A;;FA;;;{})", Sid::of_process()?))?;
    nt::make_at(dir.0.handle()?, &system::wide(name)?, NEW_FILE, &rules).map(File::from)
}

fn create(dir: &Dir, name: &[u8], how: Open) -> io::Result<OwnedHandle> {
    nt::open_at(dir.0.handle()?, &system::wide(name)?, how)
}

pub(super) fn open_file(dir: &Dir, name: &[u8]) -> io::Result<File> {
    let options = FILE_NON_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT;
    let how = Open { access: READ_WRITE, disposition: FILE_OPEN, options };
    dir.0.open_entry(name, how).map(File::from)
}

pub(super) fn symlink(dir: &Dir, name: &[u8], link: &[u8]) -> io::Result<()> {
    let handle = create(dir, name, Open { access: NEW_FILE.access | DELETE, ..NEW_FILE })?;
    let set = symlink_data(link).and_then(|data| set_reparse(handle.as_handle(), &data));
    // An empty file would pass for the link.
    set.inspect_err(|_| drop(delete(handle.as_handle())))
}

/// A symbolic link to `text` as a reparse point; see [`system::reparse_data`] for its form.
fn symlink_data(text: &[u8]) -> io::Result<Vec<u8>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "the link's text is no path on this system");
    let mut print = wtf8::to_wide(text).filter(|text| !text.is_empty()).ok_or_else(bad)?;
    print.iter_mut().filter(|unit| **unit == u16::from(b'/')).for_each(|unit| *unit = u16::from(b'\\'));
    let is_absolute = print.get(1) == Some(&u16::from(b':'));
    let prefix = if is_absolute { r"\??\" } else { "" };
    let substitute: Vec<u16> = prefix.encode_utf16().chain(print.iter().copied()).collect();
    let (print_bytes, substitute_bytes) = (print.len() * 2, substitute.len() * 2);
    if print_bytes + substitute_bytes + 20 > REPARSE_BYTES_MAX {
        return Err(bad());
    }
    let mut data = IO_REPARSE_TAG_SYMLINK.to_le_bytes().to_vec();
    let numbers = [12 + substitute_bytes + print_bytes, 0, 0, substitute_bytes, substitute_bytes, print_bytes];
    numbers.iter().for_each(|number| data.extend((*number as u16).to_le_bytes()));
    data.extend(if is_absolute { 0 } else { SYMLINK_RELATIVE }.to_le_bytes());
    substitute.iter().chain(&print).for_each(|unit| data.extend(unit.to_le_bytes()));
    Ok(data)
}

fn set_reparse(handle: BorrowedHandle<'_>, data: &[u8]) -> io::Result<()> {
    nt::control(handle, FSCTL_SET_REPARSE_POINT, data, &mut []).map(drop)
}

#[expect(unsafe_code, reason = "the standard library links by path alone")]
pub(super) fn hard_link(dir: &Dir, name: &[u8], original_dir: &Dir, original: &[u8]) -> io::Result<()> {
    let from = nt::open_at(
        original_dir.0.handle()?,
        &system::wide(original)?,
        Open { access: FILE_WRITE_ATTRIBUTES, ..LOOK },
    )?;
    let name = system::wide(name)?;
    // FILE_LINK_INFORMATION: whether to replace, the directory, the name's length, the name.
    let mut words = vec![0u64, dir.0.handle()?.as_raw_handle() as u64];
    let mut text: Vec<u8> = ((name.len() * 2) as u32).to_le_bytes().to_vec();
    name.iter().for_each(|unit| text.extend(unit.to_le_bytes()));
    text.resize(text.len().next_multiple_of(8), 0);
    words.extend(text.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())));
    let mut status = IO_STATUS_BLOCK::default();
    // SAFETY: the buffer has the structure's form, is as long as said and only read.
    nt::check(unsafe {
        NtSetInformationFile(
            from.as_raw_handle(),
            &raw mut status,
            words.as_ptr().cast(),
            size_of_val(words.as_slice()) as u32,
            FileLinkInformation,
        )
    })
}

pub(super) fn node(_dir: &Dir, _name: &[u8], _node: Node) -> io::Result<()> {
    Err(Unsupported { what: "a pipe, socket or device in a folder" }.into())
}

pub(super) fn remove(dir: &Dir, name: &[u8]) -> io::Result<()> {
    let how = Open { access: DELETE | FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, ..LOOK };
    delete(nt::open_at(dir.0.handle()?, &system::wide(name)?, how)?.as_handle())
}

/// Deletes what a handle stands for: its name goes at once, also while others have it open.
#[expect(unsafe_code, reason = "the standard library deletes by path alone")]
fn delete(handle: BorrowedHandle<'_>) -> io::Result<()> {
    let flags = FILE_DISPOSITION_FLAG_DELETE
        | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS
        | FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE;
    // SAFETY: each class is set with its own structure.
    unsafe {
        match nt::set(handle, FileDispositionInfoEx, &FILE_DISPOSITION_INFO_EX { Flags: flags }) {
            // Before Windows 10, and on filesystems that know only the older way.
            Err(error) if has_no_such(&error) => {
                let plain = FILE_BASIC_INFO { FileAttributes: FILE_ATTRIBUTE_NORMAL, ..FILE_BASIC_INFO::default() };
                // Only a read-only entry needs it.
                let _ = nt::set(handle, FileBasicInfo, &plain);
                nt::set(handle, FileDispositionInfo, &FILE_DISPOSITION_INFO { DeleteFile: true })
            }
            other => other,
        }
    }
}

pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.seek_write(&bytes[written..], offset + written as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            more => written += more,
        }
    }
    Ok(())
}

/// The filesystem journals names by itself.
pub(super) fn sync_dir(_dir: &Dir) -> io::Result<()> {
    Ok(())
}

/// Flushes the volume, which takes an administrator and a volume that can be. Other files reach the disk when the system writes its cache
/// back, within seconds.
pub(super) fn sync_filesystem(dir: &Dir) -> io::Result<()> {
    // A share of another machine has no volume here.
    let Ok(path) = nt::final_path(dir.0.handle()?) else { return Ok(()) };
    let Some(end) = path.iter().position(|unit| *unit == u16::from(b'}')) else { return Ok(()) };
    let volume = std::ffi::OsString::from_wide(&path[..=end]);
    match File::options().write(true).open(volume).and_then(|volume| volume.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied || has_no_such(&error) => Ok(()),
        other => other,
    }
}

pub(super) fn set_attributes(dir: &Dir, name: &[u8], attributes: &Attributes<'_>) -> Vec<RestoreError> {
    let opened = system::wide(name).and_then(|wide| {
        let how = Open { access: FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, ..LOOK };
        let handle = nt::open_at(dir.0.handle()?, &wide, how)?;
        match system::meta_of(handle.as_handle())?.kind == attributes.kind {
            true => Ok((handle, wide)),
            false => Err(io::Error::other("something else took its place")),
        }
    });
    let (handle, wide) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![failed(Operation::Open, name)(error)],
    };
    if attributes.kind != FileKind::Symlink {
        return set(handle.as_handle(), name, attributes);
    }
    drop(handle);
    match make_link(dir, &wide, attributes) {
        Ok(handle) => set(handle.as_handle(), name, attributes),
        Err(error) => vec![failed(Operation::Create, name)(error)],
    }
}

/// Makes a link anew as it was: a junction or a link to a directory is a directory itself, which its text does not tell.
fn make_link(dir: &Dir, name: &[u16], attributes: &Attributes<'_>) -> io::Result<OwnedHandle> {
    let access = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | DELETE;
    let there = nt::open_at(dir.0.handle()?, name, Open { access, ..LOOK })?;
    let Some(data) = value(attributes, REPARSE) else { return Ok(there) };
    // A vault may be hostile, and other reparse points are more than names.
    if !data.first_chunk().is_some_and(|tag| LINKS.contains(&u32::from_le_bytes(*tag))) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "neither a symbolic link nor a junction"));
    }
    let is_dir =
        value(attributes, ATTRIBUTES).and_then(number).is_some_and(|bits| bits & FILE_ATTRIBUTE_DIRECTORY != 0);
    delete(there.as_handle())?;
    drop(there);
    let how = if is_dir { NEW_DIR } else { NEW_FILE };
    let made = nt::open_at(dir.0.handle()?, name, Open { access: how.access | DELETE, ..how })?;
    set_reparse(made.as_handle(), data).inspect_err(|_| drop(delete(made.as_handle())))?;
    Ok(made)
}

pub(super) fn set_own_attributes(dir: &Dir, attributes: &Attributes<'_>, _known: Option<Known>) -> Vec<RestoreError> {
    let how = Open { access: FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES, ..LOOK };
    match dir.0.handle().and_then(|handle| nt::open_at(handle, &[], how)) {
        Ok(handle) => set(handle.as_handle(), b".", attributes),
        Err(error) => vec![failed(Operation::Open, b".")(error)],
    }
}

pub(super) fn set_file_attributes(
    file: &File,
    name: &[u8],
    attributes: &Attributes<'_>,
    _known: Option<Known>,
) -> Vec<RestoreError> {
    set(file.as_handle(), name, attributes)
}

fn set(handle: BorrowedHandle<'_>, name: &[u8], attributes: &Attributes<'_>) -> Vec<RestoreError> {
    let mut errors = Vec::new();
    let mut note = |operation, result: io::Result<()>| errors.extend(result.err().map(failed(operation, name)));
    for (key, contents) in attributes.xattrs {
        if let Some(stream) = key.strip_prefix(STREAM) {
            note(Operation::SetXattr, write_stream(handle, stream, contents));
        }
    }
    if let Some(descriptor) = value(attributes, SECURITY) {
        note(Operation::SetOwner, set_security(handle, descriptor));
    }
    note(Operation::SetTimes, set_basic(handle, attributes));
    errors
}

fn write_stream(handle: BorrowedHandle<'_>, name: &[u8], contents: &[u8]) -> io::Result<()> {
    let name = wtf8::to_wide(name).filter(|name| !name.is_empty() && !name.contains(&u16::from(b':')));
    let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "no name of a stream"))?;
    let how = Open { access: FILE_WRITE_DATA | FILE_READ_ATTRIBUTES, disposition: FILE_OVERWRITE_IF, options: 0 };
    io::Write::write_all(&mut File::from(nt::open_at(handle, &stream_name(&name), how)?), contents)
}

/// Sets owner, group and list, or the list alone where this account may give nothing away.
#[expect(unsafe_code, reason = "the standard library knows no security descriptors")]
fn set_security(handle: BorrowedHandle<'_>, descriptor: &[u8]) -> io::Result<()> {
    let mut words = vec![0u64; descriptor.len().div_ceil(8)];
    words.iter_mut().zip(descriptor.chunks(8)).for_each(|(word, bytes)| {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(all);
    });
    let pointer = words.as_mut_ptr().cast();
    // SAFETY: the buffer is as long as said; the check reads no further, whatever offsets it finds.
    if !unsafe { RtlValidRelativeSecurityDescriptor(pointer, descriptor.len() as u32, 0) } {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no security descriptor"));
    }
    let apply = |access, what| {
        let handle = nt::open_at(handle, &[], Open { access, ..LOOK })?;
        // SAFETY: the descriptor was checked to lie within its buffer.
        nt::check(unsafe { NtSetSecurityObject(handle.as_raw_handle(), what, pointer) })
    };
    apply(WRITE_DAC | WRITE_OWNER, OWNER_GROUP_AND_LIST).or_else(|error| {
        apply(WRITE_DAC, DACL_SECURITY_INFORMATION)?;
        Err(error)
    })
}

/// Attributes and times, in one call. What an entry of another system has no value for stays as it is.
fn set_basic(handle: BorrowedHandle<'_>, attributes: &Attributes<'_>) -> io::Result<()> {
    let bits = value(attributes, ATTRIBUTES).and_then(number);
    let is_read_only = attributes.kind == FileKind::Regular && attributes.mode & 0o222 == 0;
    let bits = bits.unwrap_or(if is_read_only { FILE_ATTRIBUTE_READONLY } else { 0 }) & SETTABLE;
    let created = value(attributes, CREATED).and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_le_bytes);
    let info = FILE_BASIC_INFO {
        CreationTime: created.max(0),
        LastWriteTime: system::ticks(attributes.modified),
        FileAttributes: if bits == 0 { FILE_ATTRIBUTE_NORMAL } else { bits },
        ..FILE_BASIC_INFO::default()
    };
    // SAFETY: the class is set with its own structure.
    #[expect(unsafe_code, reason = "the standard library sets no times of directories and links by handle")]
    unsafe {
        nt::set(handle, FileBasicInfo, &info)
    }
}

fn value<'a>(attributes: &Attributes<'a>, name: &[u8]) -> Option<&'a [u8]> {
    attributes.xattrs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Rules are handed down by each directory, so nothing is known beforehand.
pub(super) fn birth(_dir: &Dir, _probe: &File) -> io::Result<Option<Birth>> {
    Ok(None)
}
