//! The last stage: entries in path order become hunks, and what they need becomes references.
//!
//! **Invariant**: a references leaf is written when every pack it names is durable; hunks before that, as they name chunks
//! by content only.

use super::content::{Processed, RawBlock, SealStage};
use super::known::Slot;
use super::parent::{Parent, ParentBlobs};
use super::{BackupError, Names, Shared};
use nightkeep_platform::files;
use nightkeep_vault::catalogue::{
    self, CONTENT_LIST_PIECES_MAX, Content, ContentListRef, CutHunk, Entry, EntryKind, HunkRef, HunkWriter, Piece,
};
use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::pack::{Area, BLOCK_BYTES_MAX, BlockType, GroupKey, Member, PackWriter};
use nightkeep_vault::reader::{catalogue_id, references_id};
use nightkeep_vault::record::point::Totals;
use nightkeep_vault::references::{Leaf, Root};
use nightkeep_vault::vault::VaultError;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Wished size of a metadata pack in bytes.
const META_PACK_BYTES: usize = 4 << 20;
/// A file with more pieces than this keeps them in content lists instead of its entry.
const ENTRY_PIECES_MAX: usize = 256;
const CATALOGUE_GROUP: u16 = 0;
const REFERENCES_GROUP: u16 = 1;

/// What the recovery point says of its catalogue.
pub(crate) struct FinishedCatalogue {
    pub(crate) hunk_list: BlobId,
    pub(crate) references: BlobId,
    pub(crate) meta_packs: Vec<PackId>,
    pub(crate) totals: Totals,
    pub(crate) users: Vec<(u32, Vec<u8>)>,
    pub(crate) groups: Vec<(u32, Vec<u8>)>,
}

/// The blocks that a hunk or content list needs, as far as their places are known.
#[derive(Default)]
struct Needs {
    placed: BTreeSet<(Slot, u32)>,
    unplaced: Vec<BlobId>,
}

/// Where a references leaf comes from.
enum LeafSource {
    /// The parent has it.
    Parent(BlobId),
    /// It is written at the end.
    New(Needs),
}

struct PendingHunk {
    first_path: Vec<u8>,
    id: BlobId,
    entries: u64,
    leaf: LeafSource,
    lists: Vec<(BlobId, LeafSource)>,
}

/// The catalogue stage.
pub(crate) struct CatalogueStage<'a> {
    shared: &'a Shared<'a>,
    parent: Option<Arc<Parent>>,
    parent_blobs: ParentBlobs,
    waiting: BTreeMap<u64, Processed>,
    next: u64,
    writer: HunkWriter,
    /// Chunks of the hunk that is being gathered.
    chunks: Vec<BlobId>,
    /// Content lists of the hunk that is being gathered.
    lists: Vec<(BlobId, LeafSource)>,
    hunks: Vec<PendingHunk>,
    meta: MetaPacker<'a>,
    totals: Totals,
    users: Names,
    groups: Names,
}

