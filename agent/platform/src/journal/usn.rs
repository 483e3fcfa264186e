//! What Windows tells of its change journal, read from bytes: the journal's state, records of versions 2 and 3, names of a file.
//!
//! Pure, and compiled on every system, so that it is tested and fuzzed where the developers are.
//!
//! **Invariant**: a length or number that does not fit is an error, never a record left out: whoever reads on after an error
//! would vouch for changes it has not seen.

/// The file is closed: whatever it does next is told anew.
pub const REASON_CLOSE: u32 = 0x8000_0000;
/// A name of the file was made or taken away.
pub const REASON_HARD_LINK_CHANGE: u32 = 0x0001_0000;
/// It has another name, or lies in another directory; this record tells the old one.
pub const REASON_RENAME_OLD_NAME: u32 = 0x0000_1000;
/// The same; this record tells the new one.
pub const REASON_RENAME_NEW_NAME: u32 = 0x0000_2000;
/// It is a directory.
pub const ATTRIBUTE_DIRECTORY: u32 = 0x10;

/// Length of what stands before the name in a record of version 2 and of version 3.
const HEAD_BYTES: [usize; 2] = [60, 76];
/// Records lie at multiples of this.
const ALIGNMENT: usize = 8;
/// `u32 BytesNeeded, u32 EntriesReturned` before the first name of a file.
const NAMES_HEAD: usize = 8;

/// Why the bytes are not what the system promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsnError {
    /// They end before what they announce.
    #[error("the change journal's answer is cut off at byte {at}")]
    Cut {
        /// Where.
        at: usize,
    },
    /// A record's length is none.
    #[error("a record of the change journal at byte {at} says it is {length} bytes long")]
    Length {
        /// Where.
        at: usize,
        /// What it says.
        length: usize,
    },
    /// A version nobody knows.
    #[error("a record of the change journal has version {0}")]
    Version(u16),
    /// Records are numbered upwards.
    #[error("record {number} of the change journal does not come after {before}")]
    Order {
        /// Its number.
        number: i64,
        /// What it should come after.
        before: i64,
    },
    /// Files are told by 64 bits on NTFS.
    #[error("a file of the change journal has a number of more than 64 bits")]
    Number,
}

/// A journal, as `FSCTL_QUERY_USN_JOURNAL` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalState {
    /// Which journal: one that was made anew is another.
    pub id: u64,
    /// Number of the first record that is kept.
    pub first: i64,
    /// Number that the next record will have, at least.
    pub next: i64,
}

/// What happened to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The file.
    pub file: u64,
    /// The directory of the name it was opened by.
    pub parent: u64,
    /// Number of this record.
    pub number: i64,
    /// What happened since it was opened, `REASON_*`.
    pub reason: u32,
    /// Whether it is a directory.
    pub directory: bool,
}

/// An answer of `FSCTL_READ_USN_JOURNAL` or `FSCTL_ENUM_USN_DATA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where to read on.
    pub next: u64,
    /// The records, in order.
    pub records: Vec<Record>,
}

impl JournalState {
    /// Reads `USN_JOURNAL_DATA` of any version: later ones are longer.
    pub fn read(bytes: &[u8]) -> Result<Self, UsnError> {
        let fields = Fields(bytes);
        Ok(Self { id: fields.u64(0)?, first: fields.i64(8)?, next: fields.i64(16)? })
    }
}

impl Batch {
    /// Reads an answer: where to read on, and records to its end.
    pub fn read(bytes: &[u8]) -> Result<Self, UsnError> {
        let next = Fields(bytes).u64(0)?;
        let (mut records, mut at) = (Vec::new(), 8);
        while at < bytes.len() {
            let length = Fields(bytes).u32(at)? as usize;
            let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(UsnError::Cut { at })?;
            if length == 0 || !length.is_multiple_of(ALIGNMENT) {
                return Err(UsnError::Length { at, length });
            }
            records.push(Record::read(&bytes[at..end]).map_err(|error| error.after(at))?);
            at = end;
        }
        Ok(Self { next, records })
    }

    /// Whether these are what comes after `from` in a journal: numbers rise, and the next is beyond the last.
    pub fn follows(&self, from: i64) -> Result<(), UsnError> {
        // A record may begin at `from` itself.
        let mut before = from.saturating_sub(1);
        let next = i64::try_from(self.next).map_err(|_| UsnError::Number)?;
        for number in self.records.iter().map(|record| record.number).chain([next]) {
            if number <= before {
                return Err(UsnError::Order { number, before });
            }
            before = number;
        }
        Ok(())
    }
}

