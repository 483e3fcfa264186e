//! The frame of every small object: open part, sealed header, sealed body, signature, trailer (FORMAT.md, "Small objects").
//!
//! **Invariant**: an object is readable only under the name it was written for.

use crate::codec::{DecodeError, Reader};
use crate::crypto::{Secret, SigningKey, VerifyingKey, open_once, random, seal_once};
use crate::id::VaultId;
use crate::store::ObjectName;

const MAGIC: &[u8; 4] = b"NKO1";
const END_MAGIC: &[u8; 4] = b"NKO.";
const FIXED_BYTES: usize = 56;
const TRAILER_BYTES: usize = 44;
const SIGNATURE_BYTES: usize = 64;
/// The largest small object a reader accepts.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// What a small object is; the number at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `cfg/1`.
    Config = 1,
    /// A root sealed under a passphrase or code.
    KeySlot = 2,
    /// A machine's public keys and sealed `K_meta`.
    Machine = 3,
    /// A new vault key pair.
    Epoch = 4,
    /// A session opens, lives, closes.
    Session = 5,
    /// What an interrupted run has confirmed.
    Partial = 6,
    /// Footers of written packs.
    Segment = 7,
    /// A recovery point.
    Point = 8,
    /// Trash, undelete, forget, hold, release.
    Retention = 9,
    /// Live segments, tombstones, forwards.
    Generation = 10,
    /// Sessions declared expired.
    Fence = 11,
    /// The one delete list of a generation.
    Decision = 12,
    /// Objects that are not to be used.
    Quarantine = 13,
}

/// Why an object cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The frame is not that of a whole object.
    #[error("torn or foreign object: {0}")]
    Frame(&'static str),
    /// Another kind than the name says.
    #[error("object of kind {found} where kind {expected:?} belongs")]
    Kind {
        /// The kind byte found.
        found: u8,
        /// The kind the name calls for.
        expected: Kind,
    },
    /// A sealed part does not open: wrong key, other name, or changed bytes.
    #[error("the sealed part does not open: wrong key, or changed bytes")]
    Sealed,
    /// The signature is absent or of another key.
    #[error("the signature does not verify")]
    Signature,
    /// The content is not what the format says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What an object is bound to: its vault, its name, and the key of its header.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The vault.
    pub vault: VaultId,
    /// The name it is stored under.
    pub name: &'a ObjectName,
}

/// The parts of an object that is being written.
#[derive(Default)]
pub struct Draft<'a> {
    /// Readable by anybody.
    pub open: Vec<u8>,
    /// Sealed under `K_index`.
    pub header: Option<(Vec<u8>, &'a Secret)>,
    /// Sealed under the key beside it.
    pub body: Option<(Vec<u8>, &'a Secret)>,
    /// Who signs.
    pub signer: Option<&'a SigningKey>,
}

impl Draft<'_> {
    /// The bytes at rest, under a fresh salt.
    pub fn seal(self, kind: Kind, binding: Binding<'_>) -> Vec<u8> {
        let salt: [u8; 32] = random();
        let aad = aad(kind as u8, binding);
        let sealed = |part: Option<(Vec<u8>, &Secret)>, text| {
            part.map(|(plain, key)| seal_once(&key.sub(text, &salt), &aad, &plain)).unwrap_or_default()
        };
        let header = sealed(self.header, "object header");
        let body = sealed(self.body, "object body");
        let signature_bytes = if self.signer.is_some() { SIGNATURE_BYTES } else { 0 };
        let total = FIXED_BYTES + self.open.len() + header.len() + body.len() + signature_bytes + TRAILER_BYTES;
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[kind as u8, 0]);
        out.extend_from_slice(&(signature_bytes as u16).to_le_bytes());
        for length in [self.open.len(), header.len(), body.len(), 0] {
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
        out.extend_from_slice(&salt);
        out.extend_from_slice(&self.open);
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        if let Some(signer) = self.signer {
            let signature = signer.sign(&signed_message(binding, &out));
            out.extend_from_slice(&signature);
        }
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&(total as u32).to_le_bytes());
        out.extend_from_slice(END_MAGIC);
        out
    }
}