impl<'a> CatalogueStage<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, parent: Option<Arc<Parent>>) -> Result<Self, BackupError> {
        let machine = shared.session.machine();
        Ok(Self {
            shared,
            parent_blobs: parent.as_ref().map(|parent| parent.blobs()).unwrap_or_default(),
            parent,
            waiting: BTreeMap::new(),
            next: 0,
            writer: HunkWriter::new(&machine.meta, machine.id),
            chunks: Vec::new(),
            lists: Vec::new(),
            hunks: Vec::new(),
            meta: MetaPacker::new(shared)?,
            totals: Totals::default(),
            users: Names::default(),
            groups: Names::default(),
        })
    }

    /// Takes a batch, in any order; answers how many batches could be worked off.
    pub(crate) fn push(&mut self, processed: Processed) -> Result<usize, BackupError> {
        self.waiting.insert(processed.number, processed);
        let before = self.next;
        while let Some(processed) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.add_batch(processed)?;
        }
        Ok((self.next - before) as usize)
    }

    fn add_batch(&mut self, processed: Processed) -> Result<(), BackupError> {
        let counted = &processed.totals;
        self.totals.files_new += counted.files_new;
        self.totals.files_changed += counted.files_changed;
        self.totals.files_unchanged += counted.files_unchanged;
        self.totals.bytes_read += counted.bytes_read;
        self.totals.bytes_new += counted.bytes_new;
        processed.entries.into_iter().try_for_each(|entry| self.add(entry))
    }

    fn add(&mut self, mut entry: Entry) -> Result<(), BackupError> {
        match entry.kind {
            EntryKind::File => {
                self.totals.files += 1;
                self.totals.bytes += entry.bytes;
            }
            EntryKind::Directory => self.totals.directories += 1,
            EntryKind::Symlink
            | EntryKind::Fifo
            | EntryKind::Socket
            | EntryKind::CharDevice
            | EntryKind::BlockDevice => {
                self.totals.others += 1;
            }
        }
        self.users.note(entry.uid, files::user_name);
        self.groups.note(entry.gid, files::group_name);
        entry.content = self.settle_content(std::mem::take(&mut entry.content))?;
        match self.writer.push(&entry) {
            Some(hunk) => self.end_hunk(hunk),
            None => Ok(()),
        }
    }

    /// Notes what a file needs, and moves many pieces into content lists.
    fn settle_content(&mut self, content: Content) -> Result<Content, BackupError> {
        match content {
            Content::Pieces(pieces) if pieces.len() > ENTRY_PIECES_MAX => self.write_lists(&pieces),
            Content::Pieces(pieces) => {
                self.chunks.extend(chunk_ids(&pieces));
                Ok(Content::Pieces(pieces))
            }
            Content::Lists(lists) => self.keep_lists(lists),
            Content::Empty => Ok(Content::Empty),
            Content::Inline(bytes) => Ok(Content::Inline(bytes)),
        }
    }

    fn write_lists(&mut self, mut pieces: &[Piece]) -> Result<Content, BackupError> {
        let mut lists = Vec::new();
        while !pieces.is_empty() {
            let whole = pieces.len().min(CONTENT_LIST_PIECES_MAX);
            let length = pieces[..whole].iter().position(catalogue::ends_content_list).map_or(whole, |at| at + 1);
            let (head, rest) = pieces.split_at(length);
            pieces = rest;
            let plain = catalogue::encode_content_list(head);
            let id = self.meta.catalogue_id(&plain);
            let leaf = self.leaf_source(&id, chunk_ids(head))?;
            self.put_catalogue(BlockType::ContentList, id, plain)?;
            self.lists.push((id, leaf));
            lists.push(ContentListRef { id, bytes: head.iter().map(Piece::bytes).sum() });
        }
        Ok(Content::Lists(lists))
    }

    /// An unchanged file keeps its lists, unless the whole catalogue is written anew.
    fn keep_lists(&mut self, lists: Vec<ContentListRef>) -> Result<Content, BackupError> {
        let kept: Option<Vec<_>> =
            lists.iter().map(|list| Some((list.id, self.parent_blobs.leaf_of(&list.id)?))).collect();
        if let Some(kept) = kept {
            for (id, leaf) in kept {
                self.meta.reuse(&self.parent_blobs, &id);
                self.lists.push((id, LeafSource::Parent(leaf)));
            }
            return Ok(Content::Lists(lists));
        }
        let mut pieces = Vec::new();
        if let Some(parent) = self.parent.clone() {
            for list in &lists {
                pieces.extend(parent.content_list(&list.id)?);
            }
        }
        self.write_lists(&pieces)
    }

    fn end_hunk(&mut self, hunk: CutHunk) -> Result<(), BackupError> {
        let id = self.meta.catalogue_id(&hunk.bytes);
        let chunks = std::mem::take(&mut self.chunks);
        let leaf = self.leaf_source(&id, chunks.into_iter())?;
        self.put_catalogue(BlockType::Hunk, id, hunk.bytes)?;
        let lists = std::mem::take(&mut self.lists);
        self.hunks.push(PendingHunk { first_path: hunk.first_path, id, entries: hunk.entries, leaf, lists });
        Ok(())
    }

    /// The parent's leaf of the same blob, or what a new one needs.
    fn leaf_source(&self, id: &BlobId, chunks: impl Iterator<Item = BlobId>) -> Result<LeafSource, BackupError> {
        let healthy = self.parent.as_ref().is_some_and(|parent| parent.healthy);
        if let Some(leaf) = self.parent_blobs.leaf_of(id).filter(|_| healthy) {
            return Ok(LeafSource::Parent(leaf));
        }
        let mut needs = Needs::default();
        for chunk in chunks {
            match self.shared.known.locate(&chunk)? {
                Some(place) => {
                    needs.placed.insert(place);
                }
                None => needs.unplaced.push(chunk),
            }
        }
        Ok(LeafSource::New(needs))
    }

    fn put_catalogue(&mut self, block_type: BlockType, id: BlobId, plain: Vec<u8>) -> Result<(), BackupError> {
        self.meta.put(&self.parent_blobs, CATALOGUE_GROUP, block_type, id, plain)
    }

    /// Ends the catalogue. Every data pack must be durable by now.
    pub(crate) fn finish(mut self) -> Result<FinishedCatalogue, BackupError> {
        let writer = std::mem::replace(&mut self.writer, {
            let machine = self.shared.session.machine();
            HunkWriter::new(&machine.meta, machine.id)
        });
        if let Some(hunk) = writer.finish() {
            self.end_hunk(hunk)?;
        }
        let (mut root, mut hunks) = (Root::default(), Vec::with_capacity(self.hunks.len()));
        for hunk in std::mem::take(&mut self.hunks) {
            let leaf = self.write_leaf(hunk.leaf)?;
            let mut lists = Vec::with_capacity(hunk.lists.len());
            for (id, source) in hunk.lists {
                lists.push((id, self.write_leaf(source)?));
            }
            root.leaves.insert(leaf);
            root.leaves.extend(lists.iter().map(|(_, leaf)| *leaf));
            hunks.push(HunkRef { first_path: hunk.first_path, id: hunk.id, leaf, entries: hunk.entries, lists });
        }
        let (root, list) = (root.encode(), catalogue::encode_hunk_list(&hunks));
        let references = references_id(&self.shared.session.vault().keys().index, &root);
        self.meta.put(&self.parent_blobs, REFERENCES_GROUP, BlockType::ReferencesRoot, references, root)?;
        let hunk_list = self.meta.catalogue_id(&list);
        self.put_catalogue(BlockType::HunkList, hunk_list, list)?;
        let meta_packs = self.meta.finish()?;
        let (users, groups) = (self.users.into_list(), self.groups.into_list());
        Ok(FinishedCatalogue { hunk_list, references, meta_packs, totals: self.totals, users, groups })
    }

    fn write_leaf(&mut self, source: LeafSource) -> Result<BlobId, BackupError> {
        let needs = match source {
            LeafSource::Parent(id) => {
                self.meta.reuse(&self.parent_blobs, &id);
                return Ok(id);
            }
            LeafSource::New(needs) => needs,
        };
        let mut leaf = Leaf::default();
        let mut places = needs.placed;
        for id in &needs.unplaced {
            let missing = || VaultError::Missing { what: "chunk", id: id.to_string() };
            places.insert(self.shared.known.locate(id)?.ok_or_else(missing)?);
        }
        for place in places {
            let pack = self.shared.known.pack_id(place.0)?;
            let pack = pack.ok_or_else(|| VaultError::Missing { what: "pack", id: place.0.to_string() })?;
            leaf.insert(pack, place.1);
        }
        let plain = leaf.encode();
        let id = references_id(&self.shared.session.vault().keys().index, &plain);
        self.meta.put(&self.parent_blobs, REFERENCES_GROUP, BlockType::ReferencesLeaf, id, plain)?;
        Ok(id)
    }
}

