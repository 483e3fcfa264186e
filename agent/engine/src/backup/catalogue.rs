//! The last stage: entries in path order become hunks, and what they need becomes references.
//!
//! **Invariant**: a hunk list names a hunk only with its references leaf, and that leaf is written when every pack it
//! names is durable; hunks before that, as they name chunks by content only.

use super::content::Processed;
use super::leaves::Leaves;
use super::meta::MetaPacker;
use super::parent::Parents;
use super::partial::Due;
use super::pieces::{FinishedList, Pieces, chunk_ids};
use super::{BackupError, Names, Shared};
use nightkeep_platform::files;
use nightkeep_vault::catalogue::{self, Content, ContentListRef, CutHunk, Entry, EntryKind, HunkRef, HunkWriter};
use nightkeep_vault::id::{BlobId, PackId};
use nightkeep_vault::pack::BlockType;
use nightkeep_vault::record::point::Totals;
use nightkeep_vault::references::Root;
use nightkeep_vault::vault::VaultError;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What a recovery point says of its catalogue.
pub(crate) struct FinishedCatalogue {
    pub(crate) hunk_list: BlobId,
    pub(crate) references: BlobId,
    pub(crate) meta_packs: Vec<PackId>,
    pub(crate) totals: Totals,
    pub(crate) users: Vec<(u32, Vec<u8>)>,
    pub(crate) groups: Vec<(u32, Vec<u8>)>,
}

/// A hunk that was written; its leaves may still wait.
struct WrittenHunk {
    first_path: Vec<u8>,
    id: BlobId,
    entries: u64,
    lists: Vec<BlobId>,
}

/// The catalogue stage.
pub(crate) struct CatalogueStage<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) parents: &'a Parents,
    waiting: BTreeMap<u64, Processed>,
    next: u64,
    writer: HunkWriter,
    /// Entries of the hunk that is being gathered.
    open: Vec<Entry>,
    hunks: Vec<WrittenHunk>,
    leaves: Leaves,
    /// How many data packs were durable when the leaves were looked at last.
    durable_packs: u64,
    pub(super) meta: MetaPacker<'a>,
    pub(super) totals: Totals,
    pub(super) last_path: Vec<u8>,
    pub(super) due: Due,
    users: Names,
    groups: Names,
}

