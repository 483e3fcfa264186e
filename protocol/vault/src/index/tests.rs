//! Claims about the index: it answers like a map, whatever was taken in, dropped, reopened, crashed or damaged.
#![expect(clippy::unwrap_used, reason = "a test that cannot write its folder has failed")]

use super::builder::{IndexBuilder, TakenSegment};
use super::entry::Entry;
use super::filter::Filter;
use super::ground::Ground;
use super::home::{Effect, Effects, Home, Script, Stamp};
use super::levels::Levels;
use super::manifest::{Manifest, TakenAs};
use super::page::PageCache;
use super::run::Filters;
use super::{Index, IndexError, Location};
use crate::id::{BlobId, MachineId, PackId, SessionId, VaultId};
use crate::pack::{Area, BlockInfo, BlockType, Codec, Footer, Member};
use crate::record::segment::{Segment, SegmentPack};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

const VAULT: VaultId = VaultId([1; 16]);

fn id(n: u16) -> BlobId {
    BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn pack_id(n: u8) -> PackId {
    PackId(*blake3::hash(&[n]).as_bytes())
}

/// A pack with a bundle of these chunks. The same number always gives the same pack id.
fn pack(n: u8, chunks: &[u16]) -> SegmentPack {
    let members = chunks.iter().map(|chunk| Member { id: id(*chunk), bytes: 1 }).collect();
    let block = BlockInfo {
        block_type: BlockType::Bundle,
        codec: Codec::Stored,
        group: 0,
        ordinal: 0,
        offset: 0,
        sealed_bytes: 1,
        plain_bytes: chunks.len() as u32,
        members,
    };
    SegmentPack { area: Area::Data, id: pack_id(n), bytes: 100, footer: Footer { blocks: vec![block] } }
}

fn segment(packs: Vec<SegmentPack>) -> Segment {
    Segment { machine: MachineId([2; 16]), session: SessionId([3; 16]), counter: 0, packs }
}

fn take_in(builder: &mut IndexBuilder, n: usize, packs: &[SegmentPack]) -> Result<(), IndexError> {
    let (name, segment) = (format!("i/0/{n}"), segment(packs.to_vec()));
    let (hash, taken_as) = ([n as u8; 32], TakenAs::SignedBy([9; 32]));
    builder.take_in(&TakenSegment { name: &name, hash, taken_as, segment: &segment })
}

/// Segments by their numbers: what a vault lists.
type Listing = BTreeMap<usize, Vec<SegmentPack>>;

/// Brings a cache to what a listing says, as [`crate::vault::Vault::load_index`] does.
fn sync(dir: Option<&Path>, listing: &Listing, effects: Effects) -> Result<Index, IndexError> {
    let mut builder = IndexBuilder::open_with(dir, VAULT, None, effects);
    let counts = |name: &str| listing.keys().any(|n| name == format!("i/0/{n}"));
    let stale: Vec<String> = builder.names().filter(|name| !counts(name)).map(str::to_owned).collect();
    builder.let_go(&stale);
    for (n, packs) in listing {
        if builder.taken(&format!("i/0/{n}")).is_none() {
            take_in(&mut builder, *n, packs)?;
        }
    }
    builder.finish()
}

/// Everything the listing says of a chunk.
fn model(listing: &Listing) -> BTreeMap<u16, BTreeSet<(PackId, u32)>> {
    let mut all: BTreeMap<u16, BTreeSet<(PackId, u32)>> = (0..400).map(|chunk| (chunk, BTreeSet::new())).collect();
    for pack in listing.values().flatten() {
        for (member, content) in pack.footer.blocks[0].members.iter().enumerate() {
            let chunk = (0..400).find(|chunk| id(*chunk) == content.id).unwrap();
            all.get_mut(&chunk).unwrap().insert((pack.id, member as u32));
        }
    }
    all
}

fn assert_answers_like(listing: &Listing, index: &mut Index, hidden: &[PackId]) {
    index.hide(hidden).unwrap();
    for (chunk, places) in model(listing) {
        let named = |place: &Location| (index.pack(place.pack).unwrap().id, place.member);
        let found: BTreeSet<_> = index.places(&id(chunk)).unwrap().iter().map(named).collect();
        assert_eq!(found, places, "chunk {chunk}");
        let visible: BTreeSet<_> = places.iter().filter(|(pack, _)| !hidden.contains(pack)).collect();
        match index.chunk(&id(chunk)).unwrap() {
            Some(place) => assert!(visible.contains(&named(&place)), "chunk {chunk} is shown from a hidden pack"),
            None => assert!(visible.is_empty(), "chunk {chunk} is not found"),
        }
    }
    let packs: BTreeSet<PackId> = listing.values().flatten().map(|pack| pack.id).collect();
    for n in 0..=u8::MAX {
        let expected = packs.contains(&pack_id(n)) && !hidden.contains(&pack_id(n));
        assert_eq!(index.holds(Area::Data, &pack_id(n)).unwrap(), expected);
        assert!(!index.holds(Area::Meta, &pack_id(n)).unwrap());
    }
}

fn packs() -> impl Strategy<Value = Vec<SegmentPack>> {
    // A pack's name is the hash of its bytes, so that one name stands for the same chunks always.
    let contents = |n: u8| (0..1 + u16::from(n) % 13).map(|k| (u16::from(n) * 29 + k * 17) % 350).collect::<Vec<_>>();
    prop::collection::vec(0u8..60, 0..5)
        .prop_map(move |packs| packs.into_iter().map(|n| pack(n, &contents(n))).collect())
}

/// What happens to a vault and its reader between two openings.
#[derive(Debug, Clone)]
enum Step {
    Written(Vec<SegmentPack>),
    /// A segment gives way to another with the packs that stay.
    Merged(usize, u8),
    CacheLost,
    /// The process crashes, or the disk is full, from this effect on.
    Crash(usize),
    /// A byte of some file of the cache changes.
    Flip(prop::sample::Index, prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => packs().prop_map(Step::Written),
        2 => (0usize..20, any::<u8>()).prop_map(|(replaced, stay)| Step::Merged(replaced, stay)),
        1 => Just(Step::CacheLost),
        2 => (0usize..30).prop_map(Step::Crash),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(file, at)| Step::Flip(file, at)),
    ];
    prop::collection::vec(step, 1..16)
}

