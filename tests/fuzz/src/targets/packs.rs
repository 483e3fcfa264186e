//! Packs: header, footer, blocks, end.

use super::objects::a_footer;
use super::sealed::{KEYS, MACHINE, VAULT};
use nightkeep_vault::crypto::{Cipher, SealingKeyPair, Secret};
use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::pack::{
    Area, BlockInfo, BlockType, Codec, Footer, Member, PackHeader, PackKeys, footer_and_trailer_bytes,
};
use nightkeep_vault::record::segment::SegmentPack;

/// Every key there is.
struct AllKeys;

impl PackKeys for AllKeys {
    fn vault_key(&self, epoch: u32) -> Option<SealingKeyPair> {
        (epoch < 3).then(|| KEYS.root.key_pair(VAULT, epoch))
    }

    fn meta_key(&self, _machine: MachineId, _epoch: u32) -> Option<Secret> {
        Some(KEYS.machine.meta.clone())
    }
}

pub(super) fn header(bytes: &[u8]) -> bool {
    let header = PackHeader::decode(bytes);
    if let Ok(header) = &header {
        let _ = header.ciphers(VAULT, &KEYS.vault.index, &AllKeys);
        let _ = header.open_footer(VAULT, &KEYS.vault.index, bytes);
    }
    let _ = SegmentPack::of_bytes(Area::Data, PackId([0; 32]), VAULT, &KEYS.vault, bytes);
    header.is_ok()
}

/// A header with these groups, each a list of envelopes.
fn header_of(groups: &[&[(u8, Vec<u8>)]]) -> Vec<u8> {
    let mut bytes = b"NKPACK1\0".to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[4; 32]);
    bytes.extend_from_slice(&(groups.len() as u16).to_le_bytes());
    for envelopes in groups {
        bytes.extend_from_slice(&[6; 32]);
        bytes.push(envelopes.len() as u8);
        for (kind, content) in *envelopes {
            bytes.push(*kind);
            bytes.extend_from_slice(&(content.len() as u16).to_le_bytes());
            bytes.extend_from_slice(content);
        }
    }
    let length = bytes.len() as u32;
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes
}

pub(super) fn header_seeds() -> Vec<Vec<u8>> {
    let sealed_to_vault = (1, [1u32.to_le_bytes().as_slice(), &[9; 80]].concat());
    let meta = (2, [&MACHINE.0[..], &1u32.to_le_bytes()].concat());
    let index = (3, Vec::new());
    vec![header_of(&[&[sealed_to_vault]]), header_of(&[&[meta], &[index]]), header_of(&[])]
}

pub(super) fn footer(bytes: &[u8]) -> bool {
    let Ok(footer) = Footer::decode(bytes, 100) else { return false };
    let again = Footer::decode(&footer.encode(), 100);
    assert_eq!(again.as_ref(), Ok(&footer), "a footer that was read is written and read again");
    true
}

pub(super) fn footer_seeds() -> Vec<Vec<u8>> {
    let mut padded = a_footer().encode();
    padded.resize(padded.len() + 40, 0);
    vec![a_footer().encode(), Footer::default().encode(), padded]
}

/// `u8 codec, u32 plain length, payload`, sealed as a block of a pack and opened.
pub(super) fn block(bytes: &[u8]) -> bool {
    let Some((head, payload)) = bytes.split_at_checked(5) else { return false };
    let header = header_of(&[&[(3, Vec::new())]]);
    let (Ok(header), salt) = (PackHeader::decode(&header), [6; 32]) else { return false };
    let Ok(ciphers) = header.ciphers(VAULT, &KEYS.vault.index, &AllKeys) else { return false };
    // The footer's reader checks this bound before a block is opened.
    let plain_bytes = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) % (4 << 20);
    let info = BlockInfo {
        block_type: BlockType::Chunk,
        codec: if head[0] % 2 == 0 { Codec::Stored } else { Codec::Zstd },
        group: 0,
        ordinal: 0,
        offset: header.bytes,
        sealed_bytes: payload.len() as u32 + 16,
        plain_bytes,
        members: vec![Member { id: BlobId([0; 32]), bytes: plain_bytes }],
    };
    let aad = [&VAULT.0[..], &salt, &0u32.to_le_bytes(), &[BlockType::Chunk as u8]].concat();
    let mut sealed = payload.to_vec();
    Cipher::new(&KEYS.vault.index.sub("pack key", &salt)).seal(0, &aad, &mut sealed);
    let Ok(plain) = header.open_block(VAULT, &ciphers, &info, &mut sealed) else { return false };
    assert_eq!(plain.len(), plain_bytes as usize, "a block has the length its footer says");
    true
}

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let text = b"the same words again and again, the same words again and again".as_slice();
    let frame = zstd::bulk::compress(text, 3).unwrap_or_default();
    let seed = |codec: u8, payload: &[u8]| [&[codec], (text.len() as u32).to_le_bytes().as_slice(), payload].concat();
    vec![seed(0, text), seed(1, &frame)]
}

pub(super) fn end(bytes: &[u8]) -> bool {
    footer_and_trailer_bytes(bytes).is_ok()
}

pub(super) fn end_seeds() -> Vec<Vec<u8>> {
    let end = [100u32.to_le_bytes().as_slice(), &7u32.to_le_bytes(), b"NKPEND1\0"].concat();
    vec![end.clone(), [[0; 100].as_slice(), &end].concat()]
}
