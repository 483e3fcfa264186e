//! One NTFS volume and its journal, by the system's calls.
#![expect(unsafe_code, reason = "the standard library knows no volumes")]

use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::path::PathBuf;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_OPEN, FILE_OPEN_BY_FILE_ID, FILE_OPEN_REPARSE_POINT, FileHardLinkInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{ERROR_HANDLE_EOF, GENERIC_READ};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, GetVolumeNameForVolumeMountPointW,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;
use windows_sys::Win32::System::Ioctl::{
    FSCTL_ENUM_USN_DATA, FSCTL_QUERY_USN_JOURNAL, FSCTL_READ_USN_JOURNAL, IOCTL_STORAGE_GET_HOTPLUG_INFO,
};

use crate::files::{Dir, FileKind, system as files};
use crate::journal::ledger::Volume;
use crate::journal::usn::{self, Batch, JournalState};
use crate::mounts::Mount;
use crate::nt::{self, Open};

/// Room for several hundred records a call.
const RECORDS_BYTES: usize = 64 << 10;
/// Room for the longest record and some more: only the first is looked at.
const RECORD_BYTES: usize = 1 << 10;
/// A file has at most 1,024 names of at most 255 units.
const NAMES_BYTES: usize = 1 << 20;
/// The name of a volume and its end.
const NAME_UNITS: usize = 64;
/// `USN_JOURNAL_DATA_V2`, the longest.
const STATE_BYTES: usize = 80;
/// The filesystem's own files, of which only the root directory is a place for others.
const RESERVED: u64 = 24;
/// The part of a file's number that says where its record lies; the rest counts how often that was used anew.
const RECORD_MASK: u64 = 0xffff_ffff_ffff;

#[derive(Debug)]
pub(super) struct NtfsVolume {
    place: PathBuf,
    device: u64,
    root: u64,
    /// Held, so that it cannot be taken away and come back unnoticed.
    handle: OwnedHandle,
    directory: Dir,
}

/// A mount point for people.
pub(super) fn place(mount: &Mount) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&mount.mount_point).into_owned())
}

/// The volume's own name, `\\?\Volume{...}\`.
pub(super) fn name_of(mount: &Mount) -> io::Result<String> {
    let point = nt::wide(&String::from_utf8_lossy(&mount.mount_point).replace('/', "\\"));
    let mut name = [0_u16; NAME_UNITS];
    // SAFETY: the text ends with a zero, and the buffer is as long as said.
    nt::check_bool(unsafe { GetVolumeNameForVolumeMountPointW(point.as_ptr(), name.as_mut_ptr(), NAME_UNITS as u32) })?;
    Ok(String::from_utf16_lossy(name.split(|unit| *unit == 0).next().unwrap_or_default()))
}

impl NtfsVolume {
    /// Opens a volume, if it is one to be watched; otherwise says why not.
    pub(super) fn open(mount: &Mount) -> Result<Self, String> {
        if mount.filesystem != "NTFS" {
            return Err(format!("{} keeps no change journal that is used", mount.filesystem));
        }
        let volume = Self::open_any(mount).map_err(|error| format!("it cannot be opened: {error}"))?;
        match volume.stays() {
            Ok(true) => {}
            Ok(false) => return Err("it can be taken out".to_owned()),
            Err(error) => return Err(format!("nothing says whether it can be taken out: {error}")),
        }
        match volume.tells_places() {
            Ok(true) => Ok(volume),
            Ok(false) => Err("the system does not tell where its folders are".to_owned()),
            Err(error) => Err(format!("the system does not tell where its folders are: {error}")),
        }
    }

    fn open_any(mount: &Mount) -> io::Result<Self> {
        let name = name_of(mount)?;
        let directory = Dir::open(std::path::Path::new(&name))?;
        let meta = directory.self_meta()?;
        let mut options = File::options();
        options.access_mode(GENERIC_READ).share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
        let handle = options.open(name.trim_end_matches('\\'))?.into();
        Ok(Self { place: place(mount), device: meta.device, root: meta.inode, handle, directory })
    }

    /// Whether its disk stays in the machine. `STORAGE_HOTPLUG_INFO`: `u32 Size`, then whether the medium can be taken out,
    /// or vanish, or the whole device.
    fn stays(&self) -> io::Result<bool> {
        let mut answer = [0; 8];
        let bytes = nt::control(self.handle.as_handle(), IOCTL_STORAGE_GET_HOTPLUG_INFO, &[], &mut answer)?;
        Ok(bytes == answer.len() && answer[4..7] == [0; 3])
    }