fn flip(dir: &Path, file: prop::sample::Index, at: prop::sample::Index) {
    let mut files: Vec<_> = fs::read_dir(dir).map_or(Vec::new(), |dir| dir.flatten().map(|f| f.path()).collect());
    files.retain(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 0));
    files.sort();
    if !files.is_empty() {
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// Opens and looks everything up; damage that shows drops the cache, and the next opening must be whole.
fn assert_whole(dir: &Path, listing: &Listing, hidden: &[PackId]) {
    for _ in 0..2 {
        let Ok(mut index) = sync(Some(dir), listing, Effects::default()) else { continue };
        let sound = (0..400).all(|chunk| index.places(&id(chunk)).is_ok());
        let sound = sound && (0..=u8::MAX).all(|n| index.holds(Area::Data, &pack_id(n)).is_ok());
        if sound {
            return assert_answers_like(listing, &mut index, hidden);
        }
    }
    panic!("a damaged cache is built anew by the second opening at the latest");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_cache_answers_like_the_segments_whatever_befell_it(steps in steps(), hidden in prop::collection::vec(0u8..60, 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let hidden: Vec<PackId> = hidden.into_iter().map(pack_id).collect();
        let mut listing = Listing::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Written(packs) => {
                    listing.insert(n, packs);
                }
                Step::Merged(replaced, stay) => {
                    let gone = listing.keys().copied().nth(replaced);
                    if let Some(packs) = gone.and_then(|gone| listing.remove(&gone)) {
                        let stays = packs.into_iter().zip(0..).filter(|(_, at)| stay >> at & 1 == 1);
                        listing.insert(n, stays.map(|(pack, _)| pack).collect());
                    }
                }
                Step::CacheLost => drop(fs::remove_dir_all(&cache)),
                Step::Crash(at) => {
                    listing.insert(n, vec![pack(200 + n as u8, &[n as u16, 300 + n as u16])]);
                    let script = Arc::new(Mutex::new(Script { fail_from: Some(at), ..Script::default() }));
                    // A full disk: the index of this run is whole all the same.
                    let mut index = sync(Some(&cache), &listing, Effects::scripted(script)).unwrap();
                    assert_answers_like(&listing, &mut index, &hidden);
                }
                Step::Flip(file, at) => flip(&cache, file, at),
            }
            assert_whole(&cache, &listing, &hidden);
        }
        let mut fresh = sync(None, &listing, Effects::default()).unwrap();
        assert_answers_like(&listing, &mut fresh, &hidden);
    }

    #[test]
    fn arbitrary_and_changed_files_are_refused_without_a_panic(bytes: Vec<u8>, at in any::<prop::sample::Index>(), byte: u8) {
        let _ = Manifest::decode(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filter");
        fs::write(&path, &bytes).unwrap();
        let stamp = Stamp { cache: [0; 16], file: 1 };
        prop_assert!(Filter::read(&path, &stamp, 1).is_err());

        let (manifest, filter) = sample_files(dir.path());
        let mut changed = manifest.clone();
        let place = at.index(changed.len());
        changed[place] = byte;
        prop_assert!(changed == manifest || Manifest::decode(&changed).is_err());
        changed.truncate(place);
        prop_assert!(Manifest::decode(&changed).is_err());

        // A filter with a valid checksum over changed fields still looks up within its memory.
        let mut changed = filter.clone();
        let place = at.index(changed.len());
        changed[place] = byte;
        reseal_filter(&mut changed, &stamp);
        fs::write(&path, &changed).unwrap();
        if let Ok(filter) = Filter::read(&path, &stamp, 1) {
            (0..400).for_each(|chunk| { filter.may_hold(u64::from_be_bytes(id(chunk).0[..8].try_into().unwrap())); });
        }
    }
}

fn sample_files(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let cache = dir.join("cache");
    let listing = Listing::from([(0, vec![pack(1, &[1, 2, 3, 4, 5, 6, 7, 8])])]);
    sync(Some(&cache), &listing, Effects::default()).unwrap();
    let filter = fs::read_dir(&cache).unwrap().flatten().map(|file| file.path());
    let filter = filter.filter(|path| path.extension().is_some_and(|e| e == "filter")).min().unwrap();
    (fs::read(cache.join("manifest")).unwrap(), fs::read(filter).unwrap())
}

fn reseal_filter(bytes: &mut [u8], stamp: &Stamp) {
    let (tail, number) = (bytes.len() - 20, |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap()) as usize);
    let length = (number(&bytes[tail..tail + 4]) * 37).saturating_add(8);
    if let Some(start) = tail.checked_sub(length) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&stamp.bytes()), &bytes[start..tail]);
        bytes[tail + 8..tail + 12].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn a_manifest_is_published_only_after_all_it_names_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let script = Arc::new(Mutex::new(Script::default()));
    let mut listing = Listing::new();
    for n in 0..6 {
        listing.insert(n, vec![pack(n as u8, &[n as u16, 100 + n as u16])]);
        sync(Some(dir.path()), &listing, Effects::scripted(script.clone())).unwrap();
    }
    let (mut dirty, mut published) = (BTreeSet::new(), 0);
    for effect in &script.lock().unwrap().done {
        match effect {
            Effect::Create(path) | Effect::Write(path) => drop(dirty.insert(path.clone())),
            Effect::Sync(path) | Effect::Remove(path) => drop(dirty.remove(path)),
            Effect::Publish(_) => {
                assert!(dirty.is_empty(), "published over {dirty:?}");
                published += 1;
            }
        }
    }
    assert_eq!(published, 6);
}

