//! Windows: owner and access list of the file and of its folder.

use std::fs::File;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsHandle;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_BACKUP_SEMANTICS, FILE_READ_ATTRIBUTES, READ_CONTROL};

use super::Untrusted;
use crate::nt;

/// In the words of an access list: the system, administrators, the owner, who makes something (a pattern, for nobody here),
/// and the installer of Windows.
const TRUSTED: [&str; 6] =
    ["SY", "BA", "OW", "CO", "LA", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];
/// Rights in words that change nothing.
const HARMLESS: [&str; 5] = ["FR", "FX", "GR", "GX", "RC"];
/// Rights in bits that change something: data, attributes, deleting, list and owner, and the generic ones with them.
const HARMFUL: u32 = 0x500D_0156;

pub(super) fn trusted_file(path: &Path) -> Result<PathBuf, Untrusted> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Untrusted::Unreadable { path, source }
    };
    let whole = path.canonicalize().map_err(failed(path))?;
    if !whole.is_file() {
        return Err(Untrusted::NoFile { path: whole });
    }
    for place in whole.ancestors().take(2) {
        let open = || {
            let mut options = File::options();
            options.access_mode(READ_CONTROL | FILE_READ_ATTRIBUTES).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
            options.open(place)
        };
        let file = open().map_err(failed(place))?;
        check_owner(place, &file)?;
        let list = nt::list_of(file.as_handle()).map_err(failed(place))?;
        if lets_others_write(&list) {
            return Err(Untrusted::Writable { path: place.to_path_buf() });
        }
    }
    Ok(whole)
}

fn check_owner(path: &Path, file: &File) -> Result<(), Untrusted> {
    let failed = |source: io::Error| Untrusted::Unreadable { path: path.to_path_buf(), source };
    let owner = nt::owner_of(file.as_handle(), SE_FILE_OBJECT).map_err(failed)?;
    if owner.is_trusted().map_err(failed)? {
        return Ok(());
    }
    let name = owner.account_name().unwrap_or_else(|| owner.to_string());
    let wanted = "Administrators".to_owned();
    Err(Untrusted::Owner { path: path.to_path_buf(), owner: name, wanted })
}

/// Whether a list in text (`D:P(A;OICI;FA;;;SY)...`) lets anybody change something who is not trusted. What cannot be read
/// counts as doing so; no list at all lets everybody do everything.
fn lets_others_write(list: &str) -> bool {
    let Some((_, entries)) = list.split_once('(') else { return true };
    entries.split('(').any(|entry| {
        let fields: Vec<&str> = entry.trim_end_matches(')').split(';').collect();
        let [kind, flags, rights, _, _, who] = fields[..] else { return true };
        // Entries for what is made within say nothing about this one; those that deny take nothing away from trust.
        kind == "A" && !flags.contains("IO") && !TRUSTED.contains(&who) && changes(rights)
    })
}

fn changes(rights: &str) -> bool {
    if let Some(bits) = rights.strip_prefix("0x") {
        return u32::from_str_radix(bits, 16).map_or(true, |bits| bits & HARMFUL != 0);
    }
    let words = (0..rights.len()).step_by(2).map(|at| rights.get(at..at + 2));
    words.into_iter().any(|word| word.is_none_or(|word| !HARMLESS.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::lets_others_write;

    #[test]
    fn a_list_is_read_for_who_may_write() {
        for good in [
            "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
            "D:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)",
            "D:(A;OICIIO;GA;;;CO)(A;;FRFX;;;WD)",
            "D:(D;;FA;;;WD)(A;;FA;;;BA)",
        ] {
            assert!(!lets_others_write(good), "{good}");
        }
        for bad in
            ["D:", "D:(A;;FA;;;WD)", "D:(A;;0x1301bf;;;AU)", "D:(A;;FW;;;BU)", "D:(A;;0x100116;;;BU)", "D:(rubbish)"]
        {
            assert!(lets_others_write(bad), "{bad}");
        }
    }
}
