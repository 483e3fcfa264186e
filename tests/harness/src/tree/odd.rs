//! A tree with everything a filesystem can hold.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::Random;

/// Size of the sparse file with an island of data in its middle.
const SPARSE_BYTES: u64 = 3 << 30;

/// What the tree may hold.
#[derive(Debug, Clone, Copy)]
pub struct OddOptions {
    /// Also what only root can make: device nodes, capabilities, trusted attributes, other owners.
    pub as_root: bool,
    /// Also the 3 GiB sparse file, which takes a judge seconds to read.
    pub sparse: bool,
}

/// Writes the tree into the existing directory `root`. What this filesystem lacks (ACLs, attributes) is left out.
pub fn odd(root: &Path, options: OddOptions) -> Result<()> {
    names(&root.join("names"))?;
    contents(&root.join("contents"), options)?;
    links(&root.join("links"))?;
    nodes(&root.join("nodes"), options)?;
    attributes(&root.join("attributes"), options)?;
    modes_and_times(&root.join("modes"), options)?;
    Ok(())
}

fn names(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let longest_bytes = [0xfe; 255];
    let longest_text = "\u{e4}".repeat(127);
    let names: [&[u8]; 12] = [
        b" leading and trailing ",
        b"new\nline",
        b"tab\tand \x01 control",
        b"back\\slash",
        b"-n",
        b"*?[glob]",
        b"quote'\"",
        b"...",
        b"\xff\xfe not UTF-8",
        "\u{65}\u{301} apart".as_bytes(),
        &longest_bytes,
        longest_text.as_bytes(),
    ];
    for name in names {
        fs::write(dir.join(OsStr::from_bytes(name)), name)?;
    }
    let mut deep = dir.to_owned();
    for level in 0..40 {
        deep.push(format!("level {level}"));
    }
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("at the bottom"), "deep")?;
    Ok(fs::create_dir_all(dir.join(OsStr::from_bytes(&[0xfd; 255])))?)
}

fn contents(dir: &Path, options: OddOptions) -> Result<()> {
    fs::create_dir_all(dir.join("empty folder"))?;
    let mut random = Random::new(1);
    fs::write(dir.join("empty"), "")?;
    fs::write(dir.join("one byte"), "x")?;
    fs::write(dir.join("noise"), random.bytes(3 << 20))?;
    fs::write(dir.join("text"), random.text(2 << 20))?;
    fs::write(dir.join("zeros"), vec![0; 1 << 20])?;
    fs::write(dir.join("same as text"), fs::read(dir.join("text"))?)?;
    let hole = File::create(dir.join("only a hole"))?;
    hole.set_len(1 << 20)?;
    if options.sparse {
        let sparse = File::create(dir.join("sparse"))?;
        sparse.write_all_at(&random.bytes(100_000), SPARSE_BYTES / 2 + 12_345)?;
        sparse.write_all_at(b"end", SPARSE_BYTES - 3)?;
    }
    Ok(())
}

fn links(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("other"))?;
    fs::write(dir.join("first"), "three names")?;
    fs::hard_link(dir.join("first"), dir.join("second"))?;
    fs::hard_link(dir.join("first"), dir.join("other/third"))?;
    symlink("first", dir.join("relative"))?;
    symlink("/etc/hostname", dir.join("absolute"))?;
    symlink("nowhere/at all", dir.join("dangling"))?;
    symlink("..", dir.join("to the parent"))?;
    symlink("loop", dir.join("loop"))?;
    Ok(symlink(OsStr::from_bytes(&[0xff; 200]), dir.join("not UTF-8"))?)
}

fn nodes(dir: &Path, options: OddOptions) -> Result<()> {
    fs::create_dir_all(dir)?;
    let make = |name: &str, kind, device| mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o640), device);
    make("fifo", FileType::Fifo, 0)?;
    make("socket", FileType::Socket, 0)?;
    if options.as_root {
        make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3))?;
        make("disk", FileType::BlockDevice, rustix::fs::makedev(259, 70_000))?;
    }
    Ok(())
}

fn attributes(dir: &Path, options: OddOptions) -> Result<()> {
    fs::create_dir_all(dir.join("folder"))?;
    for name in ["plain", "large", "listed", "capable"] {
        fs::write(dir.join(name), name)?;
    }
    if xattr::set(dir.join("plain"), "user.comment", b"\0\xff binary").is_err() {
        return Ok(());
    }
    xattr::set(dir.join("large"), "user.large", &vec![7; 3000])?;
    xattr::set(dir.join("folder"), "user.folder", b"")?;
    access_lists(dir)?;
    if options.as_root {
        symlink("nowhere", dir.join("marked link"))?;
        xattr::set(dir.join("marked link"), "trusted.mark", b"of the link")?;
        xattr::set(dir.join("capable"), "security.capability", &CAPABILITY)?;
        std::os::unix::fs::chown(dir.join("plain"), Some(1234), Some(4321))?;
        std::os::unix::fs::lchown(dir.join("marked link"), Some(1234), Some(4321))?;
    }
    Ok(())
}

/// `cap_net_bind_service+ep` as the kernel stores it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A list on a file, and one that a folder hands down. Left out where the `acl` package is missing.
fn access_lists(dir: &Path) -> Result<()> {
    let set = |arguments: &[&str], path: &Path| match Command::new("setfacl").args(arguments).arg(path).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        status => status.map(drop).context("cannot run setfacl"),
    };
    set(&["-m", "u:65534:r--,g:1234:rw-"], &dir.join("listed"))?;
    set(&["-m", "u:65534:r-x", "-m", "d:u:65534:rwx"], &dir.join("folder"))
}

fn modes_and_times(dir: &Path, options: OddOptions) -> Result<()> {
    fs::create_dir_all(dir.join("read-only folder"))?;
    fs::write(dir.join("read-only folder/inside"), "x")?;
    // A file without any right is unreadable to its own owner.
    let least = if options.as_root { 0o000 } else { 0o400 };
    for (index, mode) in [0o4755, 0o2755, 0o1777, 0o666, 0o600, least].into_iter().enumerate() {
        let path = dir.join(format!("{mode:04o}"));
        fs::write(&path, "x")?;
        let nanoseconds = Duration::from_nanos(123_456_789 * (index as u64 + 1));
        let modified = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400) + nanoseconds;
        File::open(&path)?.set_times(FileTimes::new().set_modified(modified))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    let folder = dir.join("read-only folder");
    File::open(&folder)?.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(1)))?;
    Ok(fs::set_permissions(&folder, Permissions::from_mode(0o2555))?)
}
