//! Packs: blocks of one or more key groups, a sealed footer that tells what they are, a trailer.
//!
//! **Invariant**: a block's nonce is its ordinal within its group, and a group's key comes from a fresh salt.

mod copy;
mod footer;

pub use copy::PackCopy;
pub use footer::{BlockInfo, BlockType, Codec, Footer, Member};

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{
    Cipher, OpenError, SealingKeyPair, SealingPublicKey, Secret, TAG_BYTES, open_once, random, seal_once,
};
use crate::id::{MachineId, PackId, VaultId};
use crate::store::{NameError, ObjectName};
use std::cell::RefCell;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"NKPACK1\0";
const END_MAGIC: &[u8; 8] = b"NKPEND1\0";
const TRAILER_BYTES: usize = 16;
const ENVELOPE_INFO: &str = "nightkeep pack key v1";
/// The largest pack a reader accepts.
pub const PACK_BYTES_MAX: u64 = 128 << 20;
/// The largest plaintext of a block.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
const BLOCKS_MAX: usize = 65_536;
const GROUPS_MAX: usize = 64;

/// Where a pack lies: with data, or with metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// `p/`: chunks and bundles.
    Data,
    /// `m/`: catalogues and references.
    Meta,
}

impl Area {
    /// The letter in names and segments.
    pub fn letter(self) -> char {
        match self {
            Area::Data => 'p',
            Area::Meta => 'm',
        }
    }

    /// The name of a pack in this area.
    pub fn name(self, pack: PackId) -> ObjectName {
        let hex = pack.to_string();
        let name: Result<ObjectName, NameError> = ObjectName::new(format!("{}/{}/{hex}", self.letter(), &hex[..2]));
        name.expect("a letter and hexadecimal digits are a name")
    }
}

