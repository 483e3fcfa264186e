//! `r/…`: trash, undelete, forget, hold, release. They carry sequence and hash, so a machine's chain verifies over them.

use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::{SigningKey, VerifyingKey};
use crate::id::{MachineId, VaultId};
use crate::keys::VaultKeys;
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// Where retention records lie.
pub const PREFIX: &str = "r/";

/// What happens to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Hidden, can be undeleted for 14 days.
    Trash = 1,
    /// Back from the trash.
    Undelete = 2,
    /// No root any more; its space is collected.
    Forget = 3,
    /// May neither be trashed nor forgotten.
    Hold = 4,
    /// The hold ends.
    Release = 5,
}

/// One decision about a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRecord {
    /// The point's machine.
    pub machine: MachineId,
    /// The point's sequence.
    pub sequence: u64,
    /// Which decision about this point, from 0.
    pub counter: u32,
    /// The hash of the point's object.
    pub hash: [u8; 32],
    /// What is decided.
    pub action: Action,
    /// When.
    pub at: Time,
    /// Why, for people.
    pub reason: String,
}

impl RetentionRecord {
    /// Where the record lies.
    pub fn name(&self) -> ObjectName {
        super::name(format!("{PREFIX}{}/{:016x}-{:08x}", self.machine, self.sequence, self.counter))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, vault: VaultId, keys: &VaultKeys, maintenance: &SigningKey) -> Vec<u8> {
        let name = self.name();
        super::seal_header(Kind::Retention, vault, &name, self.encode(), keys, maintenance)
    }

    /// Reads a record that the maintenance key signed.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: &[u8],
        keys: &VaultKeys,
        maintenance: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let header = super::open_header(Kind::Retention, vault, name, bytes, keys, maintenance)?;
        let counter = super::number_of(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(Self::decode(&header, counter)?)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.field(2, |w| {
            w.raw(self.machine.as_bytes());
        });
        out.field(4, |w| {
            w.varint(self.sequence);
        });
        out.field(6, |w| {
            w.raw(&self.hash);
        });
        out.field(8, |w| {
            w.varint(self.action as u64);
        });
        out.field(9, |w| self.at.write(w));
        out.field(11, |w| {
            w.raw(self.reason.as_bytes());
        });
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8], counter: u32) -> Result<Self, DecodeError> {
        let mut record = Self {
            machine: MachineId([0; 16]),
            sequence: 0,
            counter,
            hash: [0; 32],
            action: Action::Trash,
            at: Time::default(),
            reason: String::new(),
        };
        let mut action = 0;
        Reader::new(bytes, "retention record").fields(|tag, value| {
            match tag {
                2 => record.machine = MachineId(value.array()?),
                4 => record.sequence = value.varint()?,
                6 => record.hash = value.array()?,
                8 => action = value.varint()?,
                9 => record.at = Time::read(value)?,
                11 => record.reason = String::from_utf8_lossy(value.take(value.rest().len())?).into_owned(),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        record.action = match action {
            1 => Action::Trash,
            2 => Action::Undelete,
            3 => Action::Forget,
            4 => Action::Hold,
            5 => Action::Release,
            other => return Err(DecodeError::UnknownMandatory { what: "retention action", tag: other }),
        };
        Ok(record)
    }
}
