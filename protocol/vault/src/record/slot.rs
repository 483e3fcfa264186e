//! `keys/slot-…`: the customer root, sealed under a passphrase.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Secret, open_once, random, seal_once};
use crate::id::VaultId;
use crate::keys::CustomerRoot;
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::store::ObjectName;
use argon2::{Algorithm, Argon2, Params, Version};

/// Where slots lie.
pub const PREFIX: &str = "keys/slot-";
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const MEMORY_KIB_MAX: u64 = 1 << 20;

/// A key slot as it lies in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it lies.
    pub name: ObjectName,
    /// What people call it.
    pub label: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    sealed_root: Vec<u8>,
}

/// Why a slot does not give the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The passphrase is not this slot's.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The slot's parameters cannot be used.
    #[error("the key slot's parameters are out of bounds")]
    Parameters,
}

impl Slot {
    /// Seals `root` under `passphrase`, with Argon2id over 64 MiB in 3 passes (RFC 9106, second recommended option).
    pub fn create(vault: VaultId, root: &CustomerRoot, passphrase: &str, label: &str) -> Result<Self, SlotError> {
        let name = super::name(format!("{PREFIX}{}", hex::encode(random::<8>())));
        let salt = random::<16>().to_vec();
        let mut slot = Self {
            name,
            label: label.to_owned(),
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: 1,
            salt,
            sealed_root: Vec::new(),
        };
        let key = slot.derive(passphrase)?;
        slot.sealed_root = seal_once(&key, &slot.aad(vault), root.expose());
        Ok(slot)
    }

    /// Opens the slot.
    pub fn unlock(&self, vault: VaultId, passphrase: &str) -> Result<CustomerRoot, SlotError> {
        let key = self.derive(passphrase)?;
        let root = open_once(&key, &self.aad(vault), &self.sealed_root).map_err(|_| SlotError::WrongPassphrase)?;
        let root: [u8; 32] = root.try_into().map_err(|_| SlotError::Parameters)?;
        Ok(CustomerRoot::from_bytes(root))
    }

    /// The object at rest.
    pub fn seal(&self, vault: VaultId) -> Vec<u8> {
        let draft = Draft { open: self.encode(), ..Draft::default() };
        draft.seal(Kind::KeySlot, Binding { vault, name: &self.name })
    }

    /// Reads a slot.
    pub fn open(name: ObjectName, bytes: &[u8]) -> Result<Self, ObjectError> {
        let object = Object::parse(bytes, Kind::KeySlot)?;
        Ok(Self::decode(name, object.open)?)
    }

    fn derive(&self, passphrase: &str) -> Result<Secret, SlotError> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| SlotError::Parameters)?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), &self.salt, &mut key)
            .map_err(|_| SlotError::Parameters)?;
        Ok(Secret::new(key))
    }

    fn aad(&self, vault: VaultId) -> Vec<u8> {
        [vault.as_bytes(), self.name.as_str().as_bytes()].concat()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        for (tag, number) in [(2, 1), (4, self.memory_kib), (6, self.passes), (8, self.lanes)] {
            out.field(tag, |w| {
                w.varint(number.into());
            });
        }
        for (tag, bytes) in [(10, self.salt.as_slice()), (11, self.label.as_bytes()), (12, &self.sealed_root)] {
            out.field(tag, |w| {
                w.raw(bytes);
            });
        }
        out.finish()
    }

    pub(super) fn decode(name: ObjectName, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (label, salt, sealed_root) = (String::new(), Vec::new(), Vec::new());
        let mut slot = Self { name, label, memory_kib: 0, passes: 0, lanes: 0, salt, sealed_root };
        Reader::new(bytes, "key slot").fields(|tag, value| {
            match tag {
                2 => {
                    let kdf = value.varint()?;
                    if kdf != 1 {
                        return Err(DecodeError::UnknownMandatory { what: "key derivation", tag: kdf });
                    }
                }
                4 => slot.memory_kib = value.varint_max(MEMORY_KIB_MAX)? as u32,
                6 => slot.passes = value.varint_max(16)? as u32,
                8 => slot.lanes = value.varint_max(16)? as u32,
                10 => slot.salt = value.take(value.rest().len())?.to_vec(),
                11 => slot.label = String::from_utf8_lossy(value.take(value.rest().len())?).into_owned(),
                12 => slot.sealed_root = value.take(value.rest().len())?.to_vec(),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(slot)
    }
}