impl<'a> CatalogueStage<'a> {
    pub(crate) fn new(shared: &'a Shared<'a>, parents: &'a Parents) -> Result<Self, BackupError> {
        let machine = shared.session.machine();
        Ok(Self {
            shared,
            parents,
            waiting: BTreeMap::new(),
            next: 0,
            writer: HunkWriter::new(&machine.meta, machine.id),
            open: Vec::new(),
            hunks: Vec::new(),
            leaves: Leaves::default(),
            durable_packs: 0,
            meta: MetaPacker::new(shared, parents.blobs())?,
            totals: Totals::default(),
            last_path: Vec::new(),
            due: Due::new(shared),
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
        self.settle()?;
        Ok((self.next - before) as usize)
    }

    /// Takes a content list, which comes before the entry that names it.
    pub(crate) fn push_list(&mut self, list: FinishedList) -> Result<(), BackupError> {
        self.settle()?;
        self.expect_leaf(list.id, list.chunks)?;
        self.meta.put_catalogue(BlockType::ContentList, list.id, list.plain)
    }

    /// When packs became durable, writes the leaves that waited for them, and a partial point when one is due.
    fn settle(&mut self) -> Result<(), BackupError> {
        let durable = self.shared.durable_packs.load(Ordering::Acquire);
        if durable == self.durable_packs {
            return Ok(());
        }
        self.durable_packs = durable;
        self.leaves.settle(self.shared, &mut self.meta)?;
        if self.due.is_now(self.shared, &self.totals) {
            self.write_partial()?;
        }
        Ok(())
    }

    /// Writes the leaves whose packs became durable since the last batch.
    pub(crate) fn settle_now(&mut self) -> Result<(), BackupError> {
        self.leaves.settle(self.shared, &mut self.meta)
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
        if let Content::Lists(lists) = &mut entry.content {
            let lists = std::mem::take(lists);
            entry.content = self.keep_lists(lists)?;
        }
        self.last_path.clone_from(&entry.path);
        let cut = self.writer.push(&entry);
        self.open.push(entry);
        match cut {
            Some(hunk) => self.end_hunk(hunk),
            None => Ok(()),
        }
    }

    /// Lists that the run wrote, or that an unchanged file keeps; they are written anew with the whole catalogue.
    fn keep_lists(&mut self, lists: Vec<ContentListRef>) -> Result<Content, BackupError> {
        if lists.iter().all(|list| self.keep_list(&list.id)) {
            return Ok(Content::Lists(lists));
        }
        let (parents, mut gathered) = (self.parents, Pieces::new(self.shared));
        for list in &lists {
            for piece in parents.content_list(&list.id)? {
                gathered.push(piece, &mut |list| self.push_list(list))?;
            }
        }
        gathered.finish(&mut |list| self.push_list(list))
    }

    fn keep_list(&mut self, id: &BlobId) -> bool {
        if self.leaves.has(id) {
            return true;
        }
        let Some(leaf) = self.meta.parents.leaf_of(id) else { return false };
        self.meta.reuse(id);
        self.leaves.reuse(*id, leaf, &mut self.meta);
        true
    }

    fn end_hunk(&mut self, hunk: CutHunk) -> Result<(), BackupError> {
        let id = self.meta.catalogue_id(&hunk.bytes);
        let entries = std::mem::take(&mut self.open);
        self.expect_leaf(id, entries.iter().flat_map(chunks_of).collect())?;
        self.meta.put_catalogue(BlockType::Hunk, id, hunk.bytes)?;
        let lists = entries.iter().flat_map(lists_of).collect();
        self.hunks.push(WrittenHunk { first_path: hunk.first_path, id, entries: hunk.entries, lists });
        Ok(())
    }

    /// The parent's leaf of the same blob, or a new one once the chunks' packs are durable.
    fn expect_leaf(&mut self, of: BlobId, chunks: Vec<BlobId>) -> Result<(), VaultError> {
        match self.meta.parents.leaf_of(&of) {
            Some(leaf) => {
                self.leaves.reuse(of, leaf, &mut self.meta);
                Ok(())
            }
            None => self.leaves.add(of, chunks, self.shared),
        }
    }

    /// The hunks whose references are written, in path order.
    pub(super) fn confirmed(&self) -> Vec<HunkRef> {
        let confirmed = |hunk: &WrittenHunk| {
            let lists = hunk.lists.iter().map(|list| Some((*list, self.leaves.get(list)?)));
            Some(HunkRef {
                first_path: hunk.first_path.clone(),
                id: hunk.id,
                leaf: self.leaves.get(&hunk.id)?,
                entries: hunk.entries,
                lists: lists.collect::<Option<Vec<_>>>()?,
            })
        };
        self.hunks.iter().filter_map(confirmed).collect()
    }

    /// A hunk for a partial point: of the entries that are being gathered those that need nothing that is on the way.
    pub(super) fn confirm_open(&mut self) -> Result<Option<HunkRef>, BackupError> {
        let open = std::mem::take(&mut self.open);
        let confirmed = self.confirm(&open);
        self.open = open;
        confirmed
    }

    /// A hunk of those among neighbouring entries that need nothing that is on the way.
    pub(super) fn confirm(&mut self, entries: &[Entry]) -> Result<Option<HunkRef>, BackupError> {
        let machine = self.shared.session.machine();
        let mut writer = HunkWriter::new(&machine.meta, machine.id);
        let (mut chunks, mut lists, mut cut) = (Vec::new(), Vec::new(), None);
        for entry in entries {
            let leaf_of = |list: &BlobId| self.leaves.get(list).or_else(|| self.meta.parents.leaf_of(list));
            let leaves = lists_of(entry).map(|list| Some((list, leaf_of(&list)?)));
            let Some(leaves) = leaves.collect::<Option<Vec<_>>>() else { continue };
            if cut.is_none() && all_durable(self.shared, chunks_of(entry))? {
                chunks.extend(chunks_of(entry));
                lists.extend(leaves);
                cut = writer.push(entry);
            }
        }
        let Some(hunk) = cut.or_else(|| writer.finish()) else { return Ok(None) };
        for (list, leaf) in &lists {
            self.meta.reuse(list);
            self.meta.reuse(leaf);
        }
        let id = self.meta.catalogue_id(&hunk.bytes);
        self.meta.put_catalogue(BlockType::Hunk, id, hunk.bytes)?;
        let Some(leaf) = self.leaves.write(id, chunks, self.shared, &mut self.meta)? else { return Ok(None) };
        Ok(Some(HunkRef { first_path: hunk.first_path, id, leaf, entries: hunk.entries, lists }))
    }

    /// Writes hunk list and references root; answers their ids. They are durable after the next flush.
    pub(super) fn write_heads(&mut self, hunks: &[HunkRef]) -> Result<(BlobId, BlobId), BackupError> {
        let lists = hunks.iter().flat_map(|hunk| hunk.lists.iter().map(|(_, leaf)| *leaf));
        let leaves = hunks.iter().map(|hunk| hunk.leaf).chain(lists).collect();
        let references = self.meta.put_references(BlockType::ReferencesRoot, Root { leaves }.encode())?;
        let list = catalogue::encode_hunk_list(hunks);
        let hunk_list = self.meta.catalogue_id(&list);
        self.meta.put_catalogue(BlockType::HunkList, hunk_list, list)?;
        Ok((hunk_list, references))
    }

    /// Ends the catalogue. Every data pack must be durable by now.
    pub(crate) fn finish(mut self) -> Result<FinishedCatalogue, BackupError> {
        let machine = self.shared.session.machine();
        let fresh = HunkWriter::new(&machine.meta, machine.id);
        if let Some(hunk) = std::mem::replace(&mut self.writer, fresh).finish() {
            self.end_hunk(hunk)?;
        }
        self.leaves.settle(self.shared, &mut self.meta)?;
        self.leaves.expect_all()?;
        let hunks = self.confirmed();
        let (hunk_list, references) = self.write_heads(&hunks)?;
        self.meta.flush()?;
        let meta_packs = self.meta.packs().iter().copied().collect();
        let (users, groups) = (self.users.into_list(), self.groups.into_list());
        Ok(FinishedCatalogue { hunk_list, references, meta_packs, totals: self.totals, users, groups })
    }
}

fn chunks_of(entry: &Entry) -> impl Iterator<Item = BlobId> {
    let pieces = match &entry.content {
        Content::Pieces(pieces) => pieces.as_slice(),
        Content::Empty | Content::Inline(_) | Content::Lists(_) => &[],
    };
    chunk_ids(pieces)
}

fn lists_of(entry: &Entry) -> impl Iterator<Item = BlobId> {
    let lists = match &entry.content {
        Content::Lists(lists) => lists.as_slice(),
        Content::Empty | Content::Inline(_) | Content::Pieces(_) => &[],
    };
    lists.iter().map(|list| list.id)
}

fn all_durable(shared: &Shared<'_>, mut chunks: impl Iterator<Item = BlobId>) -> Result<bool, VaultError> {
    chunks.try_fold(true, |durable, chunk| match shared.known.locate(&chunk)? {
        Some((slot, _)) => Ok(durable && shared.known.pack_id(slot)?.is_some()),
        None => Ok(false),
    })
}
