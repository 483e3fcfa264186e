//! The default exclusions: what a plan leaves out unless it says otherwise. Visible to everybody and versioned.
//!
//! Invariant: only what can be made again is listed; nothing a user wrote, nothing a program cannot rebuild.

use serde::{Deserialize, Serialize};

use crate::machine::OsFamily;

/// A versioned list of exclusions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionList {
    /// Grows with every change of the list.
    pub version: u32,
    /// In no particular order.
    pub exclusions: Vec<Exclusion>,
}

/// One pattern and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// The system it is for; none means every system.
    #[serde(default)]
    pub os: Option<OsFamily>,
    /// In the manner of `.gitignore`, from the root of the file system (on Windows: of each volume), slashes forward.
    pub pattern: String,
    /// Why it is left out.
    pub reason: String,
}

impl ExclusionList {
    /// Version of [`ExclusionList::builtin`].
    pub const BUILTIN_VERSION: u32 = 1;

    /// The list that ships with this build.
    pub fn builtin() -> Self {
        let exclusions = BUILTIN
            .iter()
            .flat_map(|(os, reason, patterns)| patterns.iter().map(move |pattern| (*os, *reason, *pattern)))
            .map(|(os, reason, pattern)| Exclusion { os, pattern: pattern.to_owned(), reason: reason.to_owned() })
            .collect();
        Self { version: Self::BUILTIN_VERSION, exclusions }
    }

    /// The patterns for one system.
    pub fn patterns(&self, os: OsFamily) -> impl Iterator<Item = &str> {
        self.exclusions.iter().filter(move |e| e.os.is_none_or(|wanted| wanted == os)).map(|e| e.pattern.as_str())
    }
}

type Group = (Option<OsFamily>, &'static str, &'static [&'static str]);

const LINUX: Option<OsFamily> = Some(OsFamily::Linux);
const MACOS: Option<OsFamily> = Some(OsFamily::Macos);
const WINDOWS: Option<OsFamily> = Some(OsFamily::Windows);

const BUILTIN: &[Group] = &[
    (LINUX, "kernel and run-time state", &["/proc/*", "/sys/*", "/dev/*", "/run/*"]),
    (LINUX, "swap and hibernation", &["/swapfile", "/swap.img", "/swap/swapfile"]),
    (LINUX, "temporary files", &["/tmp/*", "/var/tmp/*", "/var/cache/apt/archives/*.deb", "/var/cache/dnf/*"]),
    (LINUX, "caches", &["/home/*/.cache/*", "/root/.cache/*", "/var/cache/fontconfig/*", "/var/cache/man/*"]),
    (LINUX, "recycle bins", &["/home/*/.local/share/Trash/*", "/root/.local/share/Trash/*", ".Trash-*/"]),
    (LINUX, "other backup programs' archives", &["/timeshift/", "/.snapshots/", "/var/lib/acronis/"]),
    (LINUX, "our own state", &["/var/lib/nightkeep/", "/var/cache/nightkeep/"]),
    (MACOS, "kernel and run-time state", &["/dev/*", "/private/var/run/*"]),
    (MACOS, "swap and hibernation", &["/private/var/vm/*"]),
    (MACOS, "temporary files", &["/private/tmp/*", "/private/var/tmp/*", "/private/var/folders/*/*/T/*"]),
    (MACOS, "caches", &["/Users/*/Library/Caches/*", "/Library/Caches/*", "/private/var/folders/*/*/C/*"]),
    (MACOS, "recycle bins", &["/Users/*/.Trash/*", ".Trashes/"]),
    (MACOS, "search index", &[".Spotlight-V100/", ".fseventsd/"]),
    (MACOS, "other backup programs' archives", &["Backups.backupdb/", ".MobileBackups/"]),
    (MACOS, "our own state", &["/Library/Application Support/Nightkeep/"]),
    (WINDOWS, "page and hibernation files", &["/pagefile.sys", "/swapfile.sys", "/hiberfil.sys"]),
    (WINDOWS, "volume snapshots and system bookkeeping", &["/System Volume Information/"]),
    (
        WINDOWS,
        "temporary files",
        &["/Windows/Temp/*", "/Users/*/AppData/Local/Temp/*", "/Windows/SoftwareDistribution/Download/*"],
    ),
    (
        WINDOWS,
        "browser caches",
        &[
            "/Users/*/AppData/Local/Google/Chrome/User Data/*/Cache/",
            "/Users/*/AppData/Local/Google/Chrome/User Data/*/Code Cache/",
            "/Users/*/AppData/Local/Microsoft/Edge/User Data/*/Cache/",
            "/Users/*/AppData/Local/Microsoft/Edge/User Data/*/Code Cache/",
            "/Users/*/AppData/Local/Mozilla/Firefox/Profiles/*/cache2/",
            "/Users/*/AppData/Local/Microsoft/Windows/INetCache/",
        ],
    ),
    (WINDOWS, "recycle bins", &["/$Recycle.Bin/", "/RECYCLER/"]),
    (WINDOWS, "other backup programs' archives", &["*.tib", "*.tibx", "*.vbk", "*.vib", "/WindowsImageBackup/"]),
    (WINDOWS, "our own state", &["/ProgramData/Nightkeep/"]),
];
