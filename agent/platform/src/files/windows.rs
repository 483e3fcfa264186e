//! Windows: every entry is opened relative to its directory's handle (`NtCreateFile`), reparse points as themselves.
//!
//! A reparse point that stands for another name (symbolic link, junction, mounted folder) is a [`FileKind::Symlink`] and is
//! never followed. Any other one (deduplicated, compressed by the system, kept in a cloud) is what it pretends to be, and is
//! opened through whoever keeps it.
//!
//! A directory is listed in large batches. What these tell of a file may be old (a file that is still open, another name of
//! the same file), so every file is opened once and asked itself: slower, and never wrong.
//!
//! The machine's root (`/`) is a directory of our own: in it lie the volumes that have drive letters, as `C:`.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::{Path, PathBuf};

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_SEQUENTIAL_ONLY,
};
use windows_sys::Win32::Foundation::ERROR_NOT_SUPPORTED;
use windows_sys::Win32::Foundation::{ERROR_HANDLE_EOF, ERROR_INVALID_FUNCTION, ERROR_MORE_DATA, ERROR_NO_MORE_FILES};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_ID_BOTH_DIR_INFO, FILE_LIST_DIRECTORY,
    FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_READ_EA, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FILE_STANDARD_INFO, FILE_TRAVERSE, FileAttributeTagInfo, FileBasicInfo, FileIdBothDirectoryInfo,
    FileIdBothDirectoryRestartInfo, FileStandardInfo, GetFileInformationByHandle, READ_CONTROL,
};
use windows_sys::Win32::System::Ioctl::{FSCTL_GET_REPARSE_POINT, FSCTL_QUERY_ALLOCATED_RANGES};
use windows_sys::Win32::System::SystemServices::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};

use super::{DirEntry, FileKind, FileMeta, Timestamp, component};
use crate::mounts::Mounts;
use crate::names::wtf8;
use crate::nt::{self, Open};

/// Room for several hundred entries a call, in 64-bit words.
const LISTING_WORDS: usize = 16 * 1024;
/// The system's own limit of what a reparse point holds (MAXIMUM_REPARSE_DATA_BUFFER_SIZE).
pub(crate) const REPARSE_BYTES_MAX: usize = 16 * 1024;
/// Entries handed out together.
const WINDOW: usize = 8192;
/// Seconds from 1601, where Windows begins to count, to 1970.
const EPOCH_SECONDS: i64 = 11_644_473_600;
const TICKS: i64 = 10_000_000;

const DIRECTORY: Open = Open {
    access: FILE_LIST_DIRECTORY | FILE_TRAVERSE | FILE_READ_ATTRIBUTES | FILE_READ_EA | READ_CONTROL,
    disposition: FILE_OPEN,
    options: FILE_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT,
};
const DATA: Open = Open {
    access: FILE_READ_DATA | FILE_READ_ATTRIBUTES | FILE_READ_EA | READ_CONTROL,
    disposition: FILE_OPEN,
    options: FILE_NON_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT | FILE_SEQUENTIAL_ONLY,
};
/// What says the least about an entry, and so is refused the least.
pub(crate) const LOOK: Open =
    Open { access: FILE_READ_ATTRIBUTES, disposition: FILE_OPEN, options: FILE_OPEN_REPARSE_POINT };

#[derive(Debug)]
pub(crate) struct Dir(Place);

#[derive(Debug)]
enum Place {
    /// The directory of the drives.
    Machine,
    /// One of a volume.
    Volume {
        handle: OwnedHandle,
        /// Serial number of its volume, which a listing does not repeat.
        device: u64,
    },
}

/// What a directory holds, by name, and how far it was handed out.
#[derive(Debug)]
pub(crate) struct Listing {
    entries: Vec<(Vec<u8>, FileMeta)>,
    next: usize,
}

impl Listing {
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.entries.binary_search_by(|(known, _)| known.as_slice().cmp(name)).is_ok()
    }
}

