//! `cfg/1`: what a vault is.

use crate::codec::{DecodeError, Reader, Time, Writer};
use crate::crypto::{SealingPublicKey, SigningKey, VerifyingKey};
use crate::id::VaultId;
use crate::object::{Binding, Draft, Kind, Object, ObjectError};
use crate::store::ObjectName;

/// The format this version reads and writes.
pub const FORMAT: u64 = 1;

/// Who keeps the vault's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Custody {
    /// The person at the command line; there is no host.
    Owner = 1,
    /// The host, under its master key: recovery from the console works at once.
    Managed = 2,
    /// Nobody but passphrase and sheet; the host collects garbage and scrubs.
    Private = 3,
}

/// Where files are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkerParams {
    /// No chunk but a file's last is shorter, in bytes.
    pub min: u32,
    /// Below this length a cut is rarer, above it more likely.
    pub normal: u32,
    /// No chunk is longer.
    pub max: u32,
}

impl Default for ChunkerParams {
    fn default() -> Self {
        Self { min: 128 << 10, normal: 512 << 10, max: 2 << 20 }
    }
}

/// The configuration of a vault; written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The vault.
    pub vault: VaultId,
    /// Where files are cut.
    pub chunker: ChunkerParams,
    /// Files up to this length lie in the catalogue, in bytes.
    pub inline_bytes_max: u32,
    /// Files up to this length are one chunk each and bundled, in bytes.
    pub small_file_bytes_max: u32,
    /// The vault's public key of epoch 1.
    pub vault_public: SealingPublicKey,
    /// Verifies what host or owner signs.
    pub maintenance_public: VerifyingKey,
    /// When it was made.
    pub created: Time,
    /// Who keeps the root.
    pub custody: Custody,
}

impl Config {
    /// Where it lies.
    pub fn name() -> ObjectName {
        super::name("cfg/1".into())
    }

    /// The object, signed with the maintenance key.
    pub fn seal(&self, maintenance: &SigningKey) -> Vec<u8> {
        let name = Self::name();
        let draft = Draft { open: self.encode(), signer: Some(maintenance), ..Draft::default() };
        draft.seal(Kind::Config, Binding { vault: self.vault, name: &name })
    }

    /// Reads the object and checks that the maintenance key it names signed it. Whether that key is the right one is
    /// the caller's check, against the root or what was pinned.
    pub fn open(bytes: &[u8]) -> Result<Self, ObjectError> {
        let object = Object::parse(bytes, Kind::Config)?;
        let config = Self::decode(object.open)?;
        object.verify(Binding { vault: config.vault, name: &Self::name() }, config.maintenance_public)?;
        Ok(config)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.field(2, |w| {
            w.raw(self.vault.as_bytes());
        });
        out.field(4, |w| {
            w.varint(FORMAT);
        });
        out.field(6, |w| {
            w.varint(0);
        });
        out.field(8, |w| {
            let chunker = self.chunker;
            w.varint(1).varint(chunker.min.into()).varint(chunker.normal.into()).varint(chunker.max.into());
        });
        out.field(10, |w| {
            w.varint(self.inline_bytes_max.into());
        });
        out.field(12, |w| {
            w.varint(self.small_file_bytes_max.into());
        });
        out.field(14, |w| {
            w.raw(&self.vault_public.0);
        });
        out.field(16, |w| {
            w.raw(&self.maintenance_public.0);
        });
        out.field(17, |w| self.created.write(w));
        out.field(18, |w| {
            w.varint(self.custody as u64);
        });
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut config = Self {
            vault: VaultId([0; 16]),
            chunker: ChunkerParams::default(),
            inline_bytes_max: 0,
            small_file_bytes_max: 0,
            vault_public: SealingPublicKey([0; 32]),
            maintenance_public: VerifyingKey([0; 32]),
            created: Time::default(),
            custody: Custody::Owner,
        };
        let mut format = 0;
        Reader::new(bytes, "vault configuration").fields(|tag, value| {
            match tag {
                2 => config.vault = VaultId(value.array()?),
                4 => format = value.varint()?,
                6 => refuse_unknown_features("vault configuration", value)?,
                7 => {
                    value.list(Reader::varint)?;
                }
                8 => config.chunker = decode_chunker(value)?,
                10 => config.inline_bytes_max = value.varint_max(64 << 10)? as u32,
                12 => config.small_file_bytes_max = value.varint_max(1 << 20)? as u32,
                14 => config.vault_public = SealingPublicKey(value.array()?),
                16 => config.maintenance_public = VerifyingKey(value.array()?),
                17 => config.created = Time::read(value)?,
                18 => config.custody = decode_custody(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if format != FORMAT {
            return Err(DecodeError::UnknownMandatory { what: "vault format", tag: format });
        }
        Ok(config)
    }
}

/// Reads a list of mandatory features; this version knows none yet, so any refuses the object.
pub(crate) fn refuse_unknown_features(what: &'static str, value: &mut Reader<'_>) -> Result<(), DecodeError> {
    match value.list(Reader::varint)?.first() {
        Some(feature) => Err(DecodeError::UnknownMandatory { what, tag: *feature }),
        None => Ok(()),
    }
}

fn decode_chunker(value: &mut Reader<'_>) -> Result<ChunkerParams, DecodeError> {
    let id = value.varint()?;
    if id != 1 {
        return Err(DecodeError::UnknownMandatory { what: "chunker", tag: id });
    }
    let mut length = || value.varint_max(4 << 20).map(|length| length as u32);
    let params = ChunkerParams { min: length()?, normal: length()?, max: length()? };
    if params.min < 64 || params.min > params.normal || params.normal > params.max {
        return Err(value.out_of_bounds());
    }
    Ok(params)
}

fn decode_custody(value: &mut Reader<'_>) -> Result<Custody, DecodeError> {
    match value.varint()? {
        1 => Ok(Custody::Owner),
        2 => Ok(Custody::Managed),
        3 => Ok(Custody::Private),
        other => Err(DecodeError::UnknownMandatory { what: "custody", tag: other }),
    }
}
