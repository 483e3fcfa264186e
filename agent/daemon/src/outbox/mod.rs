//! The outbox: numbered reports that wait, durably, until the host acknowledges them.
//!
//! Invariant: a report counts as recorded when [`Outbox::append`] has returned, and from then on it is handed out until
//! it is acknowledged, whatever crashes; its number is never given to another report of the same incarnation.

mod frame;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nightkeep_platform::secret_file;
use nightkeep_wire::report::{Report, ReportBody};
use nightkeep_wire::{IncarnationId, MachineId};

use self::frame::{FRAME_OVERHEAD, HEADER_BYTES, Header, PAYLOAD_BYTES_MAX};

/// The file is rewritten without its acknowledged part when that is this large.
const COMPACT_AT_BYTES: u64 = 64 * 1024;

/// Largest file; a machine whose host is away for years stops recording instead of filling its disk.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Why a report was not recorded or the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    /// The file cannot be read or written.
    #[error("failed to {operation} the outbox {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A report that cannot be written down.
    #[error("a report has {bytes} bytes, more than the {PAYLOAD_BYTES_MAX} an outbox takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The bound on the file is reached.
    #[error("the outbox is full: the host has not acknowledged a report for very long")]
    Full,
    /// A report that does not become JSON.
    #[error("a report cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl OutboxError {
    /// Whether the same report may be recorded later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Full => true,
            Self::TooLarge { .. } | Self::Encode(_) => false,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// There was no file, or none that could be used: numbering begins anew.
    Fresh,
    /// The file goes on; so many bytes of an unfinished report were cut off its end.
    Continued {
        /// Bytes cut off.
        discarded: u64,
    },
}

/// Where a recorded report lies in the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    sequence: u64,
    offset: u64,
    payload: usize,
}

/// The outbox of one machine.
#[derive(Debug)]
pub(crate) struct Outbox {
    path: PathBuf,
    file: File,
    machine: MachineId,
    incarnation: IncarnationId,
    entries: VecDeque<Entry>,
    next: u64,
    /// Length of the good part; what lies behind it is the rest of a failed write.
    end: u64,
}

