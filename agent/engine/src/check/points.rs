//! Recovery points: their chain, catalogue, references, and whether every chunk can be had.
//!
//! **Invariant**: a hunk that several points share is looked at once, and its damaged files count for each of them.

use super::{AffectedFile, Check, CheckError, Damage, FILES_NAMED_MAX, cause};
use crate::progress::Stop;
use nightkeep_vault::catalogue::{Content, Entry, HunkRef, Piece};
use nightkeep_vault::id::{BlobId, MachineId, PackId};
use nightkeep_vault::index::Location;
use nightkeep_vault::reader::CatalogueReader;
use nightkeep_vault::references::Root;
use nightkeep_vault::vault::{Health, ListedPoint, Points, VaultError};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The part of a point's catalogue that cannot be read.
#[derive(Default)]
struct Lost {
    entries: u64,
    first: Option<(Vec<u8>, String)>,
}

impl Check<'_> {
    pub(super) fn points(&mut self, stop: &Stop) -> Result<(), CheckError> {
        for machine in self.machines()? {
            let points = self.vault.points(machine)?;
            for problem in &points.problems {
                self.problem(&problem.name, cause(&problem.error));
            }
            self.chain(&points);
            for listed in points.visible() {
                if let Some(kind) = stop.requested() {
                    return Err(CheckError::Stopped(kind));
                }
                self.report.points += 1;
                if listed.health == Health::Lost {
                    let text = "it came after its session was declared over, and a garbage collection took packs it needs; \
                                what is left of it can be restored, the next backup is whole";
                    self.problem(listed.point.name(), text);
                }
                match self.point(listed) {
                    Ok(()) => {}
                    Err(error) if error.is_damage() => {
                        self.report.entries_lost += listed.point.header.totals.files;
                        self.problem(listed.point.name(), format!("its catalogue is lost: {}", cause(&error)));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Every machine that has a record or points.
    fn machines(&self) -> Result<BTreeSet<MachineId>, CheckError> {
        let mut machines: BTreeSet<MachineId> =
            self.vault.machines()?.into_iter().map(|record| record.machine).collect();
        let listed = self.vault.store().list_all("s/").map_err(VaultError::Store)?;
        machines
            .extend(listed.iter().filter_map(|info| info.name.as_str().split('/').nth(1)?.parse::<MachineId>().ok()));
        Ok(machines)
    }

    /// Each point names the hash of the one before.
    fn chain(&mut self, points: &Points) {
        for pair in points.points.windows(2) {
            let (before, after) = (&pair[0].point, &pair[1].point);
            let neighbours = after.header.sequence == before.header.sequence + 1;
            if neighbours && after.header.previous != before.hash {
                self.problem(after.name(), "it does not follow the point before it: one of them was exchanged");
            }
        }
    }

    fn point(&mut self, listed: &ListedPoint) -> Result<(), VaultError> {
        let reader = CatalogueReader::open(self.blocks.clone(), listed.point.clone())?;
        let root = match reader.references() {
            Ok(root) => Some(root),
            Err(error) if error.is_damage() => {
                let text = format!("its references cannot be read, so nothing can be collected: {}", cause(&error));
                self.problem(listed.point.name(), text);
                None
            }
            Err(error) => return Err(error),
        };
        let mut lost = Lost::default();
        for hunk in &reader.hunks {
            if let Some(root) = &root {
                self.leaves_are_named(listed, root, hunk);
            }
            match self.hunk(listed, &reader, hunk, root.is_some()) {
                Ok(files) => files.iter().for_each(|path| self.affected(listed, path)),
                Err(error) if error.is_damage() => {
                    lost.entries += hunk.entries;
                    lost.first.get_or_insert_with(|| (hunk.first_path.clone(), cause(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some((path, text)) = lost.first {
            self.report.entries_lost += lost.entries;
            let path = String::from_utf8_lossy(&path).into_owned();
            let text =
                format!("{} entries of its catalogue are lost, the first from '{path}' on: {text}", lost.entries);
            self.problem(listed.point.name(), text);
        }
        Ok(())
    }

    fn leaves_are_named(&mut self, listed: &ListedPoint, root: &Root, hunk: &HunkRef) {
        let mut leaves = std::iter::once(&hunk.leaf).chain(hunk.lists.iter().map(|(_, leaf)| leaf));
        if !leaves.all(|leaf| root.leaves.contains(leaf)) {
            self.problem(listed.point.name(), "its references do not name every part of its catalogue");
        }
    }

    /// The damaged files of a hunk.
    fn hunk(
        &mut self,
        listed: &ListedPoint,
        reader: &CatalogueReader,
        hunk: &HunkRef,
        with_references: bool,
    ) -> Result<Arc<[Vec<u8>]>, VaultError> {
        let mut key = [0; 16];
        key.copy_from_slice(&hunk.id.0[..16]);
        if let Some(known) = self.hunks.get(&key) {
            return Ok(known.clone());
        }
        let entries = reader.hunk(hunk)?;
        self.report.entries += entries.len() as u64;
        let mut referenced = HashSet::new();
        if with_references {
            for leaf in std::iter::once(&hunk.leaf).chain(hunk.lists.iter().map(|(_, leaf)| leaf)) {
                let leaf = reader.leaf(leaf)?;
                referenced.extend(leaf.iter().map(|(pack, block)| self.forwards.follow(pack, block)));
            }
        }
        let mut files = Vec::new();
        for entry in &entries {
            if !self.is_whole(listed, reader, entry, with_references.then_some(&referenced))? {
                files.push(entry.path.clone());
            }
        }
        let files: Arc<[Vec<u8>]> = files.into();
        self.hunks.insert(key, files.clone());
        Ok(files)
    }

    /// Whether every chunk of a file can be had.
    fn is_whole(
        &mut self,
        listed: &ListedPoint,
        reader: &CatalogueReader,
        entry: &Entry,
        referenced: Option<&HashSet<(PackId, u32)>>,
    ) -> Result<bool, VaultError> {
        let lists = match &entry.content {
            Content::Empty | Content::Inline(_) => return Ok(true),
            Content::Pieces(pieces) => return self.has_pieces(listed, pieces, referenced),
            Content::Lists(lists) => lists,
        };
        let mut whole = true;
        for list in lists {
            match reader.content_list(&list.id) {
                Ok(pieces) => whole &= self.has_pieces(listed, &pieces, referenced)?,
                Err(error) if error.is_damage() => whole = false,
                Err(error) => return Err(error),
            }
        }
        Ok(whole)
    }

    fn has_pieces(
        &mut self,
        listed: &ListedPoint,
        pieces: &[Piece],
        referenced: Option<&HashSet<(PackId, u32)>>,
    ) -> Result<bool, VaultError> {
        let mut whole = true;
        for piece in pieces {
            let Piece::Chunk { id, .. } = piece else { continue };
            let places = self.index.places(id)?;
            let mut is_there = false;
            let mut is_referenced = places.is_empty();
            for place in &places {
                let pack = self.index.pack(place.pack)?.id;
                is_there |= self.can_read(pack, place);
                is_referenced |= referenced.is_none_or(|referenced| referenced.contains(&(pack, place.block)));
            }
            if !is_referenced {
                self.unreferenced(listed, id);
            }
            whole &= is_there;
        }
        Ok(whole)
    }

    fn can_read(&self, pack: PackId, place: &Location) -> bool {
        match self.damaged.get(&pack) {
            None => true,
            Some(Damage::Whole) => false,
            Some(Damage::Blocks(blocks)) => !blocks.contains(&place.block),
        }
    }

    fn unreferenced(&mut self, listed: &ListedPoint, id: &BlobId) {
        let text = format!("chunk {id} is not among its references; a collection would lose it");
        self.problem(listed.point.name(), text);
    }

    fn affected(&mut self, listed: &ListedPoint, path: &[u8]) {
        self.report.affected_count += 1;
        if self.report.affected.len() < FILES_NAMED_MAX {
            self.report.affected.push(AffectedFile {
                machine: listed.point.header.machine_name.clone(),
                point: listed.point.id.to_string(),
                path: path.to_vec(),
            });
        }
    }
}
