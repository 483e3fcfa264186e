//! Linux: the file hierarchy standard for root, the XDG base directories for users.

use std::path::{Path, PathBuf};

use super::{Paths, directory_from_env};

pub(super) fn standard() -> Paths {
    if crate::process::is_root() { of_service() } else { of_user() }
}

pub(super) fn of_service() -> Paths {
    Paths {
        state: "/var/lib/nightkeep".into(),
        identity: "/etc/nightkeep/identity".into(),
        config: "/etc/nightkeep".into(),
        log: "/var/log/nightkeep".into(),
        run: "/run/nightkeep".into(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the facade asks every platform")]
pub(super) fn guard_service_places() -> std::io::Result<()> {
    Ok(())
}

fn of_user() -> Paths {
    let home = directory_from_env("HOME").unwrap_or_else(|| PathBuf::from("/"));
    let base = |variable: &str, default: &str| directory_from_env(variable).unwrap_or_else(|| home.join(default));
    let state = base("XDG_STATE_HOME", ".local/state").join("nightkeep");
    Paths {
        identity: base("XDG_DATA_HOME", ".local/share").join("nightkeep/identity"),
        config: base("XDG_CONFIG_HOME", ".config").join("nightkeep"),
        log: state.join("log"),
        run: directory_from_env("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), in_runtime_dir),
        state,
    }
}

fn in_runtime_dir(directory: impl AsRef<Path>) -> PathBuf {
    directory.as_ref().join("nightkeep")
}

#[cfg(test)]
mod tests {
    use super::{of_service, of_user};

    #[test]
    fn identity_lies_outside_state() {
        for paths in [of_service(), of_user()] {
            assert!(!paths.identity.starts_with(&paths.state), "{paths:?}");
        }
    }
}
