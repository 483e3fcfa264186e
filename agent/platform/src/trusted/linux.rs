//! Linux: owners and write bits, up to the root. A list of rights (ACL) shows in the bits of the group.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Untrusted;
use crate::process;

const OTHERS_WRITE: u32 = 0o022;
/// In such a folder only its owner replaces a file.
const STICKY: u32 = 0o1000;

pub(super) fn trusted_file(path: &Path) -> Result<PathBuf, Untrusted> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Untrusted::Unreadable { path, source }
    };
    let whole = path.canonicalize().map_err(failed(path))?;
    for place in whole.ancestors() {
        let found = fs::symlink_metadata(place).map_err(failed(place))?;
        let is_file = place == whole;
        if is_file && !found.is_file() {
            return Err(Untrusted::NoFile { path: whole });
        }
        check_owner(place, found.uid())?;
        let sticky = !is_file && found.mode() & STICKY != 0;
        if found.mode() & OTHERS_WRITE != 0 && !sticky {
            return Err(Untrusted::Writable { path: place.to_path_buf() });
        }
    }
    Ok(whole)
}

fn check_owner(path: &Path, owner: u32) -> Result<(), Untrusted> {
    let own = process::effective_uid().unwrap_or(0);
    if owner == 0 || owner == own {
        return Ok(());
    }
    let wanted = if own == 0 { "root".to_owned() } else { format!("root or the account {own}") };
    Err(Untrusted::Owner { path: path.to_path_buf(), owner: format!("the account {owner}"), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) -> std::io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    #[test]
    fn a_file_counts_only_while_nobody_else_can_write_it_or_what_leads_to_it() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("folder");
        fs::create_dir(&folder)?;
        let (file, link) = (folder.join("file"), dir.path().join("link"));
        fs::write(&file, "x")?;
        symlink(&file, &link)?;
        mode(&folder, 0o755)?;
        mode(&file, 0o644)?;
        let real = file.canonicalize()?;
        assert!(trusted_file(&file).is_ok_and(|path| path == real));
        assert!(
            trusted_file(&link).is_ok_and(|path| path == real),
            "a link is followed, and what is started is its end"
        );
        for bad in [0o664, 0o646, 0o666] {
            mode(&file, bad)?;
            let told = trusted_file(&link);
            assert!(matches!(&told, Err(Untrusted::Writable { path }) if *path == real), "{bad:o} {told:?}");
        }
        mode(&file, 0o644)?;
        mode(&folder, 0o777)?;
        let told = trusted_file(&file);
        assert!(matches!(&told, Err(Untrusted::Writable { path }) if path.ends_with("folder")), "{told:?}");
        mode(&folder, 0o1777)?;
        assert!(trusted_file(&file).is_ok());
        assert!(matches!(trusted_file(&folder), Err(Untrusted::NoFile { .. })));
        assert!(matches!(trusted_file(&dir.path().join("none")), Err(Untrusted::Unreadable { .. })));
        Ok(())
    }

    #[test]
    fn a_strangers_file_is_refused_with_its_owner() -> std::io::Result<()> {
        if !process::is_root() {
            return Ok(());
        }
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("file");
        fs::write(&file, "x")?;
        std::os::unix::fs::chown(&file, Some(4711), None)?;
        let told = trusted_file(&file).map_err(|error| error.to_string());
        assert!(told.is_err_and(|told| told.contains("4711") && told.contains("root")));
        Ok(())
    }
}