    /// Whether folders are found by number as this code expects. If they were not, every one would seem to be gone, and
    /// nothing changed.
    fn tells_places(&self) -> io::Result<bool> {
        let mut folders = 0;
        for entry in self.directory.read()? {
            let Ok(meta) = entry.meta else { continue };
            if meta.kind == FileKind::Directory {
                folders += 1;
                if self.parent_of(meta.inode)? != Some(self.root) {
                    return Ok(false);
                }
            }
        }
        Ok(folders > 0)
    }
}

impl Volume for NtfsVolume {
    fn device(&self) -> u64 {
        self.device
    }

    fn root(&self) -> u64 {
        self.root
    }

    fn place(&self) -> PathBuf {
        self.place.clone()
    }

    fn state(&self) -> io::Result<JournalState> {
        let mut answer = [0; STATE_BYTES];
        let bytes = nt::control(self.handle.as_handle(), FSCTL_QUERY_USN_JOURNAL, &[], &mut answer)?;
        JournalState::read(&answer[..bytes.min(STATE_BYTES)]).map_err(io::Error::other)
    }

    /// `READ_USN_JOURNAL_DATA_V0`: where from, which reasons (all), closes or all (all), no waiting, and the journal's id.
    fn read(&self, id: u64, from: i64) -> io::Result<Vec<u8>> {
        let all = u32::MAX.to_le_bytes();
        let input = [&from.to_le_bytes()[..], &all, &[0; 4 + 8 + 8], &id.to_le_bytes()].concat();
        let mut answer = vec![0; RECORDS_BYTES];
        let bytes = nt::control(self.handle.as_handle(), FSCTL_READ_USN_JOURNAL, &input, &mut answer)?;
        answer.truncate(bytes);
        Ok(answer)
    }

    /// By the filesystem's own table, which needs no right to the file and finds those that nobody may open.
    /// `MFT_ENUM_DATA_V0`: the file to begin with, and the range of numbers its last record may have (all).
    fn parent_of(&self, file: u64) -> io::Result<Option<u64>> {
        if file & RECORD_MASK < RESERVED {
            return Ok(Some(self.root));
        }
        let input = [file.to_le_bytes(), 0_i64.to_le_bytes(), i64::MAX.to_le_bytes()].concat();
        let mut answer = [0; RECORD_BYTES];
        let bytes = match nt::control(self.handle.as_handle(), FSCTL_ENUM_USN_DATA, &input, &mut answer) {
            Ok(bytes) => bytes.min(RECORD_BYTES),
            Err(error) if files::is_code(&error, ERROR_HANDLE_EOF) => return Ok(None),
            Err(error) => return Err(error),
        };
        let batch = Batch::read(&answer[..bytes]).map_err(io::Error::other)?;
        // The table goes on with the next file when there is none of this number.
        Ok(batch.records.first().filter(|record| record.file == file).map(|record| record.parent))
    }

    fn directories_of(&self, file: u64) -> io::Result<Option<Vec<u64>>> {
        let number: Vec<u16> =
            file.to_le_bytes().chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let options = FILE_OPEN_BY_FILE_ID | FILE_OPEN_REPARSE_POINT;
        let how = Open { access: FILE_READ_ATTRIBUTES, disposition: FILE_OPEN, options };
        let handle = match nt::open_at(self.directory.0.handle()?, &number, how) {
            Ok(handle) => handle,
            Err(error) => return if self.parent_of(file)?.is_none() { Ok(None) } else { Err(error) },
        };
        let mut answer = vec![0_u64; NAMES_BYTES / 8];
        let mut status = IO_STATUS_BLOCK { Anonymous: Default::default(), Information: 0 };
        // SAFETY: the buffer is as long as said and aligned for its structure; both live until the call returns.
        nt::check(unsafe {
            let (handle, room) = (handle.as_raw_handle(), NAMES_BYTES as u32);
            NtQueryInformationFile(handle, &raw mut status, answer.as_mut_ptr().cast(), room, FileHardLinkInformation)
        })?;
        let bytes = status.Information.min(NAMES_BYTES);
        usn::directories_of_names(&files::bytes_of(&answer)[..bytes]).map(Some).map_err(io::Error::other)
    }
}
