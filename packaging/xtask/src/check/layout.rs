//! The visible top level is fixed, and every crate says in a README what it is.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use crate::workspace;

const ALWAYS: &[&str] = &[
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "agent",
    "packaging",
    "plugin-host",
    "protocol",
    "rust-toolchain.toml",
    "tests",
];

/// Allowed beside them.
const MAYBE: &[&str] = &["CHANGELOG.md", "Cargo.lock", "target"];

pub(super) fn violations() -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(crate::root())? {
        found.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let mut violations = violations_of(&found);
    for member in workspace::members()? {
        if !crate::root().join(&member.folder).join("README.md").exists() {
            violations.push(format!("layout: {} has no README.md", member.folder.display()));
        }
    }
    Ok(violations)
}

fn violations_of(found: &BTreeSet<String>) -> Vec<String> {
    let missing = ALWAYS.iter().filter(|name| !found.contains(**name));
    let strange = found
        .iter()
        .filter(|name| !name.starts_with('.') && !ALWAYS.contains(&name.as_str()) && !MAYBE.contains(&name.as_str()));
    let missing = missing.map(|name| format!("layout: {name} is missing at the top"));
    missing.chain(strange.map(|name| format!("layout: {name} does not belong at the top"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, violations_of};

    #[test]
    fn a_stranger_at_the_top_and_a_missing_room_are_told() {
        let mut found: std::collections::BTreeSet<String> = ALWAYS.iter().map(|name| (*name).to_owned()).collect();
        found.insert(".hidden".to_owned());
        assert_eq!(violations_of(&found), Vec::<String>::new());
        found.insert("scripts".to_owned());
        found.remove("tests");
        assert_eq!(violations_of(&found).len(), 2);
    }
}
