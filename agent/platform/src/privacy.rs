//! What a system keeps even from its administrator until somebody allows it: on macOS, "Full Disk Access".
//!
//! Without it mail, messages, other people's desktops and much else cannot be read, not by root either: every such file is a
//! finding, and a restore would not bring it back.
//!
//! **Invariant**: nothing is said where nothing is known; the probes open files and read none.

use std::io;

#[cfg_attr(target_os = "macos", path = "privacy/macos.rs")]
#[cfg_attr(not(target_os = "macos"), path = "privacy/elsewhere.rs")]
mod system;

/// Whether this process may read what the system keeps from programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskAccess {
    /// The system keeps nothing from an administrator.
    NotNeeded,
    /// It may.
    Granted,
    /// It may not.
    Denied,
    /// Nothing there to try it on.
    Unknown,
}

/// Tries what only a program with full disk access may open.
pub fn disk_access() -> DiskAccess {
    system::disk_access()
}

/// For people: what is missing and what to do about it, in one line.
pub fn warning(access: DiskAccess) -> Option<&'static str> {
    match access {
        DiskAccess::Denied => Some(
            "macOS keeps protected files from the agent: allow `nightkeep-agent` in System Settings, Privacy & Security, Full Disk \
             Access, or send the machine the configuration profile that comes with the agent",
        ),
        DiskAccess::NotNeeded | DiskAccess::Granted | DiskAccess::Unknown => None,
    }
}

/// The rule: the first probe that knows decides. `EPERM` is the answer of the privacy system; `EACCES` is one of ordinary
/// permission bits, and what is not there was never kept from anybody.
#[cfg_attr(not(any(target_os = "macos", test)), expect(dead_code, reason = "only macOS has such files"))]
fn judge(probes: impl IntoIterator<Item = io::Result<()>>) -> DiskAccess {
    const EPERM: i32 = 1;
    for probe in probes {
        match probe {
            Ok(()) => return DiskAccess::Granted,
            Err(error) if error.raw_os_error() == Some(EPERM) => return DiskAccess::Denied,
            Err(_) => {}
        }
    }
    DiskAccess::Unknown
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{DiskAccess, judge, warning};

    #[test]
    fn only_the_privacy_systems_own_answer_is_a_denial() {
        let check = |probes: &[Result<(), i32>], expected| {
            let probes = probes.iter().map(|probe| probe.map_err(io::Error::from_raw_os_error));
            assert_eq!(judge(probes), expected);
        };
        let (eperm, enoent, eacces) = (1, 2, 13);
        check(&[Err(eperm)], DiskAccess::Denied);
        check(&[Ok(())], DiskAccess::Granted);
        check(&[Err(eacces), Err(enoent)], DiskAccess::Unknown);
        check(&[Err(eacces), Err(eperm)], DiskAccess::Denied);
        check(&[Err(enoent), Ok(()), Err(eperm)], DiskAccess::Granted);
        check(&[], DiskAccess::Unknown);
    }

    #[test]
    fn a_denial_alone_warns_and_names_what_to_do() {
        let text = warning(DiskAccess::Denied).unwrap_or_default();
        assert!(text.contains("Full Disk Access") && text.contains("profile") && !text.contains('\n'), "{text}");
        for access in [DiskAccess::NotNeeded, DiskAccess::Granted, DiskAccess::Unknown] {
            assert_eq!(warning(access), None);
        }
    }
}