impl Dir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if matches!(path.as_os_str().as_encoded_bytes(), b"/" | b"\\") {
            return Ok(Self(Place::Machine));
        }
        nt::use_privileges();
        let mut options = File::options();
        options.access_mode(DIRECTORY.access);
        options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
        let file = options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
        Self::from_handle(file.into())
    }

    fn from_handle(handle: OwnedHandle) -> io::Result<Self> {
        let meta = meta_of(handle.as_handle())?;
        if meta.kind != FileKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(Place::Volume { handle, device: meta.device }))
    }

    /// The handle; the machine's root has none.
    pub(crate) fn handle(&self) -> io::Result<BorrowedHandle<'_>> {
        match &self.0 {
            Place::Volume { handle, .. } => Ok(handle.as_handle()),
            Place::Machine => Err(io::Error::new(io::ErrorKind::Unsupported, "only drives lie in the machine's root")),
        }
    }

    pub(crate) fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        match &self.0 {
            Place::Machine => Self::open(&drive(name)?),
            Place::Volume { .. } => Self::from_handle(self.open_entry(name, DIRECTORY)?),
        }
    }

    pub(crate) fn open_file(&self, name: &[u8]) -> io::Result<File> {
        Ok(File::from(self.open_entry(name, DATA)?))
    }

    /// Opens an entry, through whoever keeps its contents, but never through a link.
    pub(crate) fn open_entry(&self, name: &[u8], how: Open) -> io::Result<OwnedHandle> {
        let handle = nt::open_at(self.handle()?, &wide(name)?, how)?;
        match reparse_tag(handle.as_handle())? {
            Some(tag) if is_link(tag) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link")),
            // The same object by its handle, so that nothing can have taken its place.
            Some(_) => {
                nt::open_at(handle.as_handle(), &[], Open { options: how.options & !FILE_OPEN_REPARSE_POINT, ..how })
            }
            None => Ok(handle),
        }
    }

    /// Opens an entry itself, a link included.
    pub(crate) fn look(&self, name: &[u8], how: Open) -> io::Result<OwnedHandle> {
        match &self.0 {
            Place::Machine => match Self::open(&drive(name)?)?.0 {
                Place::Volume { handle, .. } => Ok(handle),
                Place::Machine => Err(io::ErrorKind::NotFound.into()),
            },
            Place::Volume { handle, .. } => nt::open_at(handle.as_handle(), &wide(name)?, how),
        }
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        match &self.0 {
            Place::Machine => list_drives(),
            Place::Volume { handle, device } => list(handle.as_handle(), *device),
        }
    }

    pub(crate) fn next_entries(&self, listing: &mut Listing) -> Option<Vec<DirEntry>> {
        let end = listing.entries.len().min(listing.next + WINDOW);
        let window = listing.entries.get(listing.next..end).filter(|window| !window.is_empty())?;
        let entries = window.iter().filter_map(|(name, listed)| {
            let meta = if listed.kind == FileKind::Regular { self.stat(name) } else { Ok(*listed) };
            match meta {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                meta => Some(DirEntry { name: name.clone(), meta }),
            }
        });
        let entries = entries.collect();
        listing.next = end;
        Some(entries)
    }

    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        link_text(&reparse_data(self.look(name, LOOK)?.as_handle())?)
    }

    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<FileMeta> {
        meta_of(self.look(name, LOOK)?.as_handle())
    }

    pub(crate) fn self_meta(&self) -> io::Result<FileMeta> {
        match &self.0 {
            Place::Machine => Ok(MACHINE),
            Place::Volume { handle, .. } => meta_of(handle.as_handle()),
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Place::Machine => Ok(Self(Place::Machine)),
            // Opened again, not duplicated, which would share the position in a listing.
            Place::Volume { handle, device } => {
                let handle = nt::open_at(handle.as_handle(), &[], DIRECTORY)?;
                Ok(Self(Place::Volume { handle, device: *device }))
            }
        }
    }
}

/// What a stat of the machine's root would tell.
const MACHINE: FileMeta = FileMeta {
    kind: FileKind::Directory,
    mode: 0o755,
    uid: 0,
    gid: 0,
    bytes: 0,
    modified: Timestamp { seconds: 0, nanoseconds: 0 },
    changed: Timestamp { seconds: 0, nanoseconds: 0 },
    inode: 0,
    device: 0,
    links: 1,
    device_number: (0, 0),
    blocks_512: 0,
};