/// Why a pack, or a block of it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The frame is not that of a whole pack.
    #[error("torn or foreign pack: {0}")]
    Frame(&'static str),
    /// The bytes are not what the pack's name says.
    #[error("the pack's bytes do not match its name")]
    Hash,
    /// Footer or block does not open.
    #[error("{0} does not open: wrong key, or changed bytes")]
    Sealed(&'static str),
    /// The key for data packs is not at hand on this machine.
    #[error("this machine may not open data: the key of the vault is needed (passphrase, key file or a restore grant)")]
    NoKey,
    /// A block does not decompress to its stated length.
    #[error("a block does not decompress")]
    Decompress,
    /// Decrypted content has another id than its footer says.
    #[error("content does not match its id")]
    Content,
    /// The content is not what the format says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The key of a pack group, as its writer holds it.
pub struct GroupKey {
    salt: [u8; 32],
    cipher: Cipher,
    envelope: (u8, Vec<u8>),
}

impl GroupKey {
    /// A fresh data group, sealed to the vault's public key: the writer itself cannot open it later.
    pub fn for_data(vault: VaultId, public: SealingPublicKey, epoch: u32) -> Result<Self, OpenError> {
        let (salt, key): ([u8; 32], _) = (random(), Secret::generate());
        let mut envelope = epoch.to_le_bytes().to_vec();
        envelope.extend(public.seal(ENVELOPE_INFO, &[vault.as_bytes(), &salt].concat(), key.expose())?);
        Ok(Self { salt, cipher: Cipher::new(&key), envelope: (1, envelope) })
    }

    /// A fresh catalogue group of a machine.
    pub fn for_catalogue(machine: MachineId, epoch: u32, meta: &Secret) -> Self {
        let salt: [u8; 32] = random();
        let envelope = [machine.as_bytes(), &epoch.to_le_bytes()].concat();
        Self { salt, cipher: Cipher::new(&meta.sub("pack key", &salt)), envelope: (2, envelope) }
    }

    /// A fresh group of references.
    pub fn for_references(index: &Secret) -> Self {
        let salt: [u8; 32] = random();
        Self { salt, cipher: Cipher::new(&index.sub("pack key", &salt)), envelope: (3, Vec::new()) }
    }
}

/// Who can open pack groups, by envelope.
pub trait PackKeys: Send + Sync {
    /// The vault's private key of an epoch, where it is at hand.
    fn vault_key(&self, epoch: u32) -> Option<SealingKeyPair>;
    /// `K_meta` of a machine, where it is at hand.
    fn meta_key(&self, machine: MachineId, epoch: u32) -> Option<Secret>;
    /// The key of one group, released to its holder alone.
    fn released(&self, _group_salt: &[u8; 32]) -> Option<Secret> {
        None
    }
}

/// Builds one pack in memory. Sealed blocks are appended; the pack ends with [`PackWriter::finish`].
pub struct PackWriter {
    vault: VaultId,
    salt: [u8; 32],
    groups: Vec<GroupKey>,
    next_ordinals: Vec<u32>,
    bytes: Vec<u8>,
    header_bytes: usize,
    blocks: Vec<BlockInfo>,
}

/// A finished pack, ready to be put.
#[derive(Debug, Clone)]
pub struct FinishedPack {
    /// Its name's hash.
    pub id: PackId,
    /// The bytes at rest; shared, so that a store sends them without a copy.
    pub bytes: Arc<Vec<u8>>,
    /// What it holds.
    pub footer: Footer,
}

/// A block before it is sealed: plaintext already compressed where that helps.
#[derive(Debug, Clone)]
pub struct PreparedBlock {
    /// What it holds.
    pub block_type: BlockType,
    /// How `payload` was compressed.
    pub codec: Codec,
    /// The bytes to seal.
    pub payload: Vec<u8>,
    /// Length before compression.
    pub plain_bytes: u32,
    /// What is inside, in order.
    pub members: Vec<Member>,
}

impl PackWriter {
    /// An empty pack with its key groups; `bytes_expected` is reserved at once, so that it never grows by copying.
    pub fn new(vault: VaultId, groups: Vec<GroupKey>, bytes_expected: usize) -> Self {
        Self::in_buffer(vault, groups, Vec::with_capacity(bytes_expected))
    }

    /// The same in the memory of an earlier pack; what `buffer` holds is forgotten.
    pub fn in_buffer(vault: VaultId, groups: Vec<GroupKey>, buffer: Vec<u8>) -> Self {
        let salt: [u8; 32] = random();
        let mut bytes = buffer;
        bytes.clear();
        let header_bytes =
            begin(&mut bytes, &salt, groups.iter().map(|group| (&group.salt, std::slice::from_ref(&group.envelope))));
        let next_ordinals = vec![0; groups.len()];
        Self { vault, salt, groups, next_ordinals, bytes, header_bytes, blocks: Vec::new() }
    }

    /// How many bytes the pack holds so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no block was added.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether another block of `payload_bytes` would pass a bound of the format or the wished size.
    pub fn is_full_for(&self, payload_bytes: usize, pack_bytes: usize) -> bool {
        !self.is_empty() && (self.len() + payload_bytes > pack_bytes || self.blocks.len() >= BLOCKS_MAX)
    }

    /// Seals a block into the pack, under the key of `group`; answers its place among the blocks.
    pub fn append(&mut self, group: u16, block: PreparedBlock) -> u32 {
        let key = &self.groups[usize::from(group)];
        let ordinal = self.next_ordinals[usize::from(group)];
        self.next_ordinals[usize::from(group)] += 1;
        let mut payload = block.payload;
        key.cipher.seal(ordinal, &block_aad(self.vault, &key.salt, ordinal, block.block_type), &mut payload);
        let info = BlockInfo {
            block_type: block.block_type,
            codec: block.codec,
            group,
            ordinal,
            offset: self.bytes.len() as u32,
            sealed_bytes: payload.len() as u32,
            plain_bytes: block.plain_bytes,
            members: block.members,
        };
        self.bytes.extend_from_slice(&payload);
        self.blocks.push(info);
        self.blocks.len() as u32 - 1
    }

    /// Seals the footer and names the pack.
    pub fn finish(self, index_key: &Secret) -> FinishedPack {
        finish(self.vault, &self.salt, self.bytes, self.header_bytes, Footer { blocks: self.blocks }, index_key)
    }
}

/// Writes the header of a pack with these groups, each a salt and its envelopes; answers its length.
fn begin<'g, G>(bytes: &mut Vec<u8>, salt: &[u8; 32], groups: G) -> usize
where
    G: ExactSizeIterator<Item = (&'g [u8; 32], &'g [(u8, Vec<u8>)])>,
{
    let mut header = Writer::new();
    header.raw(salt).u16(groups.len() as u16);
    for (salt, envelopes) in groups {
        header.raw(salt).u8(envelopes.len() as u8);
        for (kind, content) in envelopes {
            header.u8(*kind).u16(content.len() as u16).raw(content);
        }
    }
    let header_bytes = MAGIC.len() + 4 + header.len();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(header_bytes as u32).to_le_bytes());
    bytes.extend_from_slice(header.as_slice());
    header_bytes
}

/// Adds the sealed footer and the trailer behind the blocks.
fn finish(
    vault: VaultId,
    salt: &[u8; 32],
    mut bytes: Vec<u8>,
    header_bytes: usize,
    footer: Footer,
    index_key: &Secret,
) -> FinishedPack {
    let mut plain = footer.encode();
    let unpadded = bytes.len() + plain.len() + TAG_BYTES + TRAILER_BYTES;
    plain.resize(plain.len() + padding(unpadded), 0);
    let header_hash = blake3::hash(&bytes[..header_bytes]);
    let sealed = seal_once(&index_key.sub("pack footer", salt), &footer_aad(vault, header_hash), &plain);
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&sealed).to_le_bytes());
    bytes.extend_from_slice(END_MAGIC);
    FinishedPack { id: PackId(*blake3::hash(&bytes).as_bytes()), bytes: Arc::new(bytes), footer }
}

