//! Reading back: packs opened once, blocks by range, metadata blobs by id.
//!
//! **Invariant**: content is returned only after its recomputed id matched.

use crate::catalogue::{self, Entry, HunkRef, Piece};
use crate::codec::DecodeError;
use crate::crypto::{Cipher, Secret};
use crate::id::{BlobId, MachineId, PackId};
use crate::index::Index;
use crate::object::ObjectError;
use crate::pack::{
    Area, BlockInfo, BlockType, Footer, HEADER_READ_BYTES, PackError, PackHeader, footer_and_trailer_bytes,
};
use crate::record::point::{Point, PointBody};
use crate::references::{Leaf, Root};
use crate::store::StoreError;
use crate::vault::{Problem, Vault, VaultError};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a pack's end the first read asks for; most footers fit.
const TAIL_READ_BYTES: u64 = 256 << 10;
/// How many opened packs are remembered (their footers; not their data), and how many members of them all: a member
/// takes 36 bytes, so 9 MiB.
const OPEN_PACKS_MAX: usize = 64;
const OPEN_MEMBERS_MAX: usize = 1 << 18;
/// Neighbouring blocks of a catalogue are read together, up to this many bytes: a far store answers late, and who reads
/// one hunk mostly wants the next.
const AHEAD_BYTES: u32 = 1 << 20;
/// So many such stretches are kept.
const STRETCHES_MAX: usize = 4;
/// Metadata packs opened at once.
const OPENERS: usize = 8;

/// A pack whose header and footer were read.
pub struct OpenPack {
    /// The pack's name parts.
    pub area: Area,
    /// The pack.
    pub id: PackId,
    header: PackHeader,
    ciphers: Vec<Option<Cipher>>,
    /// Its blocks.
    pub footer: Footer,
}

impl OpenPack {
    pub(crate) fn header(&self) -> &PackHeader {
        &self.header
    }
}

/// Opens packs and reads blocks. Shared between threads.
pub struct BlockReader {
    vault: Arc<Vault>,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    packs: HashMap<(Area, PackId), Arc<OpenPack>>,
    order: VecDeque<(Area, PackId)>,
    members: usize,
}

impl Opened {
    fn add(&mut self, pack: &Arc<OpenPack>) {
        let name = (pack.area, pack.id);
        if self.packs.insert(name, pack.clone()).is_some() {
            return;
        }
        self.order.push_back(name);
        self.members += pack.members();
        while self.order.len() > OPEN_PACKS_MAX || (self.members > OPEN_MEMBERS_MAX && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front().and_then(|oldest| self.packs.remove(&oldest)) else { return };
            self.members -= oldest.members();
        }
    }
}

impl OpenPack {
    fn members(&self) -> usize {
        self.footer.blocks.iter().map(|block| block.members.len()).sum()
    }
}

impl BlockReader {
    /// A reader of a vault.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, opened: Mutex::default() }
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Reads header and footer of a pack, or remembers them.
    pub fn open(&self, area: Area, id: PackId) -> Result<Arc<OpenPack>, VaultError> {
        self.open_of(area, id, None)
    }