/// The root folder of a drive that is named as in the machine's root.
fn drive(name: &[u8]) -> io::Result<PathBuf> {
    match name {
        [letter @ (b'A'..=b'Z' | b'a'..=b'z'), b':'] => Ok(PathBuf::from(format!("{}:\\", char::from(*letter)))),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The drives that hold a volume of this machine or another.
fn list_drives() -> io::Result<Listing> {
    let names = Mounts::read()?.iter().map(|mount| mount.mount_point.clone()).collect::<Vec<_>>();
    let entries = names.iter().filter_map(|root| {
        let name = root.strip_suffix(b"/")?;
        let meta = Dir::open(&drive(name).ok()?).and_then(|dir| dir.self_meta()).ok()?;
        Some((name.to_vec(), meta))
    });
    let mut entries: Vec<(Vec<u8>, FileMeta)> = entries.collect();
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Listing { entries, next: 0 })
}

fn list(dir: BorrowedHandle<'_>, device: u64) -> io::Result<Listing> {
    let mut buffer = vec![0; LISTING_WORDS];
    let (mut entries, mut class) = (Vec::new(), FileIdBothDirectoryRestartInfo);
    loop {
        match nt::query_list(dir, class, &mut buffer) {
            Ok(()) => {}
            Err(error) if is_code(&error, ERROR_NO_MORE_FILES) => break,
            Err(error) => return Err(error),
        }
        class = FileIdBothDirectoryInfo;
        for record in Records::of(bytes_of(&buffer)) {
            let name = wtf8::from_wide(&record.text(offset_of!(FILE_ID_BOTH_DIR_INFO, FileNameLength), NAME_AT)?);
            if name != b"." && name != b".." {
                entries.push((name, listed(&record, device)?));
            }
        }
    }
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Listing { entries, next: 0 })
}

fn listed(record: &Record<'_>, device: u64) -> io::Result<FileMeta> {
    let attributes = record.u32(offset_of!(FILE_ID_BOTH_DIR_INFO, FileAttributes))?;
    // Of a reparse point this field holds the tag.
    let tag = record.u32(offset_of!(FILE_ID_BOTH_DIR_INFO, EaSize))?;
    let kind = kind(attributes, (attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0).then_some(tag));
    let number = |at| record.u64(at);
    Ok(FileMeta {
        kind,
        mode: mode(attributes),
        uid: 0,
        gid: 0,
        bytes: if kind == FileKind::Regular { number(offset_of!(FILE_ID_BOTH_DIR_INFO, EndOfFile))? } else { 0 },
        modified: timestamp(number(offset_of!(FILE_ID_BOTH_DIR_INFO, LastWriteTime))? as i64),
        changed: timestamp(number(offset_of!(FILE_ID_BOTH_DIR_INFO, ChangeTime))? as i64),
        inode: number(offset_of!(FILE_ID_BOTH_DIR_INFO, FileId))?,
        device,
        links: 1,
        device_number: (0, 0),
        blocks_512: number(offset_of!(FILE_ID_BOTH_DIR_INFO, AllocationSize))? / 512,
    })
}

pub(super) fn file_meta(file: &File) -> io::Result<FileMeta> {
    meta_of(file.as_handle())
}

/// Metadata of whatever an open handle stands for.
pub(crate) fn meta_of(handle: BorrowedHandle<'_>) -> io::Result<FileMeta> {
    let by_handle = by_handle(handle)?;
    // SAFETY: each class is asked for with its own structure.
    #[expect(unsafe_code, reason = "the standard library tells neither the change time nor what is allocated")]
    let (basic, standard): (FILE_BASIC_INFO, FILE_STANDARD_INFO) =
        unsafe { (nt::query(handle, FileBasicInfo)?, nt::query(handle, FileStandardInfo)?) };
    let kind = kind(basic.FileAttributes, reparse_tag(handle)?);
    let halves = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    Ok(FileMeta {
        kind,
        mode: mode(basic.FileAttributes),
        uid: 0,
        gid: 0,
        bytes: if kind == FileKind::Regular { standard.EndOfFile.max(0) as u64 } else { 0 },
        modified: timestamp(basic.LastWriteTime),
        changed: timestamp(basic.ChangeTime),
        inode: halves(by_handle.nFileIndexHigh, by_handle.nFileIndexLow),
        device: by_handle.dwVolumeSerialNumber.into(),
        links: standard.NumberOfLinks.max(1).into(),
        device_number: (0, 0),
        blocks_512: standard.AllocationSize.max(0) as u64 / 512,
    })
}

