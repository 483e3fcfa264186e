//! `keys/epoch-…`: a new vault key pair, to which packs are sealed from now on.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{SealingPublicKey, SigningKey, VerifyingKey};
use crate::id::VaultId;
use crate::keys::VaultKeys;
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// Where epochs lie.
pub const PREFIX: &str = "keys/epoch-";

/// The public part of an epoch's key pair. Epoch 1 is in the configuration; records begin with 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub number: u32,
    /// Packs are sealed to this.
    pub public: SealingPublicKey,
}

impl Epoch {
    /// Where the record lies.
    pub fn name(&self) -> ObjectName {
        super::name(format!("{PREFIX}{:08x}", self.number))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, vault: VaultId, keys: &VaultKeys, maintenance: &SigningKey) -> Vec<u8> {
        let name = self.name();
        let mut header = Writer::new();
        header.field(2, |w| {
            w.varint(self.number.into());
        });
        header.field(4, |w| {
            w.raw(&self.public.0);
        });
        header.field(6, |w| {
            w.raw(&maintenance.public().0);
        });
        super::seal_header(Kind::Epoch, vault, &name, header.finish(), keys, maintenance)
    }

    /// Reads a record that the maintenance key signed.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: &[u8],
        keys: &VaultKeys,
        maintenance: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let header = super::open_header(Kind::Epoch, vault, name, bytes, keys, maintenance)?;
        let (mut number, mut public) = (0, None);
        Reader::new(&header, "vault epoch").fields(|tag, value| {
            match tag {
                2 => number = value.varint_max(u32::MAX.into())? as u32,
                4 => public = Some(SealingPublicKey(value.array()?)),
                6 => drop(value.array::<32>()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let epoch = Self { number, public: public.ok_or(DecodeError::Missing { what: "the epoch's public key" })? };
        if epoch.name() == *name { Ok(epoch) } else { Err(ObjectError::Frame("the epoch's name is not its number")) }
    }
}