#[test]
fn a_crash_at_every_effect_leaves_a_cache_that_is_whole() {
    let base = Listing::from([(0, vec![pack(0, &[1, 2, 3])]), (1, vec![pack(1, &[3, 4, 5])])]);
    let mut later = base.clone();
    later.insert(2, vec![pack(2, &[5, 6, 7])]);
    for at in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        sync(Some(dir.path()), &base, Effects::default()).unwrap();
        let script = Arc::new(Mutex::new(Script { fail_from: Some(at), ..Script::default() }));
        sync(Some(dir.path()), &later, Effects::scripted(script.clone())).unwrap();
        let mut reopened = sync(Some(dir.path()), &later, Effects::default()).unwrap();
        assert_answers_like(&later, &mut reopened, &[]);
        if script.lock().unwrap().done.len() < at {
            return;
        }
    }
    panic!("the scenario has an end");
}

#[test]
fn a_cache_of_another_vault_or_reader_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let listing = Listing::from([(0, vec![pack(0, &[1])])]);
    sync(Some(dir.path()), &listing, Effects::default()).unwrap();
    let known = |vault, reader| IndexBuilder::open(Some(dir.path()), vault, reader).names().count();
    assert_eq!(known(VAULT, None), 1);
    assert_eq!(known(VAULT, Some(MachineId([2; 16]))), 0);
    sync(Some(dir.path()), &listing, Effects::default()).unwrap();
    assert_eq!(known(VaultId([8; 16]), None), 0);
}

