//! Windows files read and written by handle. Under Wine, too, but for what its own filesystem lacks (packaging/windows/README.md).
#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its folder has failed")]

use nightkeep_platform::files::{self, Dir, FileKind, Timestamp};
use nightkeep_platform::mounts::Mounts;
use nightkeep_platform::restore::{self, Attributes, IfExists, TargetDir};
use nightkeep_platform::{host, memory, names, secret_file};
use std::fs::{self, File};
use std::io::Read;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};

fn listed(dir: &Dir) -> Vec<String> {
    dir.read().unwrap().into_iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
}

fn attributes(modified: Timestamp) -> Attributes<'static> {
    Attributes { kind: FileKind::Regular, mode: 0o644, uid: 0, gid: 0, modified, xattrs: &[] }
}

#[test]
fn a_directory_is_listed_in_the_order_of_its_bytes_with_what_a_look_at_each_entry_tells() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b", "ä", "a b", "中文.txt", "Z"] {
        fs::write(dir.path().join(name), name.repeat(1000)).unwrap();
    }
    fs::create_dir(dir.path().join("sub")).unwrap();
    let opened = Dir::open(dir.path()).unwrap();
    assert_eq!(listed(&opened), ["Z", "a b", "b", "sub", "ä", "中文.txt"]);
    for entry in opened.read().unwrap() {
        let (listed, looked) = (entry.meta.unwrap(), opened.stat(&entry.name).unwrap());
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        assert_eq!(
            (listed.kind, listed.bytes, listed.modified),
            (looked.kind, looked.bytes, looked.modified),
            "{name}"
        );
        assert_eq!((listed.inode, listed.device, listed.mode), (looked.inode, looked.device, looked.mode), "{name}");
        assert_eq!((listed.links, listed.changed), (looked.links, looked.changed), "{name}");
    }
    assert!(opened.list().unwrap().contains("ä".as_bytes()) && !opened.list().unwrap().contains(b"c"));
    assert_eq!(opened.stat(b"missing").unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

/// A listing's own figures of a file that is still open may be old for as long as it is.
#[test]
fn a_file_that_is_written_to_by_an_open_handle_shows_it_in_the_listing() {
    let dir = tempfile::tempdir().unwrap();
    let mut open = File::create(dir.path().join("open")).unwrap();
    let opened = Dir::open(dir.path()).unwrap();
    for bytes in [10, 20, 30] {
        std::io::Write::write_all(&mut open, &[b'x'; 10]).unwrap();
        assert_eq!(opened.read().unwrap().remove(0).meta.unwrap().bytes, bytes);
    }
}

#[test]
fn names_that_no_text_can_hold_and_paths_beyond_any_limit_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let mut deep = target.try_clone().unwrap();
    let part = "d".repeat(200);
    for _ in 0..5 {
        deep = deep.create_dir(part.as_bytes(), IfExists::Fail).unwrap();
    }
    // A lone surrogate, as the system allows it, in WTF-8. Wine keeps its files on a system that does not.
    let odd = [b"odd-".as_slice(), &[0xed, 0xa0, 0x80]].concat();
    let odd = Some(odd).filter(|_| std::env::var_os("NIGHTKEEP_UNDER_WINE").is_none());
    let plain = [b"con".as_slice(), b"trailing dot.", b"trailing space "].map(<[u8]>::to_vec);
    let mut made: Vec<Vec<u8>> = plain.into_iter().chain(odd).collect();
    made.sort();
    for name in &made {
        let file = deep.create_file(name, IfExists::Fail).unwrap();
        restore::write_at(&file, b"contents", 0).unwrap();
    }
    let names: Vec<Vec<u8>> = deep.as_dir().read().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, made);
    for name in names {
        let mut text = String::new();
        deep.as_dir().open_file(&name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "contents");
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let target = TargetDir::open(&dir.path().join("sub")).unwrap();
    for name in [r"..\file", "../file", "..", r"a\b", "file:stream", "", r"C:\file"] {
        assert!(target.create_file(name.as_bytes(), IfExists::Replace).is_err(), "{name}");
        assert!(target.as_dir().open_file(name.as_bytes()).is_err(), "{name}");
        assert!(target.open_dir(name.as_bytes()).is_err(), "{name}");
    }
    assert!(target.open_beneath(b"../sub").is_err());
}

