//! Windows: what an entry has besides its contents, under names of our own.
//!
//! | name | value |
//! |---|---|
//! | `windows.attributes` | the attributes, u32 little-endian; left out where there are none but "archive" |
//! | `windows.created` | when it was made, in 100 ns since 1601, i64 little-endian |
//! | `windows.security` | owner, group and access control list, as a self-relative security descriptor |
//! | `windows.reparse` | of a link: the raw reparse point |
//! | `windows.stream.NAME` | an alternate data stream, the shortest first up to [`STREAM_BYTES_MAX`] together |

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};

use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtQuerySecurityObject};
use windows_sys::Win32::Foundation::{ERROR_HANDLE_EOF, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_FUNCTION};
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GROUP_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_BASIC_INFO, FILE_READ_ATTRIBUTES,
    FILE_READ_DATA, FILE_STREAM_INFO, FileBasicInfo, FileStreamInfo, READ_CONTROL,
};

use super::Xattrs;
use crate::files::Dir;
use crate::files::system::{self, LOOK, Records, bytes_of, is_code};
use crate::names::wtf8;
use crate::nt::{self, Open};

pub(crate) const ATTRIBUTES: &[u8] = b"windows.attributes";
pub(crate) const CREATED: &[u8] = b"windows.created";
pub(crate) const SECURITY: &[u8] = b"windows.security";
pub(crate) const REPARSE: &[u8] = b"windows.reparse";
pub(crate) const STREAM: &[u8] = b"windows.stream.";

/// The catalogue takes no more of one entry.
const STREAM_BYTES_MAX: u64 = 1 << 20;
/// Access control lists end at 64 KiB.
const SECURITY_BYTES_MAX: usize = 128 * 1024;
/// Room for the streams of nearly every file, and the most that is asked for, in 64-bit words.
const STREAM_WORDS: usize = 512;
const STREAM_WORDS_MAX: usize = 128 * 1024;
/// What a security descriptor is read and set of.
pub(crate) const OWNER_GROUP_AND_LIST: u32 =
    OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;

pub(super) fn of_file(file: &File) -> io::Result<Xattrs> {
    of_handle(file.as_handle())
}

pub(super) fn of_entry(dir: &Dir, name: &[u8]) -> io::Result<Xattrs> {
    let how = Open { access: FILE_READ_ATTRIBUTES | READ_CONTROL, ..LOOK };
    let handle = dir.0.look(name, how)?;
    of_handle(handle.as_handle())
}

fn of_handle(handle: BorrowedHandle<'_>) -> io::Result<Xattrs> {
    // SAFETY: the class is asked for with its own structure.
    #[expect(unsafe_code, reason = "the standard library does not tell all attributes of a handle")]
    let basic: FILE_BASIC_INFO = unsafe { nt::query(handle, FileBasicInfo)? };
    let mut xattrs = Vec::new();
    let plain = FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_DIRECTORY;
    if basic.FileAttributes & !plain != 0 {
        xattrs.push((ATTRIBUTES.to_vec(), basic.FileAttributes.to_le_bytes().to_vec()));
    }
    xattrs.push((CREATED.to_vec(), basic.CreationTime.to_le_bytes().to_vec()));
    if system::reparse_tag(handle)?.is_some_and(system::is_link) {
        xattrs.push((REPARSE.to_vec(), system::reparse_data(handle)?));
    }
    xattrs.extend(security(handle)?.map(|descriptor| (SECURITY.to_vec(), descriptor)));
    let (short, long) = split(streams(handle)?);
    for (name, _) in short {
        xattrs.push((key_of(&name), read_stream(handle, &name)?));
    }
    xattrs.sort_unstable();
    let left_out = long.into_iter().map(|(name, bytes)| (key_of(&name), bytes)).collect();
    Ok(Xattrs { kept: xattrs, left_out })
}

fn key_of(stream: &[u16]) -> Vec<u8> {
    [STREAM, &wtf8::from_wide(stream)].concat()
}

/// A stream's name and its length in bytes.
type Stream = (Vec<u16>, u64);