/// A whole object whose frame was checked; nothing in it was opened or verified yet.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    kind: Kind,
    salt: [u8; 32],
    /// Readable by anybody.
    pub open: &'a [u8],
    header: &'a [u8],
    body: &'a [u8],
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Object<'a> {
    /// Checks frame, hash and kind.
    pub fn parse(bytes: &'a [u8], expected: Kind) -> Result<Self, ObjectError> {
        check_frame(bytes)?;
        let mut reader = Reader::new(&bytes[4..bytes.len() - TRAILER_BYTES], "object frame");
        let found = reader.u8()?;
        if found != expected as u8 {
            return Err(ObjectError::Kind { found, expected });
        }
        if reader.u8()? != 0 {
            return Err(ObjectError::Frame("unknown form"));
        }
        let signature_bytes = usize::from(reader.u16()?);
        let [open, header, body, reserved] = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        if reserved != 0 || ![0, SIGNATURE_BYTES].contains(&signature_bytes) {
            return Err(ObjectError::Frame("unknown form"));
        }
        let salt = reader.array()?;
        let object = Object {
            kind: expected,
            salt,
            open: reader.take(open as usize)?,
            header: reader.take(header as usize)?,
            body: reader.take(body as usize)?,
            signed: &bytes[..bytes.len() - TRAILER_BYTES - reader.rest().len()],
            signature: reader.take(signature_bytes)?,
        };
        reader.end()?;
        Ok(object)
    }

    /// Whether `key` signed this object under this name.
    pub fn verify(&self, binding: Binding<'_>, key: VerifyingKey) -> Result<(), ObjectError> {
        let message = signed_message(binding, self.signed);
        if key.verifies(&message, self.signature) { Ok(()) } else { Err(ObjectError::Signature) }
    }

    /// Opens the header with `K_index`.
    pub fn open_header(&self, binding: Binding<'_>, key: &Secret) -> Result<Vec<u8>, ObjectError> {
        self.open_part(self.header, "object header", binding, key)
    }

    /// Opens the body with its key.
    pub fn open_body(&self, binding: Binding<'_>, key: &Secret) -> Result<Vec<u8>, ObjectError> {
        self.open_part(self.body, "object body", binding, key)
    }

    fn open_part(&self, part: &[u8], text: &str, to: Binding<'_>, key: &Secret) -> Result<Vec<u8>, ObjectError> {
        open_once(&key.sub(text, &self.salt), &aad(self.kind as u8, to), part).map_err(|_| ObjectError::Sealed)
    }
}

/// [`check_frame`] for an object that comes in parts.
#[derive(Default)]
pub struct FrameScan {
    hasher: blake3::Hasher,
    crc: u32,
    start: Vec<u8>,
    /// The last bytes, which may be the trailer; neither hashed nor summed up yet.
    end: Vec<u8>,
    bytes: u64,
}

impl FrameScan {
    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        let missing = MAGIC.len().saturating_sub(self.start.len()).min(part.len());
        self.start.extend_from_slice(&part[..missing]);
        self.end.extend_from_slice(part);
        let settled = self.end.len().saturating_sub(TRAILER_BYTES);
        self.hasher.update(&self.end[..settled]);
        self.crc = crc32c::crc32c_append(self.crc, &self.end[..settled]);
        self.end.drain(..settled);
    }

    /// What is wrong with the object, now that all of it was taken.
    pub fn fault(&self) -> Option<&'static str> {
        let end = &self.end;
        if self.start != MAGIC || self.bytes < (FIXED_BYTES + TRAILER_BYTES) as u64 || end.len() != TRAILER_BYTES {
            return Some("no object begins here");
        }
        let total = u32::from_le_bytes([end[36], end[37], end[38], end[39]]);
        if &end[40..] != END_MAGIC || u64::from(total) != self.bytes {
            return Some("its end is missing");
        }
        if crc32c::crc32c_append(self.crc, &end[..32]).to_le_bytes() != end[32..36] {
            return Some("its checksum differs");
        }
        (self.hasher.finalize().as_bytes() != &end[..32]).then_some("its hash differs")
    }
}