impl Outbox {
    /// Opens the file, or makes one. Reports of another incarnation are renumbered into this one.
    pub(crate) fn open(
        path: &Path,
        machine: MachineId,
        incarnation: IncarnationId,
    ) -> Result<(Self, Opened), OutboxError> {
        let io = |operation| move |source| OutboxError::Io { operation, path: path.to_path_buf(), source };
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(io("read"))?),
        };
        let Some((header, bytes)) = bytes.and_then(|bytes| Some((Header::read(&bytes)?, bytes))) else {
            return Ok((Self::create(path, machine, incarnation, 1)?, Opened::Fresh));
        };
        let (entries, end) = read_entries(&bytes, header.first);
        let discarded = bytes.len() as u64 - end;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io("open"))?;
        let next = entries.back().map_or(header.first, |last| last.sequence + 1);
        let path = path.to_path_buf();
        let mut outbox = Self { path, file, machine, incarnation: header.incarnation, entries, next, end };
        if discarded > 0 {
            tracing::warn!(discarded, "The end of the outbox was not finished when the machine stopped; it is cut off");
            outbox.cut()?;
        }
        if outbox.pending(1)?.first().is_some_and(|report| report.machine != machine) {
            tracing::warn!("The outbox is of another enrolment; its reports are nobody's any more");
            return Ok((Self::create(&outbox.path, machine, incarnation, 1)?, Opened::Fresh));
        }
        if header.incarnation != incarnation {
            outbox.renumber(incarnation, 1)?;
        }
        Ok((outbox, Opened::Continued { discarded }))
    }

    fn create(path: &Path, machine: MachineId, incarnation: IncarnationId, first: u64) -> Result<Self, OutboxError> {
        let io = |source| OutboxError::Io { operation: "create", path: path.to_path_buf(), source };
        let header = Header { incarnation, first };
        secret_file::write(path, &header.to_bytes()).map_err(io)?;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let (path, entries) = (path.to_path_buf(), VecDeque::new());
        Ok(Self { path, file, machine, incarnation, entries, next: first, end: HEADER_BYTES as u64 })
    }

    /// Records a report, durably, and answers its number.
    pub(crate) fn append(&mut self, at: DateTime<Utc>, body: ReportBody) -> Result<u64, OutboxError> {
        let sequence = self.next;
        let report = Report { machine: self.machine, incarnation: self.incarnation, sequence, at, body };
        let payload = serde_json::to_vec(&report).map_err(OutboxError::Encode)?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(OutboxError::TooLarge { bytes: payload.len() });
        }
        if self.end + (payload.len() + FRAME_OVERHEAD) as u64 > FILE_BYTES_MAX {
            return Err(OutboxError::Full);
        }
        let frame = frame::encode(sequence, &payload);
        let written = self.write_at_end(&frame);
        written.map_err(|source| OutboxError::Io { operation: "write", path: self.path.clone(), source })?;
        self.entries.push_back(Entry { sequence, offset: self.end, payload: payload.len() });
        self.end += frame.len() as u64;
        self.next += 1;
        Ok(sequence)
    }

    /// A failed write leaves `end` where it is, so the next one overwrites the remains.
    fn write_at_end(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(frame)?;
        self.file.sync_data()
    }

    /// The oldest reports not yet acknowledged, at most `limit`, in order.
    pub(crate) fn pending(&mut self, limit: usize) -> Result<Vec<Report>, OutboxError> {
        let entries: Vec<Entry> = self.entries.iter().take(limit).copied().collect();
        entries.into_iter().map(|entry| self.read_report(entry)).collect()
    }

    fn read_report(&mut self, entry: Entry) -> Result<Report, OutboxError> {
        let mut payload = vec![0; entry.payload];
        let read = self.file.seek(SeekFrom::Start(entry.offset + frame::PAYLOAD_OFFSET));
        let read = read.and_then(|_| self.file.read_exact(&mut payload));
        read.map_err(|source| OutboxError::Io { operation: "read", path: self.path.clone(), source })?;
        serde_json::from_slice(&payload).map_err(OutboxError::Encode)
    }

    /// Forgets everything up to and including this number.
    pub(crate) fn acknowledge(&mut self, through: u64) -> Result<(), OutboxError> {
        while self.entries.front().is_some_and(|entry| entry.sequence <= through) {
            self.entries.pop_front();
        }
        let live = self.entries.front().map_or(self.end, |entry| entry.offset);
        let acknowledged = live - HEADER_BYTES as u64;
        if acknowledged >= COMPACT_AT_BYTES && acknowledged >= self.end - live {
            self.compact()?;
        }
        Ok(())
    }

    /// Gives the waiting reports new numbers from `first` on, under `incarnation`: the host lost some that it had
    /// acknowledged, or this machine lost or rolled back its state.
    pub(crate) fn renumber(&mut self, incarnation: IncarnationId, first: u64) -> Result<(), OutboxError> {
        let mut reports = self.pending(usize::MAX)?;
        for (report, sequence) in reports.iter_mut().zip(first..) {
            (report.sequence, report.incarnation) = (sequence, incarnation);
        }
        self.incarnation = incarnation;
        self.rewrite(first, &reports)
    }

    fn compact(&mut self) -> Result<(), OutboxError> {
        let reports = self.pending(usize::MAX)?;
        let first = reports.first().map_or(self.next, |report| report.sequence);
        self.rewrite(first, &reports)
    }

    /// Replaces the file in one step: a crash leaves the old one or the new one.
    fn rewrite(&mut self, first: u64, reports: &[Report]) -> Result<(), OutboxError> {
        let mut bytes = Header { incarnation: self.incarnation, first }.to_bytes();
        for report in reports {
            let payload = serde_json::to_vec(report).map_err(OutboxError::Encode)?;
            bytes.extend_from_slice(&frame::encode(report.sequence, &payload));
        }
        let io = |source| OutboxError::Io { operation: "rewrite", path: self.path.clone(), source };
        secret_file::write(&self.path, &bytes).map_err(io)?;
        self.file = OpenOptions::new().read(true).write(true).open(&self.path).map_err(io)?;
        (self.entries, self.end) = read_entries(&bytes, first);
        self.next = self.entries.back().map_or(first, |last| last.sequence + 1);
        Ok(())
    }

    fn cut(&mut self) -> Result<(), OutboxError> {
        let cut = self.file.set_len(self.end).and_then(|()| self.file.sync_all());
        cut.map_err(|source| OutboxError::Io { operation: "repair", path: self.path.clone(), source })
    }

    /// The number the next report gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The life of the numbering.
    pub(crate) fn incarnation(&self) -> IncarnationId {
        self.incarnation
    }

    /// Reports that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// The whole reports of a file and where they end. The first that is torn or out of order ends it.
fn read_entries(bytes: &[u8], first: u64) -> (VecDeque<Entry>, u64) {
    let mut entries = VecDeque::new();
    let mut offset = HEADER_BYTES;
    for sequence in first.. {
        let Some(payload) = frame::decode(&bytes[offset..], sequence) else { break };
        entries.push_back(Entry { sequence, offset: offset as u64, payload: payload.len() });
        offset += payload.len() + FRAME_OVERHEAD;
    }
    (entries, offset as u64)
}

#[cfg(test)]
mod tests;
