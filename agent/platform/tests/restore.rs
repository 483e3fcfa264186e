//! Writing a tree: exact attributes, and nothing outside the target.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use nightkeep_platform::files::{Dir, FileKind, Timestamp, Xattr, xattrs};
use nightkeep_platform::process::is_root;
use nightkeep_platform::restore::{Attributes, IfExists, Node, Operation, TargetDir, set_len, sync_file, write_at};

/// `cap_net_bind_service+ep` as the kernel stores it (linux/capability.h, revision 2).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `user::rw-,user:65534:r--,group::r--,mask::r--,other::---` as the kernel stores it (linux/posix_acl_xattr.h).
const ACL: &[u8] = &[
    2, 0, 0, 0, // version
    1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, // owner
    2, 0, 4, 0, 0xfe, 0xff, 0, 0, // user 65534
    4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // group
    0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, // mask
    0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, // others
];

const MODIFIED: Timestamp = Timestamp { seconds: -86_400, nanoseconds: 123_456_789 };

fn attributes(kind: FileKind, mode: u32, xattrs: &[Xattr]) -> Attributes<'_> {
    let (uid, gid) = if is_root() { (1234, 4321) } else { own_ids() };
    Attributes { kind, mode, uid, gid, modified: MODIFIED, xattrs }
}

fn own_ids() -> (u32, u32) {
    let me = fs::metadata("/proc/self").unwrap();
    (me.uid(), me.gid())
}

fn kinds_of_errors(errors: &[nightkeep_platform::restore::RestoreError]) -> Vec<Operation> {
    errors.iter().map(|error| error.operation).collect()
}

#[test]
fn everything_a_filesystem_holds_comes_back_with_its_attributes() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let all: Vec<Xattr> = vec![
        (b"security.capability".to_vec(), CAPABILITY.to_vec()),
        (b"system.posix_acl_access".to_vec(), ACL.to_vec()),
        (b"trusted.mark".to_vec(), b"1".to_vec()),
        (b"user.mark".to_vec(), b"\0\xff".to_vec()),
    ];
    let file = target.create_file(b"file", IfExists::Fail).unwrap();
    write_at(&file, b"tail", 1 << 30).unwrap();
    set_len(&file, (1 << 30) + 100).unwrap();
    sync_file(&file).unwrap();
    target.symlink(b"link", b"/etc/passwd", IfExists::Fail).unwrap();
    target.hard_link(b"second", &target, b"file", IfExists::Fail).unwrap();
    target.hard_link(b"second link", &target, b"link", IfExists::Fail).unwrap();
    target.node(b"fifo", Node::Fifo, IfExists::Fail).unwrap();
    target.node(b"socket", Node::Socket, IfExists::Fail).unwrap();
    target.node(b"tty", Node::CharDevice(4, 1), IfExists::Fail).unwrap();
    target.node(b"disk", Node::BlockDevice(259, 70_000), IfExists::Fail).unwrap();
    target.create_dir(b"dir", IfExists::Fail).unwrap();
    let mut file_attributes = attributes(FileKind::Regular, 0o640, &all);
    let of_link: Vec<Xattr> = vec![(b"trusted.mark".to_vec(), b"link".to_vec())];
    let expectations = [
        (b"link".as_slice(), attributes(FileKind::Symlink, 0o777, &of_link)),
        (b"fifo", attributes(FileKind::Fifo, 0o620, &[])),
        (b"socket", attributes(FileKind::Socket, 0o700, &[])),
        (b"tty", attributes(FileKind::CharDevice, 0o666, &[])),
        (b"disk", attributes(FileKind::BlockDevice, 0o660, &[])),
        (b"dir", attributes(FileKind::Directory, 0o3555, &[])),
        (b"file", file_attributes),
    ];
    for (name, attributes) in &expectations {
        assert_eq!(kinds_of_errors(&target.set_attributes(name, attributes)), [], "{name:?}");
    }
    let read = Dir::open(dir.path()).unwrap();
    for (name, attributes) in &expectations {
        let meta = read.stat(name).unwrap();
        let found = (meta.kind, meta.mode, meta.uid, meta.gid, meta.modified);
        assert_eq!(found, (attributes.kind, attributes.mode, 1234, 4321, MODIFIED), "{name:?}");
        assert_eq!(xattrs(&read, name, meta.kind).unwrap().kept, attributes.xattrs, "{name:?}");
    }
    let meta = read.stat(b"second").unwrap();
    assert_eq!((meta.links, meta.bytes, meta.inode), (2, (1 << 30) + 100, read.stat(b"file").unwrap().inode));
    assert!(meta.blocks_512 < 4096, "the hole stays a hole");
    assert_eq!(read.stat(b"tty").unwrap().device_number, (4, 1));
    assert_eq!(read.stat(b"second link").unwrap().kind, FileKind::Symlink);
    assert_ne!(fs::metadata("/etc/passwd").unwrap().uid(), 1234, "the link's attributes did not reach its target");
    file_attributes.kind = FileKind::Directory;
    assert_eq!(kinds_of_errors(&target.set_attributes(b"file", &file_attributes)), [Operation::Open]);
    target.sync().unwrap();
    target.sync_filesystem().unwrap();
}