#[expect(unsafe_code, reason = "the standard library keeps the file's number to itself")]
fn by_handle(handle: BorrowedHandle<'_>) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    use std::os::windows::io::AsRawHandle;
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the structure lives until the call returns.
    nt::check_bool(unsafe { GetFileInformationByHandle(handle.as_raw_handle(), &raw mut info) })?;
    Ok(info)
}

/// The tag of a reparse point; none of anything else.
pub(crate) fn reparse_tag(handle: BorrowedHandle<'_>) -> io::Result<Option<u32>> {
    // SAFETY: the class is asked for with its own structure.
    #[expect(unsafe_code, reason = "the standard library tells no tags")]
    let info = unsafe { nt::query::<FILE_ATTRIBUTE_TAG_INFO>(handle, FileAttributeTagInfo) };
    match info {
        Ok(info) => Ok((info.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT != 0).then_some(info.ReparseTag)),
        // A filesystem without reparse points.
        Err(error) if is_code(&error, ERROR_INVALID_FUNCTION) || is_code(&error, ERROR_NOT_SUPPORTED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a reparse point stands for another name (IsReparseTagNameSurrogate).
pub(crate) fn is_link(tag: u32) -> bool {
    tag & 0x2000_0000 != 0
}

/// The raw contents of a reparse point.
pub(crate) fn reparse_data(handle: BorrowedHandle<'_>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; REPARSE_BYTES_MAX];
    let bytes = nt::control(handle, FSCTL_GET_REPARSE_POINT, &[], &mut buffer)?;
    buffer.truncate(bytes);
    Ok(buffer)
}

/// What a symbolic link or junction leads to, as its maker wrote it.
///
/// `u32 tag, u16 length, u16 reserved`, then offsets and lengths of two names in bytes, in a link flags, and the names.
fn link_text(data: &[u8]) -> io::Result<Vec<u8>> {
    let record = Record(data);
    let names_at = match record.u32(0)? {
        IO_REPARSE_TAG_SYMLINK => 20,
        IO_REPARSE_TAG_MOUNT_POINT => 16,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "a reparse point of no known kind")),
    };
    let name = |at: usize| -> io::Result<Vec<u16>> {
        let (offset, bytes) = (usize::from(record.u16(at)?), usize::from(record.u16(at + 2)?));
        record.wide(names_at + offset, bytes)
    };
    let (substitute, print) = (name(8)?, name(12)?);
    if !print.is_empty() {
        return Ok(wtf8::from_wide(&print));
    }
    let substitute = wtf8::from_wide(&substitute);
    Ok(substitute.strip_prefix(br"\??\").unwrap_or(&substitute).to_vec())
}

pub(super) fn next_data(file: &File, from: u64, bytes: u64) -> io::Result<Option<(u64, u64)>> {
    let input = [from.to_le_bytes(), (bytes - from).to_le_bytes()].concat();
    let mut output = [0; 16];
    match nt::control(file.as_handle(), FSCTL_QUERY_ALLOCATED_RANGES, &input, &mut output) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        // There are more ranges; the first is all that is asked for.
        Err(error) if is_code(&error, ERROR_MORE_DATA) => {}
        Err(error) if is_code(&error, ERROR_HANDLE_EOF) => return Ok(None),
        Err(error) if is_code(&error, ERROR_INVALID_FUNCTION) || is_code(&error, ERROR_NOT_SUPPORTED) => {
            return Ok(Some((from, bytes)));
        }
        Err(error) => return Err(error),
    }
    let record = Record(&output);
    let (start, length) = (record.u64(0)?.max(from), record.u64(8)?);
    let end = record.u64(0)?.saturating_add(length).min(bytes);
    Ok((start < end).then_some((start, end)))
}

fn kind(attributes: u32, tag: Option<u32>) -> FileKind {
    if tag.is_some_and(is_link) {
        FileKind::Symlink
    } else if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        FileKind::Directory
    } else {
        FileKind::Regular
    }
}

/// Permission bits for systems that have them: what restores on Unix, and shows as read-only there.
fn mode(attributes: u32) -> u32 {
    let directory = if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 { 0o111 } else { 0 };
    let read_only = attributes & FILE_ATTRIBUTE_READONLY != 0 && directory == 0;
    directory | if read_only { 0o444 } else { 0o644 }
}

/// Hundreds of nanoseconds since 1601 as seconds since 1970.
fn timestamp(ticks: i64) -> Timestamp {
    Timestamp { seconds: ticks.div_euclid(TICKS) - EPOCH_SECONDS, nanoseconds: ticks.rem_euclid(TICKS) as u32 * 100 }
}

/// The other way round; a time that Windows cannot keep becomes the nearest it can.
pub(crate) fn ticks(time: Timestamp) -> i64 {
    let seconds = time.seconds.saturating_add(EPOCH_SECONDS).clamp(0, i64::MAX / TICKS - 1);
    seconds * TICKS + i64::from(time.nanoseconds / 100)
}

/// One path component as the system takes it. A colon would name a stream, a backslash a way down; a drive, which a vault
/// may hold as a folder, becomes the folder of its letter.
pub(crate) fn wide(name: &[u8]) -> io::Result<Vec<u16>> {
    if let [letter @ (b'A'..=b'Z' | b'a'..=b'z'), b':'] = name {
        return Ok(vec![u16::from(*letter)]);
    }
    let bad = || io::Error::new(io::ErrorKind::InvalidFilename, "no name on this system");
    if component(name)?.iter().any(|byte| matches!(byte, b'\\' | b':')) {
        return Err(bad());
    }
    wtf8::to_wide(name).ok_or_else(bad)
}

pub(crate) fn is_code(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code as i32)
}