/// How many bytes are missing to the next size that a pack may show.
fn padding(bytes: usize) -> usize {
    let granule = (1usize << bytes.ilog2().saturating_sub(4)).clamp(256, 65_536);
    bytes.next_multiple_of(granule) - bytes
}

fn footer_aad(vault: VaultId, header_hash: blake3::Hash) -> Vec<u8> {
    [vault.as_bytes(), header_hash.as_bytes().as_slice()].concat()
}

fn block_aad(vault: VaultId, salt: &[u8; 32], ordinal: u32, block_type: BlockType) -> Vec<u8> {
    [vault.as_bytes(), salt, &ordinal.to_le_bytes(), &[block_type as u8]].concat()
}

/// The open part of a pack: its salt and its groups.
#[derive(Debug, Clone)]
pub struct PackHeader {
    salt: [u8; 32],
    groups: Vec<GroupHeader>,
    hash: blake3::Hash,
    /// Length of the header, where the blocks begin.
    pub bytes: u32,
}

#[derive(Debug, Clone)]
struct GroupHeader {
    salt: [u8; 32],
    envelopes: Vec<(u8, Vec<u8>)>,
}

/// How many bytes from the start of a pack surely hold its header, for one ranged read.
pub const HEADER_READ_BYTES: u64 = 4096;

