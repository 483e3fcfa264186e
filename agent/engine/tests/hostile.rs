//! A hostile vault, and a hostile neighbour in the target: decoding is bounded, and nothing outside the target changes.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

mod support;

use nightkeep_engine::progress::{Progress, Silent, Stop};
use nightkeep_engine::restore::{self, RestoreOptions};
use nightkeep_vault::catalogue;
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::BlobId;
use nightkeep_vault::pack::{Area, BlockType, Codec, GroupKey, Member, PackError, PackWriter, PreparedBlock};
use nightkeep_vault::reader::BlockReader;
use nightkeep_vault::session::Session;
use nightkeep_vault::vault::VaultError;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use support::{Bench, noise, read_all, write};

/// Swaps a folder of the target for a link that leads out, as soon as the first file is done.
struct Swap {
    target: PathBuf,
    outside: PathBuf,
    done: Mutex<bool>,
}

impl Progress for Swap {
    fn advance(&self, _files: u64, _bytes: u64) {
        let mut done = self.done.lock().unwrap();
        if !*done && fs::rename(self.target.join("b"), self.target.join("b was here")).is_ok() {
            symlink(&self.outside, self.target.join("b")).unwrap();
            *done = true;
        }
    }
}

fn outside(bench: &Bench) -> PathBuf {
    let outside = bench.dir.path().join("outside");
    write(&outside.join("precious"), b"mine");
    outside
}

fn assert_untouched(outside: &Path) {
    let files = read_all(outside);
    assert_eq!(files.into_iter().collect::<Vec<_>>(), [(b"precious".to_vec(), b"mine".to_vec())]);
}

#[test]
fn scenario_25_a_link_that_is_swapped_in_during_a_restore_leads_nowhere() {
    let bench = Bench::new();
    for folder in ["a", "b", "b/deep", "c"] {
        for n in 0..30u64 {
            write(&bench.source().join(format!("{folder}/file-{n}")), &noise(40_000, n));
        }
    }
    bench.run(&bench.options()).unwrap();
    let (outside, target) = (outside(&bench), bench.dir.path().join("target"));
    let swap = Swap { target: target.clone(), outside: outside.clone(), done: Mutex::new(false) };
    let options = RestoreOptions { target, include: Vec::new(), overwrite: false, workers: 2 };
    let restored = restore::run(&bench.vault, &bench.points()[0], &options, &swap, &Stop::new());
    assert!(*swap.done.lock().unwrap(), "the test's own premise");
    // Whether the folder's files are called restored or not: none of them lies outside.
    drop(restored);
    assert_untouched(&outside);
}

#[test]
fn scenario_25_links_that_wait_in_the_target_are_replaced_and_not_followed() {
    let bench = Bench::new();
    write(&bench.source().join("folder/precious"), &noise(40_000, 1));
    write(&bench.source().join("file"), b"short");
    bench.run(&bench.options()).unwrap();
    let (outside, target) = (outside(&bench), bench.dir.path().join("target"));
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("folder")).unwrap();
    symlink(outside.join("precious"), target.join("file")).unwrap();
    let options = RestoreOptions { target: target.clone(), include: Vec::new(), overwrite: true, workers: 2 };
    let report = restore::run(&bench.vault, &bench.points()[0], &options, &Silent, &Stop::new()).unwrap();
    assert_eq!(report.findings, []);
    assert_untouched(&outside);
    assert_eq!(read_all(&target), read_all(&bench.source()));
}

#[test]
fn scenario_25_paths_that_lead_out_are_refused_where_they_are_read() {
    for path in ["../x", "a/../x", "/x", "a//x", "a/", ".", "..", "a\0b"] {
        let mut hunk = vec![1, 1, 0, path.len() as u8];
        hunk.extend_from_slice(path.as_bytes());
        // mode, uid, gid, modified, changed, inode, size, no content, no extras
        hunk.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(catalogue::decode_hunk(&hunk).is_err(), "{path:?}");
    }
    // The same entry with a path of its own is read: it is the path that is refused.
    let sound = [&[1, 1, 0, 1][..], b"x", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(catalogue::decode_hunk(&sound).unwrap().len(), 1);
    // A list that claims more entries than bytes could hold takes no memory for them.
    assert!(catalogue::decode_hunk(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

#[test]
fn scenario_25_a_block_that_grows_beyond_its_stated_length_is_refused() {
    let bench = Bench::new();
    let session = Session::open(bench.vault.clone(), bench.vault.writer("machine").unwrap(), Time::default()).unwrap();
    let (epoch, public) = bench.vault.sealing_key();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let block = |plain_bytes: u32, payload: &[u8], codec| PreparedBlock {
        block_type: BlockType::Chunk,
        codec,
        payload: payload.to_vec(),
        plain_bytes,
        members: vec![Member { id: BlobId([1; 32]), bytes: plain_bytes }],
    };
    let mut writer =
        PackWriter::new(bench.vault.id(), vec![GroupKey::for_data(bench.vault.id(), public, epoch).unwrap()], 0);
    writer.append(0, block(1000, &bomb, Codec::Zstd));
    writer.append(0, block(1000, b"too short", Codec::Stored));
    writer.append(0, block(5, b"right", Codec::Stored));
    let pack = writer.finish(&bench.vault.keys().index);
    session.put_pack(Area::Data, &pack).unwrap();
    let blocks = BlockReader::new(bench.vault.clone());
    let pack = blocks.open(Area::Data, pack.id).unwrap();
    for (number, wanted) in [(0, PackError::Decompress), (1, PackError::Decompress), (2, PackError::Content)] {
        match blocks.read_block(&pack, number) {
            Err(VaultError::Pack { source, .. }) => assert_eq!(source, wanted, "block {number}"),
            other => panic!("block {number}: {:?}", other.map(|plain| plain.len())),
        }
    }
    assert!(matches!(blocks.read_block(&pack, 3), Err(VaultError::Pack { source: PackError::Frame(_), .. })));
}
