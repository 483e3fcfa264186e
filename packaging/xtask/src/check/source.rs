//! Rules that stand in the source text: where operating-system code and `unsafe` live, and that pure crates read
//! neither clock nor disk.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::dependencies::PURE;
use crate::workspace::Member;

const PLATFORM: &str = "agent/platform";

/// What only the platform crate may say.
const SYSTEM: &[&str] = &["target_os", "target_family"];

/// What the agent leaves to its platform crate too. Host and protocol may not depend on that crate, and where they keep
/// a file private they must tell Unix from the rest.
const FAMILY: &[&str] = &["cfg(windows)", "cfg(unix)", "cfg(not(unix))", "cfg!(windows)", "cfg!(unix)"];

/// What a pure crate never says outside its tests.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "Local::now",
    "SystemTime::now",
    "Utc::now",
    "println!",
];

/// A file that must be unsafe says so, with its reason.
const UNSAFE_WITH_REASON: &str = "expect(unsafe_code, reason";

pub(super) fn violations(members: &[Member]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for member in members.iter().filter(|member| member.wing() != "packaging") {
        for path in member.sources() {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(crate::root()).unwrap_or(&path);
            violations.extend(violations_of(member, path, &text));
        }
    }
    Ok(violations)
}

fn violations_of(member: &Member, path: &Path, text: &str) -> Vec<String> {
    let is_platform = member.folder == Path::new(PLATFORM);
    let is_test = member.wing() == "tests" || path.strip_prefix(&member.folder).is_ok_and(|p| p.starts_with("tests"));
    let is_pure = PURE.contains(&member.name.as_str()) && !is_test;
    let mut violations = Vec::new();
    let mut in_tests = false;
    for (index, line) in text.lines().enumerate() {
        in_tests |= line.contains("#[cfg(test)]");
        let code = line.split("//").next().unwrap_or_default();
        let mut tell =
            |rule: &str| violations.push(format!("{rule}: {}:{}: {}", path.display(), index + 1, line.trim()));
        let says = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if !is_platform && !is_test && (says(SYSTEM) || member.wing() == "agent" && says(FAMILY)) {
            tell("platform");
        }
        if !is_platform && has_unsafe(code) && !text.contains(UNSAFE_WITH_REASON) {
            tell("unsafe");
        }
        if is_pure && !in_tests && says(IMPURE) {
            tell("purity");
        }
    }
    violations
}

fn has_unsafe(code: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| code.contains(word))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::violations_of;
    use crate::workspace::Member;

    fn count(folder: &str, name: &str, text: &str) -> usize {
        let member = Member { name: name.to_owned(), folder: folder.into(), dependencies: Vec::new() };
        violations_of(&member, &Path::new(folder).join("src/lib.rs"), text).len()
    }

    #[test]
    fn system_code_lives_in_the_platform_crate_alone() {
        let text = concat!("#[cfg(target_", "os = \"linux\")]\nfn f() {}\n");
        assert_eq!(count("agent/engine", "nightkeep-engine", text), 1);
        assert_eq!(count("agent/platform", "nightkeep-platform", text), 0);
        assert_eq!(count("agent/daemon", "nightkeep-agent", "#[cfg(unix)]\nfn f() {}\n"), 1);
        assert_eq!(count("plugin-host/server", "nightkeep-host", "#[cfg(unix)]\nfn f() {}\n"), 0);
        assert_eq!(count("agent/engine", "nightkeep-engine", &format!("// {text}").replace('\n', " ")), 0);
    }

    #[test]
    fn unsafe_outside_needs_its_reason() {
        let text = concat!("fn f() { uns", "afe { g() } }\n");
        assert_eq!(count("protocol/vault", "nightkeep-vault", text), 1);
        let with_reason = format!("#![expect(unsafe_code, reason = \"measured\")]\n{text}");
        assert_eq!(count("protocol/vault", "nightkeep-vault", &with_reason), 0);
    }

    #[test]
    fn a_pure_crate_reads_no_clock_but_its_tests_may() {
        let text = "fn f() { let now = Utc::now(); }\n";
        assert_eq!(count("protocol/rules", "nightkeep-rules", text), 1);
        assert_eq!(count("protocol/rules", "nightkeep-rules", &format!("#[cfg(test)]\n{text}")), 0);
        assert_eq!(count("plugin-host/server", "nightkeep-host", text), 0);
    }
}