impl PackHeader {
    /// Reads the header from the first bytes of a pack.
    pub fn decode(start: &[u8]) -> Result<Self, PackError> {
        let mut reader = Reader::new(start, "pack header");
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(PackError::Frame("no pack begins here"));
        }
        let bytes = reader.u32()?;
        let salt = reader.array()?;
        let count = usize::from(reader.u16()?);
        if count > GROUPS_MAX {
            return Err(PackError::Frame("too many groups"));
        }
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            let salt = reader.array()?;
            let mut envelopes = Vec::new();
            for _ in 0..reader.u8()? {
                let kind = reader.u8()?;
                let length = usize::from(reader.u16()?);
                envelopes.push((kind, reader.take(length)?.to_vec()));
            }
            groups.push(GroupHeader { salt, envelopes });
        }
        if start.len() - reader.rest().len() != bytes as usize {
            return Err(PackError::Frame("the header's length is wrong"));
        }
        Ok(Self { salt, groups, hash: blake3::hash(&start[..bytes as usize]), bytes })
    }

    /// Reads the header from bytes that begin with it and may hold more.
    pub fn decode_start(start: &[u8]) -> Result<Self, PackError> {
        let length = start.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let header = length.and_then(|length| start.get(..length));
        Self::decode(header.ok_or(PackError::Frame("no pack begins here"))?)
    }

    /// Salt and key of every data group that the vault's key opens, to be released one by one.
    pub(crate) fn data_keys(&self, vault: VaultId, keys: &dyn PackKeys) -> Result<Vec<([u8; 32], Secret)>, PackError> {
        let mut found = Vec::new();
        for group in &self.groups {
            for (_, content) in group.envelopes.iter().filter(|(kind, _)| *kind == 1) {
                found.extend(group.open_envelope(vault, keys, content)?.map(|key| (group.salt, key)));
            }
        }
        Ok(found)
    }

    /// The machines whose catalogues lie in this pack, as its envelopes name them.
    pub fn catalogue_machines(&self) -> impl Iterator<Item = MachineId> {
        let envelopes = self.groups.iter().flat_map(|group| &group.envelopes);
        let named = envelopes.filter(|(kind, _)| *kind == 2);
        named.filter_map(|(_, content)| Reader::new(content, "catalogue envelope").array().ok().map(MachineId))
    }

    /// The cipher of every group that `keys` opens; none where no key is at hand.
    pub fn ciphers(
        &self,
        vault: VaultId,
        index: &Secret,
        keys: &dyn PackKeys,
    ) -> Result<Vec<Option<Cipher>>, PackError> {
        self.groups.iter().map(|group| group.cipher(vault, index, keys)).collect()
    }

    /// Opens and decodes the footer from the last bytes of the pack (at least footer and trailer).
    pub fn open_footer(&self, vault: VaultId, index: &Secret, end: &[u8]) -> Result<Footer, PackError> {
        let sealed = sealed_footer(end)?;
        let plain = open_once(&index.sub("pack footer", &self.salt), &footer_aad(vault, self.hash), sealed)
            .map_err(|_| PackError::Sealed("the footer"))?;
        Ok(Footer::decode(&plain, self.bytes)?)
    }

    /// Opens a block; its content is not held against its ids yet.
    pub fn open_block(
        &self,
        vault: VaultId,
        ciphers: &[Option<Cipher>],
        info: &BlockInfo,
        sealed: &mut [u8],
    ) -> Result<Vec<u8>, PackError> {
        let mut plain = Vec::new();
        self.open_block_into(vault, ciphers, info, sealed, &mut plain)?;
        Ok(plain)
    }

    /// Opens a block into a buffer that is used again and again.
    pub fn open_block_into(
        &self,
        vault: VaultId,
        ciphers: &[Option<Cipher>],
        info: &BlockInfo,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let group = self.groups.get(usize::from(info.group)).ok_or(PackError::Frame("a block of no group"))?;
        let cipher = ciphers.get(usize::from(info.group)).and_then(Option::as_ref).ok_or(PackError::NoKey)?;
        let aad = block_aad(vault, &group.salt, info.ordinal, info.block_type);
        let payload = cipher.open(info.ordinal, &aad, sealed).map_err(|_| PackError::Sealed("a block"))?;
        decompress(info.codec, payload, info.plain_bytes as usize, plain)
    }
}

