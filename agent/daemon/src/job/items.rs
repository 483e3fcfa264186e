//! What a plan means on this machine: its items as roots and patterns for the engine.
//!
//! Invariant: what this build cannot do is refused with the reason when the plan arrives, never done in part.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nightkeep_engine::exclude::{Excludes, PatternError};
use nightkeep_engine::source::SourceOptions;
use nightkeep_platform::mounts::{MountClass, Mounts};
use nightkeep_platform::names;
use nightkeep_wire::exclusions::ExclusionList;
use nightkeep_wire::plan::{Encryption, Items, Location, Plan, PolicyRule, Selection};

use crate::facts::os_family;
use crate::journal::SourceId;

/// Volumes that belong to the system although they are mounted on their own.
const SYSTEM_MOUNTS: [&[u8]; 6] = [b"/boot", b"/boot/efi", b"/usr", b"/var", b"/opt", b"/efi"];

/// Why items cannot be backed up on this machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemsError {
    /// Nothing that the plan selects is there.
    #[error("nothing that the plan selects exists on this machine: {}", missing.join(", "))]
    NothingThere {
        /// What was looked for.
        missing: Vec<String>,
    },
    /// A variable of the plan has no value here.
    #[error("the variable {name} of the plan has no value on this machine")]
    Variable {
        /// Its name.
        name: String,
    },
    /// A pattern nobody can mean.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// What to walk, and what of the plan was not found.
pub(super) struct Resolved {
    pub(super) source: SourceOptions,
    /// What the source is, for the change journal.
    pub(super) id: SourceId,
    /// Selected, but not there.
    pub(super) missing: Vec<String>,
}

/// What of a plan this build or this machine cannot do; none when it can run it. `commands` are those that may be run here.
pub(crate) fn unsupported(plan: &Plan, commands: &Result<BTreeSet<String>, String>) -> Option<String> {
    match &plan.location {
        Location::CloudStorage => {}
        Location::Vault { .. } => return Some("this agent backs up to the customer's cloud storage only".to_owned()),
        Location::Unknown => return Some("unknown kind of location: update the agent".to_owned()),
    }
    match &plan.encryption {
        Encryption::Managed => {}
        Encryption::Password { .. } => return Some("this agent cannot keep private domains yet: update it".to_owned()),
        Encryption::Unknown => return Some("unknown kind of encryption: update the agent".to_owned()),
    }
    let mut named = [&plan.options.pre_command, &plan.options.post_command].into_iter().flatten();
    named.find_map(|name| refused_command(name, commands))
}

fn refused_command(name: &str, commands: &Result<BTreeSet<String>, String>) -> Option<String> {
    match commands {
        Ok(names) if names.contains(name) => None,
        Ok(_) => Some(format!(
            "the command {name:?} is not allowed on this machine: list it in commands.toml beside agent.toml here, or take it out of the plan"
        )),
        Err(error) => Some(format!("the command {name:?} cannot be run here: {error}")),
    }
}

/// Resolves a plan's items. `skip` are folders of our own.
pub(super) fn resolve(
    items: &Items,
    exclusions: Option<&ExclusionList>,
    machine_root: &Path,
    skip: Vec<PathBuf>,
) -> Result<Resolved, ItemsError> {
    let mut picked = Picked { entire: false, roots: Vec::new(), skip, missing: Vec::new() };
    match &items.selection {
        Selection::EntireMachine => picked.everything(),
        Selection::PolicyRules { rules } => {
            for rule in rules {
                picked.rule(rule, machine_root)?;
            }
        }
        Selection::Paths { paths } => paths.iter().for_each(|path| picked.path(Path::new(path), machine_root)),
        Selection::Unknown => {}
    }
    if picked.roots.is_empty() {
        return Err(ItemsError::NothingThere { missing: picked.missing });
    }
    let patterns = patterns(items, exclusions);
    let source = SourceOptions {
        machine_root: machine_root.to_path_buf(),
        roots: picked.roots,
        excludes: Excludes::new(&patterns)?,
        skip: picked.skip,
        entire_machine: picked.entire,
        read_at: Vec::new(),
    };
    Ok(Resolved { id: SourceId::of(&source, &patterns), source, missing: picked.missing })
}

/// In the order in which later patterns win: what is not included, default exclusions, the plan's own.
fn patterns(items: &Items, exclusions: Option<&ExclusionList>) -> Vec<String> {
    let mut patterns = Vec::new();
    if !items.include.is_empty() {
        // Folders stay in, because an included file may lie below any of them.
        patterns.extend(["*".to_owned(), "!*/".to_owned()]);
        patterns.extend(items.include.iter().map(|pattern| format!("!{pattern}")));
    }
    if items.default_exclusions {
        let builtin = ExclusionList::builtin();
        let list = exclusions.unwrap_or(&builtin);
        patterns.extend(list.patterns(os_family()).map(str::to_owned));
    }
    patterns.extend(items.exclude.iter().cloned());
    patterns
}

