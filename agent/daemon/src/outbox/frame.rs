//! How a report lies in the outbox's file.
//!
//! ```text
//! header   magic 8 | incarnation 16 | first number u64 | BLAKE3 of these, 8 bytes
//! frame    length of payload u32 | CRC32C of length and number u32 | number u64 | payload | BLAKE3 of all, 16 bytes
//! ```
//! Numbers are little-endian. The checksum in front keeps a torn length from being believed; the hash behind covers
//! every byte.

use nightkeep_wire::IncarnationId;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"NKOUTBX1";

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 40;
/// What a frame has beyond its payload.
pub(super) const FRAME_OVERHEAD: usize = 32;
/// Where in a frame its payload begins.
pub(super) const PAYLOAD_OFFSET: u64 = 16;
/// Largest payload.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// The start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incarnation: IncarnationId,
    /// Number of the first frame.
    pub(super) first: u64,
}

impl Header {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.incarnation.as_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(&hash.as_bytes()[..8]);
        bytes
    }

    /// The header of a file; none when it is no outbox.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.get(..HEADER_BYTES)?.split_at(32);
        if !content.starts_with(MAGIC) || &blake3::hash(content).as_bytes()[..8] != hash {
            return None;
        }
        let incarnation = Uuid::from_slice(&content[8..24]).ok()?;
        let first = u64::from_le_bytes(content[24..32].try_into().ok()?);
        Some(Self { incarnation: IncarnationId::from_uuid(incarnation), first })
    }
}

/// The frame of a report; `payload` has at most [`PAYLOAD_BYTES_MAX`] bytes.
pub(super) fn encode(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + FRAME_OVERHEAD);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(length, sequence).to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(payload);
    let hash = blake3::hash(&frame);
    frame.extend_from_slice(&hash.as_bytes()[..16]);
    frame
}

/// The payload at the start of `bytes` when a whole frame with this number lies there.
pub(super) fn decode(bytes: &[u8], sequence: u64) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let found = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    let sum = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    if sum != checksum(length, found) || found != sequence || length as usize > PAYLOAD_BYTES_MAX {
        return None;
    }
    let hashed = 16 + length as usize;
    let hash = bytes.get(hashed..hashed + 16)?;
    (&blake3::hash(&bytes[..hashed]).as_bytes()[..16] == hash).then(|| &bytes[16..hashed])
}

fn checksum(length: u32, sequence: u64) -> u32 {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..].copy_from_slice(&sequence.to_le_bytes());
    crc32c::crc32c(&bytes)
}