thread_local! {
    /// A context costs more to make than a small block to open.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Gives back at most the stated length, whatever a frame claims: the footer bounded it.
fn decompress(codec: Codec, payload: &[u8], plain_bytes: usize, plain: &mut Vec<u8>) -> Result<(), PackError> {
    plain.clear();
    match codec {
        Codec::Stored => plain.extend_from_slice(payload),
        Codec::Zstd => {
            plain.reserve(plain_bytes);
            ZSTD.with_borrow_mut(|context| {
                if context.is_none() {
                    *context = zstd::bulk::Decompressor::new().ok();
                }
                let context = context.as_mut().ok_or(PackError::Decompress)?;
                context.decompress_to_buffer(payload, plain).map_err(|_| PackError::Decompress)
            })?;
        }
    }
    if plain.len() == plain_bytes { Ok(()) } else { Err(PackError::Decompress) }
}

impl GroupHeader {
    fn cipher(&self, vault: VaultId, index: &Secret, keys: &dyn PackKeys) -> Result<Option<Cipher>, PackError> {
        if let Some(key) = keys.released(&self.salt) {
            return Ok(Some(Cipher::new(&key)));
        }
        for (kind, content) in &self.envelopes {
            let key = match kind {
                1 => self.open_envelope(vault, keys, content)?,
                2 => {
                    let mut reader = Reader::new(content, "catalogue envelope");
                    let (machine, epoch) = (MachineId(reader.array()?), reader.u32()?);
                    keys.meta_key(machine, epoch).map(|meta| meta.sub("pack key", &self.salt))
                }
                3 => Some(index.sub("pack key", &self.salt)),
                _ => None,
            };
            if let Some(key) = key {
                return Ok(Some(Cipher::new(&key)));
            }
        }
        Ok(None)
    }

    fn open_envelope(&self, vault: VaultId, keys: &dyn PackKeys, content: &[u8]) -> Result<Option<Secret>, PackError> {
        let mut reader = Reader::new(content, "pack key envelope");
        let epoch = reader.u32()?;
        let Some(pair) = keys.vault_key(epoch) else { return Ok(None) };
        let key = pair
            .open(ENVELOPE_INFO, &[vault.as_bytes(), &self.salt].concat(), reader.rest())
            .map_err(|_| PackError::Sealed("the pack's key"))?;
        let key: [u8; 32] = key.try_into().map_err(|_| PackError::Sealed("the pack's key"))?;
        Ok(Some(Secret::new(key)))
    }
}

/// How many bytes the footer and trailer take, read from the last bytes of a pack (at least 16).
pub fn footer_and_trailer_bytes(end: &[u8]) -> Result<u64, PackError> {
    let trailer = end.len().checked_sub(TRAILER_BYTES).ok_or(PackError::Frame("its end is missing"))?;
    let trailer = &end[trailer..];
    if &trailer[8..] != END_MAGIC {
        return Err(PackError::Frame("its end is missing"));
    }
    let footer = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]);
    Ok(u64::from(footer) + TRAILER_BYTES as u64)
}