    /// The same; where the pack is said to have so many bytes, the store is not asked for its length.
    fn open_of(&self, area: Area, id: PackId, bytes: Option<u64>) -> Result<Arc<OpenPack>, VaultError> {
        if let Some(pack) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).packs.get(&(area, id)) {
            return Ok(pack.clone());
        }
        let pack = Arc::new(self.open_copy_or_ends(area, id, bytes)?);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).add(&pack);
        Ok(pack)
    }

    fn open_copy_or_ends(&self, area: Area, id: PackId, said: Option<u64>) -> Result<OpenPack, VaultError> {
        let copy = Some(area).filter(|area| *area == Area::Meta).and_then(|_| self.vault.kept_meta_bytes(id));
        if let Some(bytes) = copy {
            let gone = || StoreError::NotFound { name: area.name(id) };
            let kept = |range| self.vault.kept_meta(id, range).ok_or_else(gone);
            let opened = self.read_ends_of(area, id, bytes, false, &kept);
            if opened.is_ok() || !self.vault.drop_meta_pack(id) {
                return opened;
            }
        }
        let (name, store) = (area.name(id), self.vault.store());
        let (is_far, read) = (store.parallelism() > 2, |range| store.get_range(&name, range));
        if let Some(bytes) = said {
            // An index may have been told lies; then the store is asked.
            let opened = self.read_ends_of(area, id, bytes, is_far, &read);
            if opened.is_ok() {
                return opened;
            }
        }
        let bytes = store.head(&name)?.ok_or_else(|| StoreError::NotFound { name: name.clone() })?;
        self.read_ends_of(area, id, bytes, is_far, &read)
    }

    /// Opens a pack of `bytes` bytes, of which `read` gives any range; of a far one, both ends at once.
    fn read_ends_of(
        &self,
        area: Area,
        id: PackId,
        bytes: u64,
        is_far: bool,
        read: &(dyn Fn(Range<u64>) -> Result<Vec<u8>, StoreError> + Sync),
    ) -> Result<OpenPack, VaultError> {
        let damaged = |source| VaultError::Pack { name: area.name(id), source };
        let first = || read(0..HEADER_READ_BYTES.min(bytes));
        let last = || read(bytes.saturating_sub(TAIL_READ_BYTES)..bytes);
        let (start, mut tail) = if bytes <= TAIL_READ_BYTES {
            let whole = last()?;
            (whole.clone(), whole)
        } else if is_far {
            let (start, tail) = std::thread::scope(|scope| {
                let tail = scope.spawn(last);
                (first(), tail.join())
            });
            // A panic there becomes one here, as without the thread.
            (start?, tail.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        } else {
            (first()?, last()?)
        };
        let wanted = footer_and_trailer_bytes(&tail).map_err(damaged)?;
        if wanted > tail.len() as u64 {
            tail = read(bytes.saturating_sub(wanted)..bytes)?;
        }
        let length = start.get(8..12).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let start = match start.get(..length) {
            Some(header) => header.to_vec(),
            None => read(0..(length as u64).min(1 << 20))?,
        };
        self.opened(area, id, &start, &tail)
    }

    /// Opens a pack whose bytes are at hand. It is not remembered.
    pub fn open_bytes(&self, area: Area, id: PackId, bytes: &[u8]) -> Result<OpenPack, VaultError> {
        let damaged = |source| VaultError::Pack { name: area.name(id), source };
        let length = bytes.get(8..12).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let start = bytes.get(..length).ok_or_else(|| damaged(PackError::Frame("no pack begins here")))?;
        self.opened(area, id, start, bytes)
    }

    fn opened(&self, area: Area, id: PackId, start: &[u8], tail: &[u8]) -> Result<OpenPack, VaultError> {
        let damaged = |source| VaultError::Pack { name: area.name(id), source };
        let header = PackHeader::decode(start).map_err(damaged)?;
        let keys = self.vault.keys();
        let footer = header.open_footer(self.vault.id(), &keys.index, tail).map_err(damaged)?;
        let ciphers = header.ciphers(self.vault.id(), &keys.index, &*self.vault).map_err(damaged)?;
        Ok(OpenPack { area, id, header, ciphers, footer })
    }

    /// Reads the sealed bytes of neighbouring blocks with one ranged read.
    pub fn read_sealed(&self, pack: &OpenPack, from: u32, to: u32) -> Result<Vec<u8>, VaultError> {
        let range = u64::from(from)..u64::from(to);
        if pack.area == Area::Meta
            && let Some(bytes) = self.vault.kept_meta(pack.id, range.clone())
            && bytes.len() as u64 == range.end.saturating_sub(range.start)
        {
            return Ok(bytes);
        }
        Ok(self.vault.store().get_range(&pack.area.name(pack.id), range)?)
    }

    /// Opens one block from its sealed bytes and checks every member against its id.
    pub fn open_block(&self, pack: &OpenPack, info: &BlockInfo, sealed: &mut [u8]) -> Result<Vec<u8>, VaultError> {
        let mut plain = Vec::new();
        self.open_block_into(pack, info, sealed, &mut plain)?;
        Ok(plain)
    }

    /// Opens one block into a buffer that is used again and again, and checks every member against its id.
    pub fn open_block_into(
        &self,
        pack: &OpenPack,
        info: &BlockInfo,
        sealed: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let damaged = |source| VaultError::Pack { name: pack.area.name(pack.id), source };
        let vault = self.vault.id();
        pack.header.open_block_into(vault, &pack.ciphers, info, sealed, plain).map_err(damaged)?;
        let mut rest = plain.as_slice();
        for member in &info.members {
            let (content, behind) =
                rest.split_at_checked(member.bytes as usize).ok_or_else(|| damaged(PackError::Content))?;
            if matches!(info.block_type, BlockType::Chunk | BlockType::Bundle)
                && blake3::keyed_hash(self.vault.keys().id.expose(), content).as_bytes() != &member.id.0
            {
                return Err(damaged(PackError::Content));
            }
            rest = behind;
        }
        Ok(())
    }

    /// Opens many packs, several at a time; the answers come in the order of the questions. With a pack stands its length
    /// in bytes, where it is known.
    pub fn open_all(&self, area: Area, packs: &[(PackId, Option<u64>)]) -> Vec<Result<Arc<OpenPack>, VaultError>> {
        let next = AtomicUsize::new(0);
        let opened: Mutex<Vec<_>> = Mutex::default();
        let work = || {
            while let Some((n, (id, bytes))) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, packs.get(n)?)))
            {
                let pack = self.open_of(area, *id, *bytes);
                opened.lock().unwrap_or_else(PoisonError::into_inner).push((n, pack));
            }
        };
        if packs.len() < 2 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..OPENERS.min(packs.len()) {
                    scope.spawn(work);
                }
            });
        }
        let mut opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        opened.sort_unstable_by_key(|(n, _)| *n);
        opened.into_iter().map(|(_, pack)| pack).collect()
    }

    /// Reads and opens one block.
    pub fn read_block(&self, pack: &OpenPack, block: u32) -> Result<Vec<u8>, VaultError> {
        let damaged = |source| VaultError::Pack { name: pack.area.name(pack.id), source };
        let info = pack.footer.blocks.get(block as usize).ok_or_else(|| damaged(PackError::Frame("no such block")))?;
        let mut sealed = self.read_sealed(pack, info.offset, info.offset.saturating_add(info.sealed_bytes))?;
        if sealed.len() != info.sealed_bytes as usize {
            return Err(damaged(PackError::Frame("it is shorter than its footer says")));
        }
        match self.open_block(pack, info, &mut sealed) {
            // The copy may be damaged where the store's is not.
            Err(_) if pack.area == Area::Meta && self.vault.drop_meta_pack(pack.id) => self.read_block(pack, block),
            other => other,
        }
    }
}