fn chunk_ids(pieces: &[Piece]) -> impl Iterator<Item = BlobId> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Chunk { id, .. } => Some(*id),
        Piece::Hole { .. } => None,
    })
}

/// Fills metadata packs and remembers which ones the point needs.
struct MetaPacker<'a> {
    shared: &'a Shared<'a>,
    seal: SealStage,
    open: Option<PackWriter>,
    written: HashSet<BlobId>,
    packs: BTreeSet<PackId>,
}

impl<'a> MetaPacker<'a> {
    fn new(shared: &'a Shared<'a>) -> Result<Self, BackupError> {
        let seal = SealStage::new(shared.options.compression_level)?;
        Ok(Self { shared, seal, open: None, written: HashSet::new(), packs: BTreeSet::new() })
    }

    fn catalogue_id(&self, plain: &[u8]) -> BlobId {
        let machine = self.shared.session.machine();
        catalogue_id(&machine.meta, machine.id, plain)
    }

    /// Counts on a blob of the parent.
    fn reuse(&mut self, parent: &ParentBlobs, id: &BlobId) -> bool {
        let pack = parent.pack_of(id);
        self.packs.extend(pack);
        pack.is_some()
    }

    /// Writes a blob unless parent or run have it.
    fn put(
        &mut self,
        parent: &ParentBlobs,
        group: u16,
        block_type: BlockType,
        id: BlobId,
        plain: Vec<u8>,
    ) -> Result<(), BackupError> {
        if self.reuse(parent, &id) || !self.written.insert(id) {
            return Ok(());
        }
        if plain.len() > BLOCK_BYTES_MAX {
            return Err(BackupError::TooLarge { what: "a part of the catalogue", bytes: plain.len() });
        }
        let members = vec![Member { id, bytes: plain.len() as u32 }];
        let block = self.seal.prepare(RawBlock { block_type, plain, members })?;
        if self.open.as_ref().is_some_and(|open| open.is_full_for(block.payload.len(), META_PACK_BYTES)) {
            self.put_pack()?;
        }
        let shared = self.shared;
        self.open.get_or_insert_with(|| new_meta_pack(shared)).append(group, block);
        Ok(())
    }

    fn put_pack(&mut self) -> Result<(), BackupError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let pack = open.finish(&self.shared.session.vault().keys().index);
        self.shared.session.put_pack(Area::Meta, &pack)?;
        self.packs.insert(pack.id);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PackId>, BackupError> {
        self.put_pack()?;
        Ok(self.packs.into_iter().collect())
    }
}

fn new_meta_pack(shared: &Shared<'_>) -> PackWriter {
    let (vault, machine) = (shared.session.vault(), shared.session.machine());
    let groups =
        vec![GroupKey::for_catalogue(machine.id, 1, &machine.meta), GroupKey::for_references(&vault.keys().index)];
    PackWriter::new(vault.id(), groups, 64 << 10)
}