impl Record {
    /// Reads one record, which must be as long as it says.
    fn read(bytes: &[u8]) -> Result<Self, UsnError> {
        let fields = Fields(bytes);
        let (wide, head) = match fields.u16(4)? {
            2 => (false, HEAD_BYTES[0]),
            3 => (true, HEAD_BYTES[1]),
            version => return Err(UsnError::Version(version)),
        };
        if bytes.len() < head {
            return Err(UsnError::Length { at: 0, length: bytes.len() });
        }
        let (file, parent, rest) = match wide {
            false => (fields.u64(8)?, fields.u64(16)?, 24),
            true => (fields.narrow(8)?, fields.narrow(24)?, 40),
        };
        let record = Self {
            file,
            parent,
            number: fields.i64(rest)?,
            reason: fields.u32(rest + 16)?,
            directory: fields.u32(rest + 28)? & ATTRIBUTE_DIRECTORY != 0,
        };
        let (length, offset) = (usize::from(fields.u16(rest + 32)?), usize::from(fields.u16(rest + 34)?));
        // Nobody reads the name, but one beyond the end is no record of the system's.
        match offset >= head && offset + length <= bytes.len() {
            true => Ok(record),
            false => Err(UsnError::Cut { at: offset }),
        }
    }
}

/// The directories in which a file has a name, from `FILE_LINKS_INFORMATION`, with repetitions.
pub fn directories_of_names(bytes: &[u8]) -> Result<Vec<u64>, UsnError> {
    let fields = Fields(bytes);
    let (count, mut at) = (fields.u32(4)?, NAMES_HEAD);
    let mut directories = Vec::new();
    for left in (0..count).rev() {
        directories.push(fields.u64(at.saturating_add(8))?);
        let length = fields.u32(at)? as usize;
        if left > 0 && length == 0 {
            return Err(UsnError::Length { at, length });
        }
        at = at.saturating_add(length);
    }
    Ok(directories)
}

impl UsnError {
    /// The same, of a record that begins at `start`.
    fn after(self, start: usize) -> Self {
        match self {
            Self::Cut { at } => Self::Cut { at: start + at },
            Self::Length { at, length } => Self::Length { at: start + at, length },
            Self::Version(_) | Self::Order { .. } | Self::Number => self,
        }
    }
}

/// Little-endian numbers at fixed places.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn field<const N: usize>(&self, at: usize) -> Result<[u8; N], UsnError> {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        field.copied().ok_or(UsnError::Cut { at })
    }

    fn u16(&self, at: usize) -> Result<u16, UsnError> {
        self.field(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, UsnError> {
        self.field(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, UsnError> {
        self.field(at).map(u64::from_le_bytes)
    }

    fn i64(&self, at: usize) -> Result<i64, UsnError> {
        self.field(at).map(i64::from_le_bytes)
    }

    /// A number of 128 bits, of which NTFS uses 64.
    fn narrow(&self, at: usize) -> Result<u64, UsnError> {
        u64::try_from(self.field(at).map(u128::from_le_bytes)?).map_err(|_| UsnError::Number)
    }
}

/// Writes what a journal would answer: for tests and for the fuzzer's seeds.
pub mod write {
    use super::{ATTRIBUTE_DIRECTORY, HEAD_BYTES, Record};

    /// A journal's state, as the first version tells it.
    pub fn state(state: super::JournalState) -> Vec<u8> {
        let numbers = [state.id as i64, state.first, state.next, state.first, i64::MAX, 32 << 20, 8 << 20];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// An answer with these records.
    pub fn batch(next: u64, version: u16, records: &[Record]) -> Vec<u8> {
        let mut bytes = next.to_le_bytes().to_vec();
        records.iter().for_each(|record| bytes.extend(self::record(version, record)));
        bytes
    }

    /// What tells of a file's names in these directories.
    pub fn names(directories: &[u64]) -> Vec<u8> {
        let mut bytes = [0, directories.len() as u32].map(u32::to_le_bytes).concat();
        for (at, directory) in directories.iter().enumerate() {
            let next: u32 = if at + 1 == directories.len() { 0 } else { 24 };
            bytes.extend(u64::from(next).to_le_bytes());
            bytes.extend(directory.to_le_bytes());
            bytes.extend([1, 0, 0, 0, b'x', 0, 0, 0]);
        }
        bytes
    }

    fn record(version: u16, record: &Record) -> Vec<u8> {
        let name = [b'x', 0];
        let head = HEAD_BYTES[usize::from(version == 3)];
        let length = (head + name.len()).next_multiple_of(super::ALIGNMENT);
        let mut bytes = (length as u32).to_le_bytes().to_vec();
        bytes.extend([version, 0].map(u16::to_le_bytes).concat());
        for number in [record.file, record.parent] {
            bytes.extend(number.to_le_bytes());
            bytes.extend(if version == 3 { vec![0; 8] } else { Vec::new() });
        }
        bytes.extend(record.number.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        let attributes = if record.directory { ATTRIBUTE_DIRECTORY } else { 0x20 };
        bytes.extend([record.reason, 0, 0, attributes].map(u32::to_le_bytes).concat());
        bytes.extend([name.len() as u16, head as u16].map(u16::to_le_bytes).concat());
        bytes.extend(name);
        bytes.resize(length, 0);
        bytes
    }
}

#[cfg(test)]
#[path = "usn/tests.rs"]
mod tests;