#[test]
fn two_processes_at_once_answer_right_and_leave_one_cache() {
    let dir = tempfile::tempdir().unwrap();
    let listing = Listing::from([(0, vec![pack(0, &[1, 2])]), (1, vec![pack(1, &[2, 3])])]);
    let mut first = sync(Some(dir.path()), &listing, Effects::default()).unwrap();
    let mut second = sync(Some(dir.path()), &listing, Effects::default()).unwrap();
    assert_answers_like(&listing, &mut first, &[]);
    assert_answers_like(&listing, &mut second, &[]);
    drop((second, first));
    assert_eq!(IndexBuilder::open(Some(dir.path()), VAULT, None).names().count(), 2);
}

#[test]
fn a_sorted_set_of_many_runs_answers_like_a_set() {
    let (mut levels, mut ground, pages) = (Levels::new(100), Ground::default(), PageCache::new(1 << 16));
    let mut model: BTreeMap<[u8; 16], BTreeSet<Location>> = BTreeMap::new();
    for n in 0u32..20_000 {
        // Heads that collide, across pages and partitions: somebody may have chosen the ids.
        let mut key = [0; 16];
        key[7] = (n % 7) as u8;
        key[8..12].copy_from_slice(&(n % 9000).to_be_bytes());
        let place = Location { pack: n % 11, block: n / 9000, member: 0 };
        levels.insert(Entry { key, place }, &mut ground, Filters::Now).unwrap();
        model.entry(key).or_default().insert(place);
    }
    assert!(levels.runs().len() < 20, "{} runs", levels.runs().len());
    for (key, places) in &model {
        let mut found = BTreeSet::new();
        let mut note = |place| {
            found.insert(place);
            false
        };
        levels.visit(&pages, key, &mut note).unwrap();
        assert_eq!(&found, places);
        let mut absent = *key;
        absent[15] = 1;
        assert!(!levels.visit(&pages, &absent, &mut |_| true).unwrap());
    }
}

#[test]
fn with_no_folder_at_all_the_index_stays_in_memory() {
    let script = Arc::new(Mutex::new(Script { fail_from: Some(0), ..Script::default() }));
    let mut levels = Levels::new(50);
    let mut ground = Ground::new(None, Effects::scripted(script));
    for n in 0..1000 {
        let place = Location { pack: 0, block: 0, member: n };
        let entry = Entry { key: super::entry::key(&id(n as u16)), place };
        levels.insert(entry, &mut ground, Filters::Now).unwrap();
    }
    let pages = PageCache::new(4096);
    let found = |n| levels.visit(&pages, &super::entry::key(&id(n)), &mut |_| true).unwrap();
    assert!((0..1000).all(found) && !found(2000));
}

#[test]
fn a_private_folder_goes_with_its_index() {
    let home = Home::private(Effects::default()).unwrap();
    let path = home.path(1, "run");
    home.create(&path).unwrap().finish().unwrap();
    assert!(path.exists());
    drop(home);
    assert!(!path.parent().unwrap().exists());
}
