//! Whether two trees are equal, contents and metadata: by rsync, an independent judge, or by our own comparison where it
//! is missing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Who compared, for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// `rsync -naiHAX --checksum --delete` printed nothing.
    Rsync,
    /// rsync is not installed: our own comparison of bytes and metadata found nothing.
    Own,
}

/// Fails with the differences unless `restored` equals `source`. As an ordinary user ownership is compared too: both
/// trees are that user's.
pub fn expect_equal(source: &Path, restored: &Path) -> Result<Judge> {
    let differences = match by_rsync(source, restored)? {
        Some(lines) => (Judge::Rsync, lines),
        None => (Judge::Own, by_hand(source, restored)?),
    };
    match differences {
        (judge, lines) if lines.is_empty() => Ok(judge),
        (judge, lines) => {
            bail!("{} differs from {} ({judge:?}):\n{}", restored.display(), source.display(), head(&lines))
        }
    }
}

/// What rsync would transfer or delete; nothing when it is not installed.
fn by_rsync(source: &Path, restored: &Path) -> Result<Option<Vec<String>>> {
    let with_slash = |path: &Path| {
        let mut text = path.as_os_str().to_owned();
        text.push("/");
        text
    };
    let mut command = Command::new("rsync");
    command.args(["-naiHAX", "--checksum", "--delete"]).arg(with_slash(source)).arg(with_slash(restored));
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output.context("cannot run rsync")?,
    };
    if !output.status.success() {
        bail!("rsync failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()))
}

fn by_hand(source: &Path, restored: &Path) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    compare(source, restored, &mut differences)?;
    Ok(differences)
}

fn compare(source: &Path, restored: &Path, differences: &mut Vec<String>) -> Result<()> {
    let Ok(there) = fs::symlink_metadata(restored) else {
        differences.push(format!("missing: {}", source.display()));
        return Ok(());
    };
    let here = fs::symlink_metadata(source)?;
    let facts = |meta: &fs::Metadata| {
        let kind = meta.file_type();
        let device = if kind.is_block_device() || kind.is_char_device() { meta.rdev() } else { 0 };
        let bytes = if meta.is_dir() { 0 } else { meta.len() };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), bytes, links, device)
    };
    if facts(&here) != facts(&there) {
        differences.push(format!("metadata: {}: {:?} != {:?}", source.display(), facts(&here), facts(&there)));
    } else if xattrs(source)? != xattrs(restored)? {
        differences.push(format!("extended attributes: {}", source.display()));
    } else if here.is_file() && !same_contents(source, restored)? {
        differences.push(format!("contents: {}", source.display()));
    } else if here.is_symlink() && fs::read_link(source)? != fs::read_link(restored)? {
        differences.push(format!("link: {}", source.display()));
    } else if here.is_dir() {
        compare_entries(source, restored, differences)?;
    }
    Ok(())
}

fn compare_entries(source: &Path, restored: &Path, differences: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let name = entry?.file_name();
        compare(&source.join(&name), &restored.join(&name), differences)?;
    }
    for entry in fs::read_dir(restored)? {
        let name = entry?.file_name();
        if fs::symlink_metadata(source.join(&name)).is_err() {
            differences.push(format!("too much: {}", restored.join(&name).display()));
        }
    }
    Ok(())
}

fn xattrs(path: &Path) -> Result<BTreeMap<OsString, Option<Vec<u8>>>> {
    // A filesystem without attributes has none.
    let Ok(names) = xattr::list(path) else { return Ok(BTreeMap::new()) };
    let value = |name: OsString| Ok((name.clone(), xattr::get(path, name)?));
    names.map(value).collect()
}

fn same_contents(a: &Path, b: &Path) -> Result<bool> {
    use std::io::Read;
    let (mut a, mut b) = (fs::File::open(a)?, fs::File::open(b)?);
    let (mut of_a, mut of_b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let bytes = a.read(&mut of_a)?;
        if bytes == 0 {
            return Ok(b.read(&mut of_b)? == 0);
        }
        if b.read_exact(&mut of_b[..bytes]).is_err() || of_a[..bytes] != of_b[..bytes] {
            return Ok(false);
        }
    }
}

fn head(lines: &[String]) -> String {
    let mut text = lines.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    if lines.len() > 20 {
        text.push_str(&format!("\n... and {} more", lines.len() - 20));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{by_hand, by_rsync, expect_equal};

    #[test]
    fn a_faithful_copy_of_the_odd_tree_is_equal_to_both_judges() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (source, copy) = (dir.path().join("source"), dir.path().join("copy"));
        std::fs::create_dir(&source)?;
        let as_root = rustix::process::geteuid().is_root();
        crate::tree::odd(&source, crate::tree::OddOptions { as_root, sparse: false })?;
        let status = std::process::Command::new("cp").arg("-a").args([&source, &copy]).status()?;
        assert!(status.success());
        expect_equal(&source, &copy)?;
        assert_eq!(by_hand(&source, &copy)?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn both_judges_see_a_changed_byte_a_changed_mode_and_a_stranger() -> anyhow::Result<()> {
        let (a, b) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_600_000_000_123_456_789);
        let write = |dir: &std::path::Path, contents: &str, mode: u32| -> anyhow::Result<()> {
            let path = dir.join("file");
            std::fs::write(&path, contents)?;
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            std::fs::File::open(&path)?.set_times(std::fs::FileTimes::new().set_modified(then))?;
            Ok(std::fs::File::open(dir)?.set_times(std::fs::FileTimes::new().set_modified(then))?)
        };
        let count = || -> anyhow::Result<_> {
            let rsync = by_rsync(a.path(), b.path())?.map(|lines| lines.len());
            Ok((by_hand(a.path(), b.path())?.len(), rsync.unwrap_or(by_hand(a.path(), b.path())?.len())))
        };
        write(a.path(), "same", 0o644)?;
        write(b.path(), "same", 0o644)?;
        expect_equal(a.path(), b.path())?;
        write(b.path(), "tame", 0o644)?;
        assert_eq!(count()?, (1, 1));
        write(b.path(), "same", 0o600)?;
        assert_eq!(count()?, (1, 1));
        write(b.path(), "same", 0o644)?;
        std::fs::write(b.path().join("stranger"), "")?;
        std::fs::File::open(b.path())?.set_times(std::fs::FileTimes::new().set_modified(then))?;
        assert_eq!(count()?, (1, 1));
        Ok(())
    }
}