/// Names the catalogue blobs of a machine.
pub fn catalogue_id(meta: &Secret, machine: MachineId, plain: &[u8]) -> BlobId {
    BlobId(*blake3::keyed_hash(meta.sub("catalogue id", machine.as_bytes()).expose(), plain).as_bytes())
}

/// Names references blobs.
pub fn references_id(index: &Secret, plain: &[u8]) -> BlobId {
    BlobId(*blake3::keyed_hash(index.sub("references id", &[]).expose(), plain).as_bytes())
}

/// Reads the catalogue of one recovery point.
pub struct CatalogueReader {
    blocks: Arc<BlockReader>,
    /// The point.
    pub point: Point,
    /// Its opened body.
    pub body: PointBody,
    /// Its hunks in path order.
    pub hunks: Vec<HunkRef>,
    /// Metadata packs that cannot be opened: what of the catalogue lies in them is lost.
    pub lost: Vec<Problem>,
    id_key: Secret,
    located: HashMap<BlobId, (PackId, u32)>,
    stretches: Mutex<VecDeque<Stretch>>,
}

/// Sealed bytes of neighbouring blocks of a metadata pack.
struct Stretch {
    pack: PackId,
    from: u32,
    bytes: Vec<u8>,
}

impl Stretch {
    /// The sealed bytes of a block, when all of them are here.
    fn block(&self, pack: PackId, info: &BlockInfo) -> Option<Vec<u8>> {
        let start = info.offset.checked_sub(self.from).filter(|_| self.pack == pack)? as usize;
        self.bytes.get(start..start.checked_add(info.sealed_bytes as usize)?).map(<[u8]>::to_vec)
    }
}