/// Where the name of a listed entry begins.
const NAME_AT: usize = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName);

/// Records that name the distance to the next one in their first field.
pub(crate) struct Records<'b>(Option<&'b [u8]>);

impl<'b> Records<'b> {
    pub(crate) fn of(bytes: &'b [u8]) -> Self {
        Self(Some(bytes))
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        let bytes = self.0.take()?;
        let record = Record(bytes);
        let next = record.u32(0).ok()? as usize;
        self.0 = if next == 0 { None } else { bytes.get(next..) };
        Some(record)
    }
}

/// Fields at fixed places, little-endian; a field beyond the end is an error.
pub(crate) struct Record<'b>(&'b [u8]);

impl Record<'_> {
    fn field<const N: usize>(&self, at: usize) -> io::Result<[u8; N]> {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        field.copied().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer of the system is cut off"))
    }

    pub(crate) fn u16(&self, at: usize) -> io::Result<u16> {
        self.field(at).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&self, at: usize) -> io::Result<u32> {
        self.field(at).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&self, at: usize) -> io::Result<u64> {
        self.field(at).map(u64::from_le_bytes)
    }

    /// A text at `at` whose length in bytes stands at `length_at`.
    pub(crate) fn text(&self, length_at: usize, at: usize) -> io::Result<Vec<u16>> {
        let bytes = self.u32(length_at)? as usize;
        self.wide(at, bytes)
    }

    fn wide(&self, at: usize, bytes: usize) -> io::Result<Vec<u16>> {
        let cut = || io::Error::new(io::ErrorKind::InvalidData, "an answer of the system is cut off");
        let text = at.checked_add(bytes).and_then(|end| self.0.get(at..end)).ok_or_else(cut)?;
        Ok(text.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect())
    }
}

/// The bytes of a buffer of words.
pub(crate) fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: numbers are bytes, and bytes need no alignment.
    #[expect(unsafe_code, reason = "the buffer must be aligned for the system and is read as bytes")]
    unsafe {
        std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words))
    }
}