#[test]
fn nothing_is_written_through_links_or_odd_names() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), b"whole").unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    symlink(outside.path(), dir.path().join("escape")).unwrap();
    symlink(outside.path().join("victim"), dir.path().join("file")).unwrap();
    symlink(outside.path().join("new"), dir.path().join("dangling")).unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    assert!(target.open_dir(b"escape").is_err());
    assert!(target.create_dir(b"escape", IfExists::Fail).is_err());
    assert!(target.open_beneath(b"a/b").is_ok());
    for path in [b"escape/x".as_slice(), b"escape", b"a/../..", b"/etc", b"a/../escape"] {
        assert!(target.open_beneath(path).is_err(), "{}", String::from_utf8_lossy(path));
    }
    assert!(target.create_file(b"file", IfExists::Fail).is_err());
    assert!(target.create_file(b"dangling", IfExists::Fail).is_err());
    assert!(target.open_file(b"file").is_err());
    for name in [b"../x".as_slice(), b"..", b".", b"", b"a/x", b"x\0y"] {
        assert!(target.create_file(name, IfExists::Replace).is_err(), "{name:?}");
        assert!(target.create_dir(name, IfExists::Replace).is_err(), "{name:?}");
        assert!(target.symlink(name, b"x", IfExists::Replace).is_err(), "{name:?}");
        assert!(target.hard_link(name, &target, b"file", IfExists::Replace).is_err(), "{name:?}");
        assert!(target.node(name, Node::Fifo, IfExists::Replace).is_err(), "{name:?}");
        assert!(target.remove(name).is_err(), "{name:?}");
        assert!(!target.set_attributes(name, &attributes(FileKind::Regular, 0o666, &[])).is_empty(), "{name:?}");
    }
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"whole");
    assert!(!outside.path().join("new").exists());
}

#[test]
fn replacing_removes_what_is_in_the_way_but_never_a_full_directory() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), b"whole").unwrap();
    symlink(outside.path().join("victim"), dir.path().join("x")).unwrap();
    target.create_file(b"x", IfExists::Replace).unwrap();
    assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"whole");
    target.create_dir(b"x", IfExists::Replace).unwrap();
    target.symlink(b"x", b"y", IfExists::Replace).unwrap();
    let kept = target.create_dir(b"x", IfExists::Replace).unwrap();
    kept.create_file(b"inside", IfExists::Fail).unwrap();
    let error = target.create_file(b"x", IfExists::Replace).unwrap_err();
    assert_eq!(error.operation, Operation::Remove);
    assert!(target.create_dir(b"x", IfExists::Replace).is_ok(), "a directory is opened as it is");
    assert!(dir.path().join("x/inside").exists());
    let error = target.create_dir(b"x", IfExists::Fail).unwrap_err();
    assert_eq!((error.operation, error.source.kind()), (Operation::Create, std::io::ErrorKind::AlreadyExists));
    assert!(!target.is_empty().unwrap());
    assert!(target.stat(b"nothing").unwrap().is_none());
}

#[test]
fn what_is_being_restored_is_readable_by_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = TargetDir::open(dir.path()).unwrap();
    target.create_file(b"file", IfExists::Fail).unwrap();
    target.create_dir(b"dir", IfExists::Fail).unwrap();
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("file") & 0o077, mode("dir") & 0o077), (0, 0));
}

#[test]
fn a_default_acl_of_the_target_is_not_handed_down() {
    let dir = tempfile::tempdir().unwrap();
    let set = rustix::fs::setxattr(dir.path(), "system.posix_acl_default", ACL, rustix::fs::XattrFlags::empty());
    if set.is_err() {
        return; // This filesystem has no ACLs.
    }
    let target = TargetDir::open(dir.path()).unwrap();
    target.create_file(b"file", IfExists::Fail).unwrap();
    let sub = target.create_dir(b"dir", IfExists::Fail).unwrap();
    assert!(!xattrs(target.as_dir(), b"dir", FileKind::Directory).unwrap().kept.is_empty(), "the test's own premise");
    assert_eq!(kinds_of_errors(&target.set_attributes(b"file", &attributes(FileKind::Regular, 0o640, &[]))), []);
    assert_eq!(kinds_of_errors(&sub.set_own_attributes(&attributes(FileKind::Directory, 0o750, &[]), None)), []);
    assert_eq!(xattrs(target.as_dir(), b"file", FileKind::Regular).unwrap().kept, []);
    assert_eq!(xattrs(target.as_dir(), b"dir", FileKind::Directory).unwrap().kept, []);
    assert_eq!(target.stat(b"file").unwrap().unwrap().mode, 0o640);
}

#[test]
fn an_ordinary_user_restores_all_but_ownership() {
    let dir = support::shared_tempdir().unwrap();
    support::as_ordinary_user("ordinary_user_restores", dir.path()).unwrap();
}

#[test]
#[ignore = "run as an ordinary user by an_ordinary_user_restores_all_but_ownership"]
fn ordinary_user_restores() {
    let Some(directory) = support::directory() else { return };
    let target = TargetDir::open(&directory).unwrap();
    target.create_file(b"file", IfExists::Fail).unwrap();
    let mark: Vec<Xattr> = vec![(b"user.mark".to_vec(), b"kept though read-only".to_vec())];
    let (uid, gid) = own_ids();
    let own = Attributes { uid, gid, ..attributes(FileKind::Regular, 0o444, &mark) };
    assert_eq!(kinds_of_errors(&target.set_attributes(b"file", &own)), []);
    assert_eq!(xattrs(target.as_dir(), b"file", FileKind::Regular).unwrap().kept, mark);
    target.create_file(b"suid", IfExists::Fail).unwrap();
    let foreign = Attributes { uid: 0, gid: 0, ..attributes(FileKind::Regular, 0o6755, &[]) };
    assert_eq!(kinds_of_errors(&target.set_attributes(b"suid", &foreign)), [Operation::SetOwner]);
    let meta = target.stat(b"suid").unwrap().unwrap();
    assert_eq!((meta.mode, meta.modified), (0o755, MODIFIED), "another's setuid bit is not lent to this user");
    let error = target.node(b"disk", Node::BlockDevice(8, 0), IfExists::Fail).unwrap_err();
    assert_eq!((error.operation, error.source.kind()), (Operation::Create, std::io::ErrorKind::PermissionDenied));
}