/// Checks magic, length, checksum and hash: what a scrub can do without any key.
pub fn check_frame(bytes: &[u8]) -> Result<(), ObjectError> {
    if bytes.len() < FIXED_BYTES + TRAILER_BYTES || &bytes[..4] != MAGIC {
        return Err(ObjectError::Frame("no object begins here"));
    }
    let (rest, end) = bytes.split_at(bytes.len() - 12);
    let total = u32::from_le_bytes([end[4], end[5], end[6], end[7]]);
    if &end[8..] != END_MAGIC || total as usize != bytes.len() {
        return Err(ObjectError::Frame("its end is missing"));
    }
    if crc32c::crc32c(rest).to_le_bytes() != end[..4] {
        return Err(ObjectError::Frame("its checksum differs"));
    }
    let (content, hash) = rest.split_at(rest.len() - 32);
    if blake3::hash(content).as_bytes() != hash {
        return Err(ObjectError::Frame("its hash differs"));
    }
    Ok(())
}

fn aad(kind: u8, binding: Binding<'_>) -> Vec<u8> {
    [binding.vault.as_bytes(), &[kind], binding.name.as_str().as_bytes()].concat()
}

fn signed_message(binding: Binding<'_>, bytes: &[u8]) -> Vec<u8> {
    [b"nightkeep object v1\0", binding.vault.as_bytes(), binding.name.as_str().as_bytes(), b"\0", bytes].concat()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    fn sample(signer: &SigningKey, key: &Secret, at: &ObjectName) -> Vec<u8> {
        let draft = Draft {
            open: b"open".to_vec(),
            header: Some((b"header".to_vec(), key)),
            body: Some((b"body".to_vec(), key)),
            signer: Some(signer),
        };
        draft.seal(Kind::Point, Binding { vault: VaultId([1; 16]), name: at })
    }

    #[test]
    fn an_object_is_bound_to_name_key_and_signer() {
        let (signer, key) = (SigningKey::from_seed(Secret::generate()), Secret::generate());
        let (here, there) = (name("s/a/1"), name("s/b/1"));
        let bytes = sample(&signer, &key, &here);
        let object = Object::parse(&bytes, Kind::Point).unwrap();
        let (at, moved) =
            (Binding { vault: VaultId([1; 16]), name: &here }, Binding { vault: VaultId([1; 16]), name: &there });
        assert_eq!(object.open_header(at, &key).unwrap(), b"header");
        assert_eq!(object.open_body(at, &key).unwrap(), b"body");
        object.verify(at, signer.public()).unwrap();
        assert_eq!(object.verify(moved, signer.public()), Err(ObjectError::Signature));
        assert_eq!(object.open_body(moved, &key), Err(ObjectError::Sealed));
        assert_eq!(object.open_body(at, &Secret::generate()), Err(ObjectError::Sealed));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (signer, key) = (SigningKey::from_seed(Secret::generate()), Secret::generate());
        let bytes = sample(&signer, &key, &name("s/a/1"));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Object::parse(&flipped, Kind::Point).is_err(), "flip at {at}");
            assert!(Object::parse(&bytes[..at], Kind::Point).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(mut bytes: Vec<u8>) {
            prop_assert!(Object::parse(&bytes, Kind::Point).is_err());
            bytes.splice(0..0, *MAGIC);
            prop_assert!(Object::parse(&bytes, Kind::Point).is_err());
        }
    }
}
