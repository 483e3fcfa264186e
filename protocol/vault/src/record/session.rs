//! `w/…`: a run of a writer opens, lives and closes.

use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::VerifyingKey;
use crate::id::{MachineId, SessionId, VaultId};
use crate::keys::{MachineKeys, VaultKeys};
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Its recovery point exists.
    Committed = 1,
    /// A person stopped it; nothing of it is kept.
    Discarded = 2,
    /// It failed.
    Failed = 3,
}

/// What a session record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Registered, before the generation was read.
    Open,
    /// Alive.
    Heartbeat,
    /// Over.
    Closed(Outcome),
}

/// A record of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRecord {
    /// The writer.
    pub machine: MachineId,
    /// The session.
    pub session: SessionId,
    /// 0 for the record that opens it.
    pub counter: u32,
    /// What it says.
    pub state: State,
    /// The generation it builds on; 0 in the record that opens it.
    pub base: u64,
    /// The writer's clock.
    pub at: Time,
    /// In the record that opens it: the fenced session whose work it takes over.
    pub successor_of: Option<SessionId>,
}

impl SessionRecord {
    /// Where the record lies.
    pub fn name(&self) -> ObjectName {
        super::name(format!("w/{}/{}/{:08x}", self.machine, self.session, self.counter))
    }

    /// The object, signed by the machine.
    pub fn seal(&self, vault: VaultId, keys: &VaultKeys, machine: &MachineKeys) -> Vec<u8> {
        let name = self.name();
        super::seal_header(Kind::Session, vault, &name, self.encode(), keys, &machine.signing)
    }

    /// Reads a record that `signer` signed.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: &[u8],
        keys: &VaultKeys,
        signer: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let header = super::open_header(Kind::Session, vault, name, bytes, keys, signer)?;
        let counter = super::number_of(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(Self::decode(&header, counter)?)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (state, outcome) = match self.state {
            State::Open => (1, None),
            State::Heartbeat => (2, None),
            State::Closed(outcome) => (3, Some(outcome)),
        };
        let mut out = Writer::new();
        for (tag, id) in [(2, self.machine.as_bytes()), (4, self.session.as_bytes())] {
            out.field(tag, |w| {
                w.raw(id);
            });
        }
        out.field(6, |w| {
            w.varint(state);
        });
        out.field(8, |w| {
            w.varint(self.base);
        });
        out.field(9, |w| self.at.write(w));
        if let Some(outcome) = outcome {
            out.field(10, |w| {
                w.varint(outcome as u64);
            });
        }
        if let Some(before) = self.successor_of {
            out.field(11, |w| {
                w.raw(before.as_bytes());
            });
        }
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8], counter: u32) -> Result<Self, DecodeError> {
        let mut record = Self {
            machine: MachineId([0; 16]),
            session: SessionId([0; 16]),
            counter,
            state: State::Open,
            base: 0,
            at: Time::default(),
            successor_of: None,
        };
        let (mut state, mut outcome) = (0, Outcome::Failed);
        Reader::new(bytes, "session record").fields(|tag, value| {
            match tag {
                2 => record.machine = MachineId(value.array()?),
                4 => record.session = SessionId(value.array()?),
                6 => state = value.varint_max(3)?,
                8 => record.base = value.varint()?,
                9 => record.at = Time::read(value)?,
                10 => {
                    outcome = match value.varint_max(3)? {
                        1 => Outcome::Committed,
                        2 => Outcome::Discarded,
                        _ => Outcome::Failed,
                    };
                }
                11 => record.successor_of = Some(SessionId(value.array()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        record.state = match state {
            1 => State::Open,
            2 => State::Heartbeat,
            3 => State::Closed(outcome),
            _ => return Err(DecodeError::Missing { what: "the session's state" }),
        };
        Ok(record)
    }
}