impl CatalogueReader {
    /// Opens the catalogue of a point. The point's own list of metadata packs tells where everything is; no index is
    /// needed. A pack that cannot be opened is noted in [`CatalogueReader::lost`]; the list of hunks must be readable.
    pub fn open(blocks: Arc<BlockReader>, point: Point) -> Result<Self, VaultError> {
        let machine = point.header.machine;
        let meta = blocks.vault().meta_of(machine)?;
        let damaged = |source: ObjectError| VaultError::Object { name: point.name().clone(), source };
        let body = point.body(&meta).map_err(damaged)?;
        let (mut located, mut lost) = (HashMap::new(), Vec::new());
        let packs: Vec<_> = point.header.meta_packs.iter().map(|id| (*id, None)).collect();
        for ((id, _), pack) in packs.iter().zip(blocks.open_all(Area::Meta, &packs)) {
            match pack {
                Ok(pack) => {
                    for (number, block) in pack.footer.blocks.iter().enumerate() {
                        if let Some(member) = block.members.first() {
                            located.entry(member.id).or_insert((*id, number as u32));
                        }
                    }
                }
                Err(error) if error.is_damage() => lost.push(Problem { name: Area::Meta.name(*id), error }),
                Err(error) => return Err(error),
            }
        }
        let id_key = meta.sub("catalogue id", machine.as_bytes());
        let stretches = Mutex::default();
        let mut reader = Self { blocks, point, body, hunks: Vec::new(), lost, id_key, located, stretches };
        if let Some(list) = reader.body.hunk_list {
            reader.hunks = reader.read(&list, catalogue::decode_hunk_list)?;
        }
        Ok(reader)
    }

    /// The entries of a hunk.
    pub fn hunk(&self, hunk: &HunkRef) -> Result<Vec<Entry>, VaultError> {
        self.read(&hunk.id, catalogue::decode_hunk)
    }

    /// The pieces of a content list.
    pub fn content_list(&self, id: &BlobId) -> Result<Vec<Piece>, VaultError> {
        self.read(id, catalogue::decode_content_list)
    }