#[test]
fn contents_times_and_attributes_are_restored_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let file = target.create_file(b"file", IfExists::Fail).unwrap();
    restore::set_len(&file, 100_000).unwrap();
    restore::write_at(&file, b"end", 99_997).unwrap();
    let modified = Timestamp { seconds: 1_234_567_890, nanoseconds: 123_456_700 };
    let hidden = (b"windows.attributes".to_vec(), 0x22u32.to_le_bytes().to_vec());
    let xattrs = [hidden];
    let errors =
        restore::set_file_attributes(&file, b"file", &Attributes { xattrs: &xattrs, ..attributes(modified) }, None);
    assert!(errors.is_empty(), "{errors:?}");
    drop(file);
    let meta = target.stat(b"file").unwrap().unwrap();
    assert_eq!((meta.bytes, meta.modified, meta.mode), (100_000, modified, 0o644));
    let read = files::xattrs(target.as_dir(), b"file", FileKind::Regular).unwrap().kept;
    assert!(read.contains(&xattrs[0]), "{read:?}");
    assert!(read.iter().any(|(name, _)| name == b"windows.created"));
    let text = fs::read(dir.path().join("file")).unwrap();
    assert_eq!((&text[99_997..], text[0]), (b"end".as_slice(), 0));
}

/// What a security descriptor grants to everybody: an entry for the account S-1-1-0.
fn lets_everybody_in(dir: &Dir, name: &[u8]) -> bool {
    let read = files::xattrs(dir, name, FileKind::Regular).unwrap().kept;
    let (_, descriptor) = read.into_iter().find(|(name, _)| name == b"windows.security").unwrap();
    let everybody = [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    descriptor.windows(everybody.len()).any(|part| part == everybody)
}

#[test]
fn a_file_with_rules_of_its_own_is_nobody_elses_until_they_are_set() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    drop(target.create_file(b"open", IfExists::Fail).unwrap());
    assert!(lets_everybody_in(target.as_dir(), b"open"), "the test's own premise");
    let read = files::xattrs(target.as_dir(), b"open", FileKind::Regular).unwrap().kept;
    let file = target.create_file_with(b"secret", 0o600, &read, IfExists::Fail).unwrap();
    restore::write_at(&file, b"contents", 0).unwrap();
    assert!(!lets_everybody_in(target.as_dir(), b"secret"));
    let errors = restore::set_file_attributes(
        &file,
        b"secret",
        &Attributes { xattrs: &read, ..attributes(Timestamp::default()) },
        None,
    );
    assert!(errors.is_empty(), "{errors:?}");
    assert!(lets_everybody_in(target.as_dir(), b"secret"), "then its own rules hold");
}

#[test]
fn a_read_only_file_is_read_only_again_and_gives_way_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let file = target.create_file(b"file", IfExists::Fail).unwrap();
    let errors = restore::set_file_attributes(
        &file,
        b"file",
        &Attributes { mode: 0o444, ..attributes(Timestamp::default()) },
        None,
    );
    assert!(errors.is_empty(), "{errors:?}");
    drop(file);
    assert!(fs::metadata(dir.path().join("file")).unwrap().permissions().readonly());
    assert!(target.create_file(b"file", IfExists::Fail).is_err());
    let file = target.create_file(b"file", IfExists::Replace).unwrap();
    restore::write_at(&file, b"new", 0).unwrap();
    drop(file);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"new");
    target.remove(b"file").unwrap();
    target.remove(b"file").unwrap();
    assert!(target.is_empty().unwrap());
}