/// The streams that are read, the shortest first as far as there is room, and those that are too long.
fn split(mut streams: Vec<Stream>) -> (Vec<Stream>, Vec<Stream>) {
    streams.sort_unstable_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    let mut total = 0u64;
    let fit = streams.iter().take_while(|(_, bytes)| {
        total = total.saturating_add(*bytes);
        total <= STREAM_BYTES_MAX
    });
    let fit = fit.count();
    let long = streams.split_off(fit);
    (streams, long)
}

/// The security descriptor; none where the filesystem has none.
#[expect(unsafe_code, reason = "the standard library knows no security descriptors")]
fn security(handle: BorrowedHandle<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0u64; 128];
    loop {
        let (room, mut needed) = (size_of_val(buffer.as_slice()), 0);
        let pointer: PSECURITY_DESCRIPTOR = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer is as long as said, and aligned.
        let status = unsafe {
            NtQuerySecurityObject(handle.as_raw_handle(), OWNER_GROUP_AND_LIST, pointer, room as u32, &raw mut needed)
        };
        match nt::check(status) {
            Ok(()) => return Ok(Some(bytes_of(&buffer)[..(needed as usize).min(room)].to_vec())),
            Err(error) if is_code(&error, ERROR_INSUFFICIENT_BUFFER) && (needed as usize) > room => {
                if needed as usize > SECURITY_BYTES_MAX {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "its access control list is too long"));
                }
                buffer.resize((needed as usize).div_ceil(8), 0);
            }
            Err(error) if has_no_such(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Names (without `:` and type) and lengths of the alternate data streams.
fn streams(handle: BorrowedHandle<'_>) -> io::Result<Vec<Stream>> {
    let mut buffer = vec![0; STREAM_WORDS];
    loop {
        match nt::query_list(handle, FileStreamInfo, &mut buffer) {
            Ok(()) => break,
            Err(error) if is_code(&error, ERROR_MORE_DATA) && buffer.len() < STREAM_WORDS_MAX => {
                buffer.resize(buffer.len() * 4, 0);
            }
            // A directory without any.
            Err(error) if is_code(&error, ERROR_HANDLE_EOF) || has_no_such(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    let mut streams = Vec::new();
    for record in Records::of(bytes_of(&buffer)) {
        let name_at = offset_of!(FILE_STREAM_INFO, StreamName);
        let name = record.text(offset_of!(FILE_STREAM_INFO, StreamNameLength), name_at)?;
        let bytes = record.u64(offset_of!(FILE_STREAM_INFO, StreamSize))?;
        // `:NAME:$DATA`; the contents themselves have no name.
        let mut parts = name.split(|unit| *unit == u16::from(b':')).skip(1);
        let (stream, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !stream.is_empty() && String::from_utf16_lossy(kind) == "$DATA" {
            streams.push((stream.to_vec(), bytes));
        }
    }
    Ok(streams)
}

fn read_stream(handle: BorrowedHandle<'_>, name: &[u16]) -> io::Result<Vec<u8>> {
    let how = Open { access: FILE_READ_DATA | FILE_READ_ATTRIBUTES, disposition: FILE_OPEN, options: 0 };
    let stream = nt::open_at(handle, &stream_name(name), how)?;
    let mut contents = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::from(stream), STREAM_BYTES_MAX), &mut contents)?;
    Ok(contents)
}

/// A stream's name as it is opened relative to its file.
pub(crate) fn stream_name(name: &[u16]) -> Vec<u16> {
    ":".encode_utf16().chain(name.iter().copied()).chain(":$DATA".encode_utf16()).collect()
}

/// The filesystem has no such facility.
pub(crate) fn has_no_such(error: &io::Error) -> bool {
    [ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED].iter().any(|code| is_code(error, *code))
}

#[cfg(test)]
mod tests {
    use super::{STREAM_BYTES_MAX, split};

    #[test]
    fn a_stream_that_is_too_long_costs_the_others_nothing() {
        let stream = |name: u8, bytes| (vec![u16::from(name)], bytes);
        let (short, long) = split(vec![stream(b'a', STREAM_BYTES_MAX), stream(b'b', 26), stream(b'c', 1000)]);
        assert_eq!(short, [stream(b'b', 26), stream(b'c', 1000)]);
        assert_eq!(long, [stream(b'a', STREAM_BYTES_MAX)]);
        let (short, long) = split(vec![stream(b'a', STREAM_BYTES_MAX)]);
        assert_eq!((short.len(), long.len()), (1, 0));
    }
}
