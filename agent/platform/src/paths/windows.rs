//! Windows: below `ProgramData` for the service and for administrators, below the user's own data for anybody else; each
//! where the system says that it is, as a caller's environment may say otherwise.
//!
//! Everybody may make folders in `ProgramData`. So the service's own is made for the system and administrators alone, and
//! one that was made by somebody else before is refused, with whatever lies in it.
#![expect(unsafe_code, reason = "the standard library knows neither the system's folders nor who owns them")]

use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsHandle;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Win32::Security::Authorization::SE_FILE_OBJECT;
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, READ_CONTROL,
    WRITE_DAC,
};
use windows_sys::Win32::System::Com::CoTaskMemFree;
use windows_sys::Win32::UI::Shell::{
    FOLDERID_LocalAppData, FOLDERID_ProgramData, KF_FLAG_DEFAULT, SHGetKnownFolderPath,
};
use windows_sys::core::GUID;

use super::Paths;
use crate::nt::{self, Rules, wide_path};

/// All rights to the system and to administrators, also of what is made within, and none to anybody else.
const RULES: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

pub(super) fn standard() -> Paths {
    let own = known_folder(FOLDERID_LocalAppData).filter(|_| !crate::process::is_root());
    own.map_or_else(of_service, |own| below(&own))
}

pub(super) fn of_service() -> Paths {
    below(&known_folder(FOLDERID_ProgramData).unwrap_or_else(|| PathBuf::from(r"C:\ProgramData")))
}

fn below(folder: &Path) -> Paths {
    let base = folder.join("Nightkeep");
    Paths {
        state: base.join("State"),
        identity: base.join("Identity"),
        config: base.clone(),
        log: base.join("Logs"),
        run: base.join("State").join("run"),
    }
}

pub(super) fn guard_service_places() -> io::Result<()> {
    guard(&of_service().config)
}

fn guard(base: &Path) -> io::Result<()> {
    let (path, rules) = (wide_path(base), Rules::of(RULES)?);
    let attributes = rules.attributes();
    // SAFETY: the path ends with a zero, and the rules live until the call returns.
    let made = nt::check_bool(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) });
    if let Err(error) = made
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let folder = open(base, READ_CONTROL | WRITE_DAC | FILE_READ_ATTRIBUTES)?;
    if !folder.metadata()?.is_dir() {
        return Err(io::Error::other(format!("{} is no folder: move it away", base.display())));
    }
    refuse_strangers(base, &folder)?;
    // Setting it works through all beneath, so not without need.
    if nt::list_of(folder.as_handle())? != RULES {
        rules.set_list(folder.as_handle())?;
    }
    // What a stranger may have put there before its list was set.
    for entry in base.read_dir()? {
        let path = entry?.path();
        refuse_strangers(&path, &open(&path, READ_CONTROL)?)?;
    }
    Ok(())
}

fn open(path: &Path, access: u32) -> io::Result<std::fs::File> {
    let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
    std::fs::File::options().access_mode(access).custom_flags(flags).open(path)
}

fn refuse_strangers(path: &Path, file: &std::fs::File) -> io::Result<()> {
    let owner = nt::owner_of(file.as_handle(), SE_FILE_OBJECT)?;
    if owner.is_trusted()? {
        return Ok(());
    }
    let who = owner.account_name().unwrap_or_else(|| owner.to_string());
    let message = format!("{} was made by {who}, not by an administrator: look at it and move it away", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

fn known_folder(folder: GUID) -> Option<PathBuf> {
    let mut path = null_mut();
    // SAFETY: the pointers live until the call returns; the text ends with a zero and is freed by whom it was given to,
    // also when the call failed.
    unsafe {
        let code = SHGetKnownFolderPath(&raw const folder, KF_FLAG_DEFAULT as u32, null_mut(), &raw mut path);
        let text = (code == 0 && !path.is_null()).then(|| nt::text_of(path));
        CoTaskMemFree(path.cast());
        text.map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn the_services_folder_is_made_and_kept_and_nothing_else_is_taken_for_it() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let base = dir.path().join("Nightkeep");
        guard(&base)?;
        std::fs::write(base.join("agent.toml"), "")?;
        std::fs::create_dir(base.join("State"))?;
        guard(&base)?;
        assert!(base.join("agent.toml").is_file());
        let file = dir.path().join("file");
        std::fs::write(&file, "")?;
        assert!(guard(&file).is_err_and(|error| error.to_string().contains("no folder")));
        Ok(())
    }
}
