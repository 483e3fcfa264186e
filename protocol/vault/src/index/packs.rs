//! The packs of an index by number: full pages on disk, the last ones in memory.
//!
//! File `<number>.packs`: pages of [`PAGE_PACKS`] records of [`PACK_BYTES`]: pack id (32), length in bytes (u32,
//! little-endian), area (u8, `p` or `m`), three zero bytes. It only grows; the records behind its last full page are in
//! the manifest.
//!
//! **Invariant**: a pack keeps its number as long as the cache lives.

use super::IndexError;
use super::ground::Ground;
use super::home::{Home, Stamp};
use super::page::{self, PAGE_BYTES, PAGE_ROOM, PageCache, PagedFile};
use crate::id::PackId;
use crate::pack::Area;
use std::fs::File;

/// Bytes of a record.
pub(crate) const PACK_BYTES: usize = 40;
/// Records of a page.
pub(crate) const PAGE_PACKS: usize = PAGE_ROOM / PACK_BYTES;

/// A pack that the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedPack {
    /// With data or with metadata.
    pub area: Area,
    /// The pack.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
}

impl IndexedPack {
    pub(crate) fn write(&self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.id.0);
        out[32..36].copy_from_slice(&(self.bytes as u32).to_le_bytes());
        out[36] = self.area.letter() as u8;
    }

    /// Reads a record from [`PACK_BYTES`] bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        let area = match bytes[36] {
            b'p' => Area::Data,
            b'm' => Area::Meta,
            _ => return None,
        };
        let length = u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]);
        Some(Self { area, id: PackId(id), bytes: length.into() })
    }
}

/// What of a table the manifest keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PackTableInfo {
    /// The number of its file; 0 while there is none.
    pub(crate) file: u32,
    /// Full pages in the file.
    pub(crate) pages: u32,
    /// The packs behind them.
    pub(crate) tail: Vec<IndexedPack>,
}

/// Packs by number.
#[derive(Debug, Default)]
pub(crate) struct PackTable {
    file: Option<PagedFile>,
    pages: u32,
    tail: Vec<IndexedPack>,
    is_synced: bool,
}

impl PackTable {
    pub(crate) fn open(home: &Home, info: PackTableInfo) -> Result<Self, IndexError> {
        let PackTableInfo { file, pages, tail } = info;
        if file == 0 {
            return Ok(Self { tail, ..Self::default() });
        }
        let path = home.path(file, "packs");
        let opened = File::options().read(true).write(true).open(&path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, handle) =
            opened.map_err(|source| IndexError::Io { operation: "open", path: path.clone(), source })?;
        let paged = PagedFile::new(handle, path, Stamp { cache: home.id, file });
        if bytes < u64::from(pages) * PAGE_BYTES as u64 {
            return Err(paged.damaged("it is too short"));
        }
        Ok(Self { file: Some(paged), pages, tail, is_synced: true })
    }

    pub(crate) fn info(&self) -> PackTableInfo {
        let file = self.file.as_ref().map_or(0, |file| file.stamp().file);
        PackTableInfo { file, pages: self.pages, tail: self.tail.clone() }
    }

    pub(crate) fn len(&self) -> u32 {
        self.on_disk() + self.tail.len() as u32
    }

    fn on_disk(&self) -> u32 {
        self.pages * PAGE_PACKS as u32
    }

    /// Adds a pack; answers its number. What the disk does not take stays in memory.
    pub(crate) fn push(&mut self, pack: IndexedPack, ground: &mut Ground) -> u32 {
        self.tail.push(pack);
        if self.tail.len().is_multiple_of(PAGE_PACKS)
            && ground.is_there()
            && let Err(error) = self.write_pages(ground)
        {
            tracing::warn!(%error, "The table of packs stays in memory");
        }
        self.len() - 1
    }

    fn write_pages(&mut self, ground: &mut Ground) -> Result<(), IndexError> {
        if self.file.is_none() {
            self.file = Some(ground.write(|home| {
                let stamp = home.take_number();
                let path = home.path(stamp.file, "packs");
                Ok(PagedFile::new(home.create(&path)?.finish()?, path, stamp))
            })?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let Some(home) = ground.home_of(file.stamp()) else { return Ok(()) };
        let mut out = home.append(file.path(), u64::from(self.pages) * PAGE_BYTES as u64)?;
        let whole = self.tail.len() / PAGE_PACKS;
        for (n, packs) in self.tail.chunks_exact(PAGE_PACKS).enumerate() {
            let mut page = [0; PAGE_BYTES];
            packs.iter().zip(page.chunks_exact_mut(PACK_BYTES)).for_each(|(pack, out)| pack.write(out));
            page::seal(&mut page, file.stamp(), self.pages + n as u32);
            out.write(&page)?;
        }
        out.finish()?;
        self.pages += whole as u32;
        self.tail.drain(..whole * PAGE_PACKS);
        self.is_synced = false;
        Ok(())
    }

    pub(crate) fn sync(&mut self, home: &Home) -> Result<(), IndexError> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            home.sync(file.file(), file.path())?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// The pack with a number below [`PackTable::len`].
    pub(crate) fn get(&self, pages: &PageCache, number: u32) -> Result<IndexedPack, IndexError> {
        let Some(file) = self.file.as_ref().filter(|_| number < self.on_disk()) else {
            let at = number.wrapping_sub(self.on_disk()) as usize;
            return self.tail.get(at).copied().ok_or(IndexError::NoPack { number });
        };
        let page = pages.read(file, number / PAGE_PACKS as u32)?;
        let at = number as usize % PAGE_PACKS * PACK_BYTES;
        IndexedPack::read(&page[at..at + PACK_BYTES]).ok_or_else(|| file.damaged("a pack of no known area"))
    }
}
