//! Reading a tree that holds everything a filesystem can hold.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nightkeep_platform::files::{Dir, FileKind, file_meta, next_data, xattrs, xattrs_of_file};
use nightkeep_platform::process::is_root;
use rustix::fs::{FileType, Mode, XattrFlags, mknodat};

fn setxattr(path: &Path, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
}

#[test]
fn entries_are_sorted_by_bytes_and_names_are_kept_raw() {
    let dir = tempfile::tempdir().unwrap();
    let longest = vec![0xff; 255];
    let names: [&[u8]; 5] = [b"a b\n", b"B", "\u{fc}".as_bytes(), b"\x80\xfe", &longest];
    for name in names {
        fs::write(dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    let opened = Dir::open(dir.path()).unwrap();
    let read = |dir: &Dir| dir.read().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    let mut expected: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    expected.sort();
    assert_eq!(read(&opened), expected);
    assert_eq!(read(&opened), expected, "a second read starts anew");
    assert_eq!(read(&opened.try_clone().unwrap()), expected);
    let mut contents = Vec::new();
    opened.open_file(&longest).unwrap().read_to_end(&mut contents).unwrap();
    assert_eq!(contents, longest);
}

#[test]
fn metadata_is_what_stat_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"12345").unwrap();
    fs::hard_link(&path, dir.path().join("second")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    let expected = fs::metadata(&path).unwrap();
    let opened = Dir::open(dir.path()).unwrap();
    let meta = opened.stat(b"file").unwrap();
    assert_eq!(meta.kind, FileKind::Regular);
    assert_eq!(meta.mode, 0o4751);
    assert_eq!((meta.uid, meta.gid, meta.bytes, meta.links), (expected.uid(), expected.gid(), 5, 2));
    assert_eq!((meta.inode, meta.device), (expected.ino(), expected.dev()));
    assert_eq!(
        (meta.modified.seconds, i64::from(meta.modified.nanoseconds)),
        (expected.mtime(), expected.mtime_nsec())
    );
    assert_eq!((meta.changed.seconds, i64::from(meta.changed.nanoseconds)), (expected.ctime(), expected.ctime_nsec()));
    assert_eq!(file_meta(&opened.open_file(b"file").unwrap()).unwrap(), meta);
    assert_eq!(opened.read().unwrap().pop().unwrap().meta.unwrap(), meta);
    assert_eq!(opened.self_meta().unwrap().kind, FileKind::Directory);
}

#[test]
fn no_link_is_followed_and_no_fifo_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    symlink("/etc/hostname", dir.path().join("file-link")).unwrap();
    mknodat(rustix::fs::CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let opened = Dir::open(dir.path()).unwrap();
    assert!(opened.open_dir(b"link").is_err());
    assert!(opened.open_file(b"file-link").is_err());
    assert_eq!(opened.read_link(b"link").unwrap(), b"real");
    assert_eq!(opened.stat(b"link").unwrap().kind, FileKind::Symlink);
    assert_eq!(opened.stat(b"fifo").unwrap().kind, FileKind::Fifo);
    assert!(opened.open_file(b"fifo").is_ok(), "opens at once with no writer there");
    for name in [b"../x".as_slice(), b"..", b".", b"", b"real/../link", b"a\0b"] {
        assert!(opened.open_file(name).is_err(), "{name:?}");
        assert!(opened.open_dir(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_device_node_keeps_its_numbers() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let device = rustix::fs::makedev(259, 70_000);
    mknodat(rustix::fs::CWD, dir.path().join("disk"), FileType::BlockDevice, Mode::RUSR, device).unwrap();
    let meta = Dir::open(dir.path()).unwrap().stat(b"disk").unwrap();
    assert_eq!((meta.kind, meta.device_number), (FileKind::BlockDevice, (259, 70_000)));
}

#[test]
fn a_listing_gives_its_entries_in_pieces_and_leaves_out_what_vanished() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..9000 {
        fs::write(dir.path().join(format!("{n:05}")), b"").unwrap();
    }
    let opened = Dir::open(dir.path()).unwrap();
    let mut listing = opened.list().unwrap();
    assert!(listing.contains(b"08999") && !listing.contains(b"09000"));
    fs::remove_file(dir.path().join("08999")).unwrap();
    let (mut pieces, mut names) = (0, Vec::new());
    while let Some(entries) = opened.next_entries(&mut listing) {
        pieces += 1;
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    let expected: Vec<Vec<u8>> = (0..8999).map(|n| format!("{n:05}").into_bytes()).collect();
    assert!(pieces > 1 && names == expected, "{pieces} pieces, {} names", names.len());
}

#[test]
fn only_data_is_an_extent_of_a_sparse_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    let bytes = 3 << 30;
    file.write_all_at(&[1; 4096], 1 << 20).unwrap();
    file.set_len(bytes).unwrap();
    file.sync_all().unwrap();
    let file = Dir::open(dir.path()).unwrap().open_file(b"sparse").unwrap();
    let first = next_data(&file, 0, bytes).unwrap().unwrap();
    assert!(first.0 <= 1 << 20 && first.1 >= (1 << 20) + 4096 && first.1 - first.0 < 1 << 21, "{first:?}");
    assert_eq!(next_data(&file, first.1, bytes).unwrap(), None, "nothing but a hole follows");
    assert!(file_meta(&file).unwrap().blocks_512 < 4096);
    assert_eq!(next_data(&file, 0, 0).unwrap(), None);
    file.set_len(0).unwrap_err();
    let hole = fs::File::create(dir.path().join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    assert_eq!(next_data(&hole, 0, 1 << 20).unwrap(), None);
}

#[test]
fn xattrs_of_every_namespace_are_read_also_of_links_and_unreadable_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::File::create(&path).unwrap().write_all(b"x").unwrap();
    let large = vec![7; 3000];
    if setxattr(&path, "user.large", &large).is_err() {
        return; // This filesystem has none.
    }
    setxattr(&path, "user.empty", b"").unwrap();
    let opened = Dir::open(dir.path()).unwrap();
    let expected = vec![(b"user.empty".to_vec(), vec![]), (b"user.large".to_vec(), large)];
    assert_eq!(xattrs(&opened, b"file", FileKind::Regular).unwrap().kept, expected);
    assert_eq!(xattrs_of_file(&opened.open_file(b"file").unwrap()).unwrap().kept, expected);
    symlink("nowhere", dir.path().join("link")).unwrap();
    assert_eq!(xattrs(&opened, b"link", FileKind::Symlink).unwrap().kept, []);
    if is_root() {
        setxattr(&dir.path().join("link"), "trusted.mark", b"of the link").unwrap();
        let of_link = vec![(b"trusted.mark".to_vec(), b"of the link".to_vec())];
        assert_eq!(xattrs(&opened, b"link", FileKind::Symlink).unwrap().kept, of_link);
    }
}

#[test]
fn an_unreadable_file_is_told_apart_from_a_readable_one() {
    let dir = support::shared_tempdir().unwrap();
    fs::write(dir.path().join("open"), b"x").unwrap();
    fs::write(dir.path().join("shut"), b"x").unwrap();
    fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(dir.path().join("shut"), fs::Permissions::from_mode(0o000)).unwrap();
    support::as_ordinary_user("ordinary_user_meets_an_unreadable_file", dir.path()).unwrap();
}

#[test]
#[ignore = "run as an ordinary user by an_unreadable_file_is_told_apart_from_a_readable_one"]
fn ordinary_user_meets_an_unreadable_file() {
    let Some(directory) = support::directory() else { return };
    let opened = Dir::open(&directory).unwrap();
    assert_eq!(opened.read().unwrap().len(), 2);
    assert!(opened.open_file(b"open").is_ok(), "another's file opens without the owner's right to O_NOATIME");
    let error = opened.open_file(b"shut").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(opened.stat(b"shut").unwrap().bytes, 1);
}

#[test]
fn reading_does_not_touch_the_access_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"x").unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let times = fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let mut contents = Vec::new();
    Dir::open(dir.path()).unwrap().open_file(b"file").unwrap().read_to_end(&mut contents).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), long_ago);
}

#[test]
fn a_hundred_thousand_entries_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..100_000 {
        rustix::fs::openat(
            rustix::fs::CWD,
            dir.path().join(format!("{index:06}")),
            rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
            Mode::RUSR,
        )
        .unwrap();
    }
    let entries = Dir::open(dir.path()).unwrap().read().unwrap();
    assert_eq!(entries.len(), 100_000);
    assert!(entries.iter().enumerate().all(|(index, entry)| entry.name == format!("{index:06}").as_bytes()));
}
