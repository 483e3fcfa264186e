//! Small files nobody else reads, replaced whole.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nightkeep_platform::secret_file;

#[test]
fn contents_are_replaced_whole_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("deep/identity");
    secret_file::create_private_dir(&home).unwrap();
    let path = home.join("key");
    secret_file::write(&path, b"one").unwrap();
    secret_file::write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "no temporary file is left behind");
}

#[test]
fn creating_never_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    secret_file::create(&path, b"first").unwrap();
    let error = secret_file::create(&path, b"second").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"first");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_the_old_contents_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    fs::create_dir(&path).unwrap();
    assert!(secret_file::write(&path, b"x").is_err());
    assert!(path.is_dir());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