    /// Every entry at or below `path`, hunk by hunk; the empty path gives all.
    pub fn entries<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = Result<Entry, VaultError>> + 'a {
        let start = self
            .hunks
            .partition_point(|hunk| catalogue::compare_paths(&hunk.first_path, path).is_le())
            .saturating_sub(1);
        self.hunks[start..]
            .iter()
            .take_while(move |hunk| {
                is_within(&hunk.first_path, path) || catalogue::compare_paths(&hunk.first_path, path).is_le()
            })
            .flat_map(move |hunk| match self.hunk(hunk) {
                Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
            .filter(move |entry| entry.as_ref().map_or(true, |entry| is_within(&entry.path, path)))
    }

    /// The references root of the point.
    pub fn references(&self) -> Result<Root, VaultError> {
        let plain = self.read_plain(&self.point.header.references)?;
        self.check_id(references_id(&self.blocks.vault().keys().index, &plain), &self.point.header.references)?;
        Root::decode(&plain).map_err(|source| self.decode_error(source))
    }

    /// A references leaf.
    pub fn leaf(&self, id: &BlobId) -> Result<Leaf, VaultError> {
        let plain = self.read_plain(id)?;
        self.check_id(references_id(&self.blocks.vault().keys().index, &plain), id)?;
        Leaf::decode(&plain).map_err(|source| self.decode_error(source))
    }

    /// Where a catalogue or references blob of this point lies.
    pub fn locate(&self, id: &BlobId) -> Option<(PackId, u32)> {
        self.located.get(id).copied()
    }

    fn read<T>(&self, id: &BlobId, decode: impl Fn(&[u8]) -> Result<T, DecodeError>) -> Result<T, VaultError> {
        let plain = self.read_plain(id)?;
        self.check_id(BlobId(*blake3::keyed_hash(self.id_key.expose(), &plain).as_bytes()), id)?;
        decode(&plain).map_err(|source| self.decode_error(source))
    }

    fn read_plain(&self, id: &BlobId) -> Result<Vec<u8>, VaultError> {
        let missing = || VaultError::Missing { what: "catalogue block", id: id.to_string() };
        let (pack, block) = self.locate(id).ok_or_else(missing)?;
        match self.read_located(pack, block) {
            // The copy may be damaged where the store's is not.
            Err(_) if self.blocks.vault().drop_meta_pack(pack) => {
                self.stretches.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.read_located(pack, block)
            }
            other => other,
        }
    }

    fn read_located(&self, pack: PackId, block: u32) -> Result<Vec<u8>, VaultError> {
        let pack = self.blocks.open(Area::Meta, pack)?;
        let damaged = |source| VaultError::Pack { name: Area::Meta.name(pack.id), source };
        let info = pack.footer.blocks.get(block as usize).ok_or_else(|| damaged(PackError::Frame("no such block")))?;
        let mut sealed = match self.ahead(pack.id, info) {
            Some(sealed) => sealed,
            None => self.read_ahead(&pack, block as usize, info)?,
        };
        self.blocks.open_block(&pack, info, &mut sealed)
    }

    /// A block's sealed bytes, when they were read with others.
    fn ahead(&self, pack: PackId, info: &BlockInfo) -> Option<Vec<u8>> {
        let stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
        stretches.iter().find_map(|stretch| stretch.block(pack, info))
    }

    /// Reads a block and those behind it.
    fn read_ahead(&self, pack: &OpenPack, block: usize, info: &BlockInfo) -> Result<Vec<u8>, VaultError> {
        let ends = pack.footer.blocks[block..].iter().map(|next| next.offset.saturating_add(next.sealed_bytes));
        let limit = info.offset.saturating_add(AHEAD_BYTES.max(info.sealed_bytes));
        let end = ends.take_while(|end| *end <= limit).last().unwrap_or(limit);
        let bytes = self.blocks.read_sealed(pack, info.offset, end)?;
        let stretch = Stretch { pack: pack.id, from: info.offset, bytes };
        let short = PackError::Frame("it is shorter than its footer says");
        let sealed = stretch.block(pack.id, info);
        let sealed = sealed.ok_or(VaultError::Pack { name: Area::Meta.name(pack.id), source: short })?;
        let mut stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
        if stretches.len() >= STRETCHES_MAX {
            stretches.pop_front();
        }
        stretches.push_back(stretch);
        Ok(sealed)
    }

    fn check_id(&self, found: BlobId, wanted: &BlobId) -> Result<(), VaultError> {
        if found == *wanted {
            return Ok(());
        }
        let (pack, _) = self.locate(wanted).unwrap_or((PackId([0; 32]), 0));
        Err(VaultError::Pack { name: Area::Meta.name(pack), source: PackError::Content })
    }

    fn decode_error(&self, source: DecodeError) -> VaultError {
        VaultError::Object { name: self.point.name().clone(), source: source.into() }
    }
}

/// Whether `path` is `root` or lies below it.
pub fn is_within(path: &[u8], root: &[u8]) -> bool {
    root.is_empty() || path == root || (path.len() > root.len() && path.starts_with(root) && path[root.len()] == b'/')
}

/// Reads chunks by id, for content that an index located.
pub fn read_chunk(blocks: &BlockReader, index: &Index, id: &BlobId) -> Result<Vec<u8>, VaultError> {
    let missing = || VaultError::Missing { what: "chunk", id: id.to_string() };
    let location = index.chunk(id)?.ok_or_else(missing)?;
    let pack = blocks.open(Area::Data, index.pack(location.pack)?.id)?;
    let plain = blocks.read_block(&pack, location.block)?;
    let info = &pack.footer.blocks[location.block as usize];
    let start: usize = info.members[..location.member as usize].iter().map(|member| member.bytes as usize).sum();
    let member = info.members[location.member as usize];
    if member.id != *id {
        return Err(missing());
    }
    Ok(plain[start..start + member.bytes as usize].to_vec())
}