struct Picked {
    entire: bool,
    roots: Vec<Vec<u8>>,
    skip: Vec<PathBuf>,
    missing: Vec<String>,
}

impl Picked {
    fn everything(&mut self) {
        self.entire = true;
        self.roots = vec![Vec::new()];
        // What is seen elsewhere too is backed up there.
        self.skip.extend(nightkeep_platform::mounts::SEEN_ELSEWHERE.iter().map(PathBuf::from));
    }

    fn rule(&mut self, rule: &PolicyRule, machine_root: &Path) -> Result<(), ItemsError> {
        match rule {
            PolicyRule::AllVolumes => self.everything(),
            PolicyRule::SystemVolume => self.system_volume(machine_root),
            PolicyRule::UserProfiles => {
                ["/home", "/root"].into_iter().for_each(|path| self.path(Path::new(path), machine_root));
            }
            PolicyRule::Variable { path } => self.path(Path::new(&expand(path)?), machine_root),
            PolicyRule::Unknown => {}
        }
        Ok(())
    }

    /// The volume of the root, and what belongs to the system though it is mounted apart; other local volumes are left out.
    fn system_volume(&mut self, machine_root: &Path) {
        self.everything();
        let Ok(mounts) = Mounts::read() else { return };
        let others = mounts.iter().filter(|mount| {
            let point = mount.mount_point.as_slice();
            mount.class == MountClass::Local && point != b"/" && !SYSTEM_MOUNTS.contains(&point)
        });
        let paths = others.filter_map(|mount| names::join(machine_root, relative(&mount.mount_point)));
        self.skip.extend(paths);
    }

    fn path(&mut self, path: &Path, machine_root: &Path) {
        let bytes = names::bytes_of(path);
        let root = relative(&bytes).to_vec();
        let there = names::join(machine_root, &root).is_some_and(|path| crate::places::exists(&path));
        if there {
            self.roots.push(root);
        } else {
            self.missing.push(path.display().to_string());
        }
    }
}

/// A path from the machine's root without the slashes at its ends.
fn relative(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(start, |last| last + 1);
    &path[start..end]
}

/// Replaces the variable at the start: `${NAME}/rest` or `%NAME%\rest`.
fn expand(path: &str) -> Result<String, ItemsError> {
    let parts = match path.strip_prefix("${") {
        Some(rest) => rest.split_once('}'),
        None => path.strip_prefix('%').and_then(|rest| rest.split_once('%')),
    };
    let (name, rest) = parts.ok_or_else(|| ItemsError::Variable { name: path.to_owned() })?;
    let value = std::env::var(name).map_err(|_| ItemsError::Variable { name: name.to_owned() })?;
    Ok(format!("{value}{rest}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot make its tree has failed")]
    use super::*;

    fn resolve_in(selection: Selection, root: &Path) -> Result<Resolved, ItemsError> {
        resolve(&Items::new(selection), None, root, Vec::new())
    }

    #[test]
    fn paths_are_taken_from_the_machine_root_and_missing_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("srv/data")).unwrap();
        let paths = ["/srv/data/", "/gone"].map(str::to_owned).to_vec();
        let resolved = resolve_in(Selection::Paths { paths }, dir.path()).unwrap();
        assert_eq!(resolved.source.roots, [b"srv/data".to_vec()]);
        assert_eq!(resolved.missing, ["/gone"]);
        assert!(!resolved.source.entire_machine);
        let nothing = resolve_in(Selection::Paths { paths: vec!["/gone".to_owned()] }, dir.path());
        assert!(matches!(nothing, Err(ItemsError::NothingThere { .. })));
    }

    #[test]
    fn entire_machine_is_the_root_with_the_default_exclusions() {
        let dir = tempfile::tempdir().unwrap();
        let resolved = resolve_in(Selection::EntireMachine, dir.path()).unwrap();
        assert_eq!(resolved.source.roots, [Vec::<u8>::new()]);
        assert!(resolved.source.entire_machine);
        assert!(resolved.source.excludes.excludes(b"swapfile", false));
        assert!(!resolved.source.excludes.excludes(b"srv/data", true));
    }

    #[test]
    fn with_inclusions_only_what_matches_is_kept_and_exclusions_still_win() {
        let dir = tempfile::tempdir().unwrap();
        let mut items = Items::new(Selection::EntireMachine);
        items.include = vec!["*.docx".to_owned()];
        items.exclude = vec!["/old/".to_owned()];
        let excludes = resolve(&items, None, dir.path(), Vec::new()).unwrap().source.excludes;
        assert!(!excludes.excludes(b"home/a/letter.docx", false));
        assert!(excludes.excludes(b"home/a/film.mkv", false));
        assert!(!excludes.excludes(b"home/a", true));
        assert!(excludes.excludes(b"old", true));
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let error = expand("${NIGHTKEEP_NO_SUCH_VARIABLE}/x").unwrap_err();
        assert!(error.to_string().contains("NIGHTKEEP_NO_SUCH_VARIABLE"));
        assert!(expand("%PATH%/x").is_ok() || std::env::var("PATH").is_err());
    }
}
