//! `keys/machine-…`: the public keys of a machine and its sealed `K_meta`.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{SealingKeyPair, SealingPublicKey, Secret, SigningKey, VerifyingKey};
use crate::id::{MachineId, VaultId};
use crate::keys::{MachineKeys, VaultKeys};
use crate::object::{Kind, ObjectError};
use crate::store::ObjectName;

/// Where machine records lie.
pub const PREFIX: &str = "keys/machine-";
const META_INFO: &str = "nightkeep k_meta v1";

/// A machine as its vault knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRecord {
    /// The machine.
    pub machine: MachineId,
    /// The name shown to people.
    pub name: String,
    /// Verifies its points and segments.
    pub signing: VerifyingKey,
    /// Keys released for a restore are sealed to this.
    pub sealing: Option<SealingPublicKey>,
    /// `K_meta`, sealed to the vault's public key; none when it is derived from the root.
    pub meta_sealed: Option<Vec<u8>>,
    /// The epoch `K_meta` is sealed to.
    pub epoch: u32,
    /// Its segments need no verification before others use them.
    pub owner_machine: bool,
}

impl MachineRecord {
    /// The record of a machine that no host enrolled.
    pub fn of_owner(keys: &MachineKeys) -> Self {
        Self {
            machine: keys.id,
            name: keys.name.clone(),
            signing: keys.signing.public(),
            sealing: None,
            meta_sealed: None,
            epoch: 1,
            owner_machine: true,
        }
    }

    /// Where the record of a machine lies.
    pub fn name_of(machine: MachineId) -> ObjectName {
        super::name(format!("{PREFIX}{machine}"))
    }

    /// Seals a machine's own `K_meta` to the vault's public key.
    pub fn seal_meta(
        machine: MachineId,
        vault_public: SealingPublicKey,
        meta: &Secret,
    ) -> Result<Vec<u8>, ObjectError> {
        vault_public.seal(META_INFO, machine.as_bytes(), meta.expose()).map_err(|_| ObjectError::Sealed)
    }

    /// Opens `K_meta` with the vault's private key; none when it is derived from the root.
    pub fn open_meta(&self, pair: &SealingKeyPair) -> Result<Option<Secret>, ObjectError> {
        let Some(sealed) = &self.meta_sealed else { return Ok(None) };
        let meta = pair.open(META_INFO, self.machine.as_bytes(), sealed).map_err(|_| ObjectError::Sealed)?;
        let meta: [u8; 32] = meta.try_into().map_err(|_| ObjectError::Sealed)?;
        Ok(Some(Secret::new(meta)))
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, vault: VaultId, keys: &VaultKeys, maintenance: &SigningKey) -> Vec<u8> {
        let name = Self::name_of(self.machine);
        super::seal_header(Kind::Machine, vault, &name, self.encode(), keys, maintenance)
    }

    /// Reads a record that the maintenance key signed.
    pub fn open(
        vault: VaultId,
        name: &ObjectName,
        bytes: &[u8],
        keys: &VaultKeys,
        maintenance: VerifyingKey,
    ) -> Result<Self, ObjectError> {
        let header = super::open_header(Kind::Machine, vault, name, bytes, keys, maintenance)?;
        Ok(Self::decode(&header)?)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.field(2, |w| {
            w.raw(self.machine.as_bytes());
        });
        out.field(4, |w| {
            w.raw(&self.signing.0);
        });
        if let Some(sealed) = &self.meta_sealed {
            out.field(6, |w| {
                w.raw(sealed);
            });
        }
        out.field(7, |w| {
            w.varint(self.epoch.into());
        });
        out.field(9, |w| {
            w.raw(self.name.as_bytes());
        });
        if let Some(sealing) = self.sealing {
            out.field(11, |w| {
                w.raw(&sealing.0);
            });
        }
        out.field(13, |w| {
            w.varint(self.owner_machine.into());
        });
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut record = Self {
            machine: MachineId([0; 16]),
            name: String::new(),
            signing: VerifyingKey([0; 32]),
            sealing: None,
            meta_sealed: None,
            epoch: 1,
            owner_machine: false,
        };
        Reader::new(bytes, "machine record").fields(|tag, value| {
            match tag {
                2 => record.machine = MachineId(value.array()?),
                4 => record.signing = VerifyingKey(value.array()?),
                6 => record.meta_sealed = Some(value.take(value.rest().len())?.to_vec()),
                7 => record.epoch = value.varint_max(u32::MAX.into())? as u32,
                9 => record.name = String::from_utf8_lossy(value.take(value.rest().len())?).into_owned(),
                11 => record.sealing = Some(SealingPublicKey(value.array()?)),
                13 => record.owner_machine = value.varint_max(1)? == 1,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(record)
    }
}
