//! Key release: the keys of some points' packs, unwrapped by the vault's owner and sealed to one machine.
//!
//! A machine writes packs that it cannot open. For a restore the owner, or the host on an order, opens the keys of
//! exactly the packs that the wished points need and seals them to that machine's X25519 key (security.md, rule 4).
//!
//! **Invariant**: a release holds keys of groups, never the vault's private key or the root; and `K_meta` of a machine
//! only when another machine is to read that machine's catalogue.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{SealingKeyPair, SealingPublicKey, Secret};
use crate::id::{MachineId, PackId, VaultId};
use crate::object::ObjectError;
use crate::pack::Area;
use crate::reader::{BlockReader, CatalogueReader};
use crate::record::forward::Forwards;
use crate::record::point::Point;
use crate::vault::{Vault, VaultError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const INFO: &str = "nightkeep key release v1";

/// Keys that a machine was given for a restore.
#[derive(Clone, Default)]
pub struct ReleasedKeys {
    groups: HashMap<[u8; 32], Secret>,
    metas: BTreeMap<MachineId, Secret>,
}

impl std::fmt::Debug for ReleasedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReleasedKeys({} groups, {} machines)", self.groups.len(), self.metas.len())
    }
}

impl ReleasedKeys {
    /// Opens a release that was sealed to this machine's key pair.
    pub fn open(pair: &SealingKeyPair, vault: VaultId, machine: MachineId, sealed: &[u8]) -> Result<Self, ObjectError> {
        let plain = pair.open(INFO, &aad(vault, machine), sealed).map_err(|_| ObjectError::Sealed)?;
        Ok(Self::decode(&plain)?)
    }

    /// How many groups of packs it opens.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn group(&self, salt: &[u8; 32]) -> Option<&Secret> {
        self.groups.get(salt)
    }

    pub(crate) fn meta(&self, machine: MachineId) -> Option<&Secret> {
        self.metas.get(&machine)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let groups: BTreeMap<_, _> = self.groups.iter().collect();
        out.varint(groups.len() as u64);
        for (salt, key) in groups {
            out.raw(salt).raw(key.expose());
        }
        out.varint(self.metas.len() as u64);
        for (machine, meta) in &self.metas {
            out.raw(machine.as_bytes()).raw(meta.expose());
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, "key release");
        let groups = reader.list(|r| Ok((r.array()?, Secret::new(r.array()?))))?;
        let metas = reader.list(|r| Ok((MachineId(r.array()?), Secret::new(r.array()?))))?;
        reader.end()?;
        Ok(Self { groups: groups.into_iter().collect(), metas: metas.into_iter().collect() })
    }
}

/// Releases what `machine` needs to restore `points`, sealed to its public key. Needs the vault's root.
pub fn grant(
    vault: &Arc<Vault>,
    points: &[Point],
    machine: MachineId,
    to: SealingPublicKey,
) -> Result<Vec<u8>, VaultError> {
    let blocks = Arc::new(BlockReader::new(vault.clone()));
    let forwards = Forwards::of(&vault.newest_generation()?);
    let mut release = ReleasedKeys::default();
    for point in points {
        let of = point.header.machine;
        if of != machine {
            release.metas.insert(of, vault.meta_of(of)?);
        }
        for pack in data_packs(&blocks, point, &forwards)? {
            release.groups.extend(data_keys(vault, &blocks, pack)?);
        }
    }
    let sealed = to.seal(INFO, &aad(vault.id(), machine), &release.encode());
    sealed.map_err(|_| VaultError::NotOwner { operation: "sealing keys to a machine without a key of its own" })
}

fn data_packs(blocks: &Arc<BlockReader>, point: &Point, forwards: &Forwards) -> Result<BTreeSet<PackId>, VaultError> {
    let catalogue = CatalogueReader::open(blocks.clone(), point.clone())?;
    let mut packs = BTreeSet::new();
    for leaf in catalogue.references()?.leaves {
        packs.extend(catalogue.leaf(&leaf)?.iter().map(|(pack, block)| forwards.follow(pack, block).0));
    }
    Ok(packs)
}

fn data_keys(vault: &Arc<Vault>, blocks: &BlockReader, id: PackId) -> Result<Vec<([u8; 32], Secret)>, VaultError> {
    let pack = blocks.open(Area::Data, id)?;
    let keys = pack.header().data_keys(vault.id(), &**vault);
    keys.map_err(|source| VaultError::Pack { name: Area::Data.name(id), source })
}

fn aad(vault: VaultId, machine: MachineId) -> Vec<u8> {
    [vault.as_bytes(), machine.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot seal has failed")]
    use super::*;

    #[test]
    fn a_release_opens_for_its_machine_and_vault_alone() {
        let (pair, other) = (SealingKeyPair::derive(&Secret::generate()), SealingKeyPair::derive(&Secret::generate()));
        let (vault, machine) = (VaultId([1; 16]), MachineId([2; 16]));
        let groups = [([3; 32], Secret::new([4; 32]))].into();
        let release = ReleasedKeys { groups, metas: [(MachineId([5; 16]), Secret::new([6; 32]))].into() };
        let sealed = pair.public().seal(INFO, &aad(vault, machine), &release.encode()).unwrap();
        let opened = ReleasedKeys::open(&pair, vault, machine, &sealed).unwrap();
        assert_eq!(opened.group(&[3; 32]), Some(&Secret::new([4; 32])));
        assert_eq!(opened.meta(MachineId([5; 16])), Some(&Secret::new([6; 32])));
        assert!(ReleasedKeys::open(&other, vault, machine, &sealed).is_err());
        assert!(ReleasedKeys::open(&pair, VaultId([9; 16]), machine, &sealed).is_err());
        assert!(ReleasedKeys::open(&pair, vault, MachineId([9; 16]), &sealed).is_err());
    }
}
