//! What a golden vault holds, as lines of text: `kind mode seconds.nanoseconds bytes hash-or-target path`.
//!
//! Paths, link targets and attribute values are hexadecimal, as they need not be text. A line `xattr path name value`
//! stands for each extended attribute.

use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The lines of everything below `root`, sorted by path.
pub fn describe(root: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    collect(root, root, &mut lines)?;
    lines.sort();
    Ok(lines)
}

fn collect(root: &Path, folder: &Path, lines: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        let name = hex::encode(path.strip_prefix(root)?.as_os_str().as_bytes());
        let kind = meta.file_type();
        let (kind, content) = match () {
            () if kind.is_dir() => ("directory", String::from("-")),
            () if kind.is_symlink() => ("link", hex::encode(fs::read_link(&path)?.into_os_string().into_vec())),
            () if kind.is_fifo() => ("fifo", String::from("-")),
            () => ("file", blake3::hash(&fs::read(&path)?).to_hex().to_string()),
        };
        let bytes = if kind == "file" { meta.len() } else { 0 };
        let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
        lines.push(format!("{name} {kind} {:04o} {time} {bytes} {content}", meta.mode() & 0o7777));
        if kind == "file" {
            describe_attributes(&path, &name, lines)?;
        }
        if kind == "directory" {
            collect(root, &path, lines)?;
        }
    }
    Ok(())
}

fn describe_attributes(path: &Path, name: &str, lines: &mut Vec<String>) -> Result<()> {
    for attribute in xattr::list(path)? {
        if attribute.as_bytes().starts_with(b"user.") {
            let value = xattr::get(path, &attribute)?.unwrap_or_default();
            lines.push(format!("{name} xattr {} {}", hex::encode(attribute.as_bytes()), hex::encode(value)));
        }
    }
    Ok(())
}
