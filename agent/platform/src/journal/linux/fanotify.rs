//! fanotify(7): the queue of events, and what an event says.
//!
//! **Invariant**: an event that cannot be understood is answered as one that names nothing, never left out.
#![expect(unsafe_code, reason = "neither the standard library nor rustix knows fanotify")]

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::handle::Handle;

/// Room for about a thousand events a call.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

const MASK: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_ONDIR;

/// Lengths of `fanotify_event_metadata`, of the header of a record, and of `fsid` and head of a file handle behind it.
const EVENT_HEAD: usize = 24;
const RECORD_HEAD: usize = 4;
const FID_HEAD: usize = 16;

/// A queue of events. Its length is the system's bound (`max_queued_events`); beyond it comes one overflow event.
#[derive(Debug)]
pub(super) struct Queue(OwnedFd);

/// What an event is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A directory: something in it, or itself.
    Directory(Handle),
    /// A file by itself, under whatever names.
    File(Handle),
    /// Events were thrown away.
    Overflow,
    /// Nobody knows.
    Unknown,
}

impl Queue {
    pub(super) fn open() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_FID
            | libc::FAN_REPORT_DFID_NAME
            | libc::FAN_NONBLOCK
            | libc::FAN_CLOEXEC;
        // SAFETY: two integers go in, a descriptor that is ours comes out.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as libc::c_uint) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made for us and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Marks the whole filesystem that an open directory is in.
    pub(super) fn mark(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: both descriptors are open while we hold them; a null path means the directory itself.
        let result =
            unsafe { libc::fanotify_mark(self.0.as_raw_fd(), flags, MASK, directory.as_raw_fd(), ptr::null()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for an event; false when none came.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one entry, which lives through the call.
        let ready = unsafe { libc::poll(&mut poll, 1, milliseconds) };
        match ready {
            0 => Ok(false),
            1.. => Ok(true),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Reads whole events; 0 when there are none.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Ok(bytes) => return Ok(bytes),
                Err(rustix::io::Errno::AGAIN) => return Ok(0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Devices of the filesystems whose marks live, as the kernel numbers them inside.
    pub(super) fn marked(&self) -> io::Result<HashSet<u64>> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        let marks = info.lines().filter_map(|line| line.strip_prefix("fanotify sdev:"));
        Ok(marks.filter_map(|rest| u64::from_str_radix(rest.split(' ').next()?, 16).ok()).collect())
    }
}

/// Tells of each event in what [`Queue::read`] gave: its mask and what it is about.
pub(super) fn parse(mut events: &[u8], mut tell: impl FnMut(u64, Subject)) {
    while !events.is_empty() {
        let Some((mask, records, rest)) = split(events) else { return tell(0, Subject::Unknown) };
        tell(mask, subject(mask, records));
        events = rest;
    }
}

/// The first event's mask and records, and what follows it.
fn split(events: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let bytes = u32_at(events, 0)? as usize;
    let head = u16_at(events, 6)? as usize;
    let known = events.get(4) == Some(&3) && head >= EVENT_HEAD && bytes >= head;
    let mask = events.get(8..16)?.try_into().ok().map(u64::from_ne_bytes)?;
    known.then(|| Some((mask, events.get(head..bytes)?, events.get(bytes..)?))).flatten()
}

fn subject(mask: u64, mut records: &[u8]) -> Subject {
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Subject::Overflow;
    }
    let mut file = None;
    while records.len() >= RECORD_HEAD {
        let Some(record) = u16_at(records, 2).and_then(|bytes| records.get(..usize::from(bytes))) else { break };
        match record.first() {
            Some(&libc::FAN_EVENT_INFO_TYPE_DFID_NAME | &libc::FAN_EVENT_INFO_TYPE_DFID) => {
                return handle(record).map_or(Subject::Unknown, Subject::Directory);
            }
            Some(&libc::FAN_EVENT_INFO_TYPE_FID) => file = handle(record),
            Some(_) | None => {}
        }
        if record.len() < RECORD_HEAD {
            break;
        }
        records = &records[record.len()..];
    }
    let itself = if mask & libc::FAN_ONDIR != 0 { Subject::Directory } else { Subject::File };
    file.map_or(Subject::Unknown, itself)
}

/// `fsid` (two ints), then `struct file_handle`: length, type, bytes.
fn handle(record: &[u8]) -> Option<Handle> {
    let fid = &record[RECORD_HEAD..];
    let filesystem = u64::from(u32_at(fid, 0)?) | u64::from(u32_at(fid, 4)?) << 32;
    let bytes = u32_at(fid, 8)? as usize;
    let kind = u32_at(fid, 12)? as i32;
    Handle::new(filesystem, kind, fid.get(FID_HEAD..FID_HEAD + bytes)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{Subject, parse};

    fn told(events: &[u8]) -> Vec<Subject> {
        let mut subjects = Vec::new();
        parse(events, |_, subject| subjects.push(subject));
        subjects
    }

    fn event(mask: u64, records: &[u8]) -> Vec<u8> {
        let mut event = (24 + records.len() as u32).to_ne_bytes().to_vec();
        event.extend([3, 0]);
        event.extend(24u16.to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend([0xff; 8]);
        event.extend(records);
        event
    }

    #[test]
    fn what_cannot_be_understood_is_never_left_out() {
        assert_eq!(told(&event(libc::FAN_Q_OVERFLOW, &[])), [Subject::Overflow]);
        assert_eq!(told(&event(libc::FAN_MODIFY, &[])), [Subject::Unknown]);
        assert_eq!(told(&event(libc::FAN_MODIFY, &[2, 0, 200, 0, 1])), [Subject::Unknown], "a record beyond its event");
        assert_eq!(told(&event(libc::FAN_MODIFY, &[2, 0, 5, 0, 1])), [Subject::Unknown], "half a handle");
        assert_eq!(told(&event(libc::FAN_MODIFY, &[2, 0, 0, 0])), [Subject::Unknown], "a record of no length");
        assert_eq!(told(&event(libc::FAN_MODIFY, &[])[..20]), [Subject::Unknown], "half an event");
    }
}