#[test]
fn a_further_name_is_one_of_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    drop(target.create_file(b"one", IfExists::Fail).unwrap());
    target.hard_link(b"two", &target, b"one", IfExists::Fail).unwrap();
    let (one, two) = (target.stat(b"one").unwrap().unwrap(), target.stat(b"two").unwrap().unwrap());
    assert_eq!((one.inode, one.links), (two.inode, 2));
    let open = File::open(dir.path().join("two")).unwrap();
    assert_eq!(files::file_meta(&open).unwrap().inode, one.inode);
}

#[test]
fn a_directory_that_changes_its_name_is_still_written_to_by_its_handle() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let sub = target.create_dir(b"sub", IfExists::Fail).unwrap();
    fs::rename(dir.path().join("sub"), dir.path().join("moved")).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    drop(sub.create_file(b"file", IfExists::Fail).unwrap());
    assert!(dir.path().join("moved").join("file").exists() && !dir.path().join("sub").join("file").exists());
}

#[test]
fn a_secret_replaces_another_whole() {
    let dir = tempfile::tempdir().unwrap();
    let private = dir.path().join("a").join("b");
    secret_file::create_private_dir(&private).unwrap();
    secret_file::create_private_dir(&private).unwrap();
    let path = private.join("key");
    secret_file::create(&path, b"first").unwrap();
    assert_eq!(secret_file::create(&path, b"other").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    secret_file::write(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::read_dir(&private).unwrap().count(), 1);
}

#[test]
fn paths_become_bytes_and_come_back() {
    let odd = std::ffi::OsString::from_wide(&[0x43, 0x3a, 0x5c, 0xd800, 0x5c, 0xe4]);
    let bytes = names::bytes_of(Path::new(&odd));
    assert_eq!(bytes, [b"C:/".as_slice(), &[0xed, 0xa0, 0x80], "/ä".as_bytes()].concat());
    assert_eq!(names::path_of(&bytes).unwrap(), Path::new(&odd));
    assert_eq!(names::join(Path::new(r"C:\base"), b"a/b").unwrap(), PathBuf::from(r"C:\base\a\b"));
}

#[test]
fn the_machine_tells_what_it_is() {
    let facts = host::HostFacts::gather();
    assert!(facts.os_name.contains("Windows"), "{facts:?}");
    assert!(facts.memory_bytes > 100 << 20 && facts.fingerprint.is_some(), "{facts:?}");
    assert!(memory::available_bytes().is_some() && memory::peak_bytes().is_some());
    let mounts = Mounts::read().unwrap();
    let system = Dir::open(Path::new(r"C:\")).unwrap().self_meta().unwrap();
    assert_eq!(mounts.of_device(system.device).unwrap().mount_point, b"C:/");
}

#[tokio::test]
async fn a_caller_is_known_by_its_account_and_the_answer_comes_from_a_trusted_one() {
    use nightkeep_platform::ipc::{Listener, connect};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("control.sock");
    assert_eq!(connect(&place).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let listener = Listener::bind(&place).unwrap();
    // However the place is written.
    let other = dir.path().join("sub").join("..").join("CONTROL.sock");
    for place in [&place, &other] {
        let (client, accepted) = tokio::join!(connect(place), listener.accept());
        let (mut client, (mut server, peer)) = (client.unwrap(), accepted.unwrap());
        assert!(peer.is_administrator() && !peer.name().is_empty(), "{peer:?}");
        assert_eq!(peer.pid, Some(std::process::id()));
        client.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        server.read_exact(&mut heard).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!((&heard, &answer), (b"ping", b"pong"));
    }
    // One that hangs up before it is served holds nobody up; whether it is handed on at all is the system's affair.
    drop(connect(&place).await.unwrap());
    let last = async {
        let mut client = connect(&place).await.unwrap();
        client.write_all(b"last").await.unwrap();
        client
    };
    let served = async {
        loop {
            let (mut server, _) = listener.accept().await.unwrap();
            let mut heard = [0; 4];
            if server.read_exact(&mut heard).await.is_ok() {
                return heard;
            }
        }
    };
    let (_client, heard) = tokio::join!(last, served);
    assert_eq!(&heard, b"last");
}
