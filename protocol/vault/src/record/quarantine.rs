//! `q/…`: which objects are not to be used, found missing or damaged by a scrub. Nothing is deleted for it.
//!
//! **Invariant**: of all records that name an object, the one with the highest number counts.

use super::generation::Keeper;
use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// Where quarantine records lie.
pub const PREFIX: &str = "q/";
/// Objects of one record at most: some 8 MiB.
pub const OBJECTS_MAX: usize = 65_536;

/// What a record says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It is there again, and sound.
    Sound = 0,
    /// It is gone from the storage.
    Missing = 1,
    /// Its bytes are not those that were written.
    Damaged = 2,
}

/// One finding of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// Which record, from 0.
    pub number: u64,
    /// When, for people.
    pub at: Time,
    /// The objects and what is the matter with them.
    pub objects: Vec<(ObjectName, Verdict)>,
}

impl QuarantineRecord {
    /// Where record `number` lies.
    pub fn name_of(number: u64) -> ObjectName {
        super::name(format!("{PREFIX}{number:016x}"))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, keeper: Keeper<'_>, maintenance: &SigningKey) -> Vec<u8> {
        let (header, body) = self.encode();
        keeper.seal(Kind::Quarantine, &Self::name_of(self.number), header, body, maintenance)
    }

    /// Reads a record that the maintenance key signed.
    pub fn open(keeper: Keeper<'_>, name: &ObjectName, bytes: &[u8], by: VerifyingKey) -> Result<Self, ObjectError> {
        let (header, body) = keeper.open(Kind::Quarantine, name, bytes, by)?;
        Ok(Self::decode(&header, &body)?)
    }

    pub(super) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.number);
        });
        header.field(5, |w| self.at.write(w));
        let mut body = Writer::new();
        body.field(2, |w| {
            w.list(&self.objects, |w, (name, verdict)| {
                w.bytes(name.as_str().as_bytes()).varint(*verdict as u64);
            });
        });
        (header.finish(), body.finish())
    }

    pub(super) fn decode(header: &[u8], body: &[u8]) -> Result<Self, DecodeError> {
        let mut record = Self { number: 0, at: Time::default(), objects: Vec::new() };
        Reader::new(header, "quarantine record").fields(|tag, value| {
            match tag {
                2 => record.number = value.varint()?,
                5 => record.at = Time::read(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Reader::new(body, "quarantine record").fields(|tag, value| {
            let known = tag == 2;
            if known {
                record.objects = value.list(read_object)?;
            }
            Ok(known)
        })?;
        Ok(record)
    }
}

fn read_object(reader: &mut Reader<'_>) -> Result<(ObjectName, Verdict), DecodeError> {
    let name = ObjectName::new(reader.text()?).map_err(|_| reader.out_of_bounds())?;
    let verdict = match reader.varint()? {
        0 => Verdict::Sound,
        1 => Verdict::Missing,
        2 => Verdict::Damaged,
        tag => return Err(DecodeError::UnknownMandatory { what: "quarantine verdict", tag }),
    };
    Ok((name, verdict))
}