fn sealed_footer(end: &[u8]) -> Result<&[u8], PackError> {
    let bytes = footer_and_trailer_bytes(end)? as usize;
    let start = end.len().checked_sub(bytes).ok_or(PackError::Frame("its footer is missing"))?;
    let (sealed, trailer) = end[start..].split_at(bytes - TRAILER_BYTES);
    if crc32c::crc32c(sealed).to_le_bytes() != trailer[4..8] {
        return Err(PackError::Frame("its footer's checksum differs"));
    }
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use crate::id::BlobId;
    use proptest::prelude::*;

    struct Keys(SealingKeyPair, Secret);

    impl PackKeys for Keys {
        fn vault_key(&self, epoch: u32) -> Option<SealingKeyPair> {
            (epoch == 1).then(|| self.0.clone())
        }
        fn meta_key(&self, _: MachineId, _: u32) -> Option<Secret> {
            Some(self.1.clone())
        }
    }

    const VAULT: VaultId = VaultId([3; 16]);

    fn sample(keys: &Keys, index: &Secret) -> FinishedPack {
        let data = GroupKey::for_data(VAULT, keys.0.public(), 1).unwrap();
        let catalogue = GroupKey::for_catalogue(MachineId([1; 16]), 1, &keys.1);
        let mut writer = PackWriter::new(VAULT, vec![data, catalogue], 0);
        let member = |n, bytes| Member { id: BlobId([n; 32]), bytes };
        writer.append(
            0,
            PreparedBlock {
                block_type: BlockType::Bundle,
                codec: Codec::Stored,
                payload: b"firstsecond".to_vec(),
                plain_bytes: 11,
                members: vec![member(1, 5), member(2, 6)],
            },
        );
        writer.append(
            1,
            PreparedBlock {
                block_type: BlockType::Hunk,
                codec: Codec::Zstd,
                payload: zstd::bulk::compress(&[9; 1000], 3).unwrap(),
                plain_bytes: 1000,
                members: vec![member(3, 1000)],
            },
        );
        writer.finish(index)
    }

    fn read(pack: &[u8], keys: &Keys, index: &Secret) -> Result<Vec<Vec<u8>>, PackError> {
        let header = PackHeader::decode(pack_start(pack))?;
        let footer = header.open_footer(VAULT, index, pack)?;
        let ciphers = header.ciphers(VAULT, index, keys)?;
        footer
            .blocks
            .iter()
            .map(|block| {
                let range = block.offset as usize..(block.offset + block.sealed_bytes) as usize;
                header.open_block(VAULT, &ciphers, block, &mut pack[range].to_vec())
            })
            .collect()
    }

    fn pack_start(pack: &[u8]) -> &[u8] {
        let bytes = u32::from_le_bytes([pack[8], pack[9], pack[10], pack[11]]);
        &pack[..(bytes as usize).min(pack.len())]
    }

    #[test]
    fn a_pack_gives_back_its_blocks_and_hides_their_sizes() {
        let (keys, index) = (Keys(SealingKeyPair::derive(&Secret::generate()), Secret::generate()), Secret::generate());
        let pack = sample(&keys, &index);
        assert_eq!(pack.bytes.len() % 256, 0);
        assert_eq!(pack.id, PackId(*blake3::hash(&pack.bytes).as_bytes()));
        assert_eq!(read(&pack.bytes, &keys, &index).unwrap(), [b"firstsecond".to_vec(), vec![9; 1000]]);
    }

    #[test]
    fn a_machine_without_the_private_key_opens_no_data() {
        struct Nothing;
        impl PackKeys for Nothing {
            fn vault_key(&self, _: u32) -> Option<SealingKeyPair> {
                None
            }
            fn meta_key(&self, _: MachineId, _: u32) -> Option<Secret> {
                None
            }
        }
        let (keys, index) = (Keys(SealingKeyPair::derive(&Secret::generate()), Secret::generate()), Secret::generate());
        let pack = sample(&keys, &index);
        let header = PackHeader::decode(pack_start(&pack.bytes)).unwrap();
        let footer = header.open_footer(VAULT, &index, &pack.bytes).unwrap();
        let ciphers = header.ciphers(VAULT, &index, &Nothing).unwrap();
        let opened = header.open_block(VAULT, &ciphers, &footer.blocks[0], &mut []);
        assert_eq!(opened, Err(PackError::NoKey));
    }

    proptest! {
        #[test]
        fn arbitrary_footers_and_headers_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Footer::decode(&bytes, 100);
            prop_assert!(PackHeader::decode(&bytes).is_err());
            let _ = sealed_footer(&bytes);
        }

        #[test]
        fn changed_packs_are_refused_without_a_panic(at in 0usize..1300, bit in 0u8..8) {
            let (keys, index) = (Keys(SealingKeyPair::derive(&Secret::new([1; 32])), Secret::new([2; 32])), Secret::new([3; 32]));
            let mut pack = sample(&keys, &index).bytes.to_vec();
            let at = at % pack.len();
            pack[at] ^= 1 << bit;
            prop_assert!(read(&pack, &keys, &index).is_err());
        }
    }
}
