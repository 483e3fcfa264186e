//! Catalogue and references: what a machine's own key opens, and what the collector reads.

use nightkeep_vault::catalogue::{
    Content, ContentListRef, Entry, EntryKind, Extras, HunkRef, HunkWriter, Piece, compare_paths, decode_content_list,
    decode_hunk, decode_hunk_list, encode_content_list, encode_hunk_list,
};
use nightkeep_vault::codec::Time;
use nightkeep_vault::crypto::Secret;
use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::references::{Leaf, Root};

use super::sealed::MACHINE;

pub(super) fn hunk(bytes: &[u8]) -> bool {
    let Ok(entries) = decode_hunk(bytes) else { return false };
    for entry in &entries {
        let _ = entry.name();
        let _ = entry.content.bytes();
        let _ = compare_paths(&entry.path, &entries[0].path);
    }
    true
}

pub(super) fn hunk_seeds() -> Vec<Vec<u8>> {
    let mut writer = HunkWriter::new(&Secret::new([3; 32]), MACHINE);
    let cut: Vec<_> = entries().iter().filter_map(|entry| writer.push(entry)).collect();
    cut.into_iter().chain(writer.finish()).map(|hunk| hunk.bytes).collect()
}

fn entries() -> Vec<Entry> {
    let entry = |path: &[u8], kind, content, extras| Entry {
        kind,
        path: path.to_vec(),
        mode: 0o644,
        uid: 1000,
        gid: 100,
        modified: Time { seconds: 1_700_000_000, nanoseconds: 999 },
        changed: Time { seconds: -5, nanoseconds: 0 },
        inode: 77,
        bytes: 5,
        content,
        extras,
    };
    let none = Extras::default;
    let id = BlobId([8; 32]);
    let link = Extras { link_target: Some(b"../elsewhere".to_vec()), ..none() };
    let rich = Extras { link_group: Some(3), xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())], ..none() };
    let device = Extras { device: Some((8, 1)), ..none() };
    let pieces = vec![Piece::Chunk { id, bytes: 3 }, Piece::Hole { bytes: 2 }];
    vec![
        entry(b"", EntryKind::Directory, Content::Empty, Extras { ancestor: true, ..none() }),
        entry(b"a", EntryKind::Directory, Content::Empty, none()),
        entry(b"a/inline", EntryKind::File, Content::Inline(b"hello".to_vec()), rich),
        entry(b"a/link", EntryKind::Symlink, Content::Empty, link),
        entry(b"a/lists", EntryKind::File, Content::Lists(vec![ContentListRef { id, bytes: 5 }]), none()),
        entry(b"a/pieces", EntryKind::File, Content::Pieces(pieces), none()),
        entry(b"a/\xff\xfe", EntryKind::BlockDevice, Content::Empty, device),
    ]
}

pub(super) fn hunk_list(bytes: &[u8]) -> bool {
    let Ok(hunks) = decode_hunk_list(bytes) else { return false };
    assert_eq!(decode_hunk_list(&encode_hunk_list(&hunks)).as_ref(), Ok(&hunks), "a hunk list is read again");
    true
}

pub(super) fn hunk_list_seeds() -> Vec<Vec<u8>> {
    let hunk = |path: &[u8], lists| HunkRef {
        first_path: path.to_vec(),
        id: BlobId([1; 32]),
        leaf: BlobId([2; 32]),
        entries: 9,
        lists,
    };
    let lists = vec![(BlobId([3; 32]), BlobId([4; 32]))];
    vec![encode_hunk_list(&[hunk(b"", Vec::new()), hunk(b"b/c", lists)]), encode_hunk_list(&[])]
}

pub(super) fn content_list(bytes: &[u8]) -> bool {
    let Ok(pieces) = decode_content_list(bytes) else { return false };
    let again = decode_content_list(&encode_content_list(&pieces));
    assert_eq!(again.as_ref(), Ok(&pieces), "a content list is read again");
    true
}

pub(super) fn content_list_seeds() -> Vec<Vec<u8>> {
    let pieces = [Piece::Chunk { id: BlobId([5; 32]), bytes: 300_000 }, Piece::Hole { bytes: 1 << 40 }];
    vec![encode_content_list(&pieces), encode_content_list(&[])]
}

pub(super) fn leaf(bytes: &[u8]) -> bool {
    let Ok(leaf) = Leaf::decode(bytes) else { return false };
    assert_eq!(leaf.iter().map(|(pack, _)| pack).collect::<std::collections::BTreeSet<_>>().len(), {
        leaf.packs().filter(|pack| leaf.iter().any(|(of, _)| of == *pack)).count()
    });
    true
}

pub(super) fn leaf_seeds() -> Vec<Vec<u8>> {
    let mut leaf = Leaf::default();
    [(1, 0), (1, 9), (2, 300)].iter().for_each(|(pack, block)| leaf.insert(PackId([*pack; 32]), *block));
    vec![leaf.encode(), Leaf::default().encode()]
}

pub(super) fn root(bytes: &[u8]) -> bool {
    let Ok(root) = Root::decode(bytes) else { return false };
    assert_eq!(Root::decode(&root.encode()).map(|root| root.leaves), Ok(root.leaves), "a root is read again");
    true
}

pub(super) fn root_seeds() -> Vec<Vec<u8>> {
    let root = Root { leaves: (0..3).map(|n| BlobId([n; 32])).collect() };
    vec![root.encode(), Root::default().encode()]
}
