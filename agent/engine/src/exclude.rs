//! Which paths are left out: the user's patterns, in the syntax of gitignore files.
//!
//! A pattern with a slash at its start is meant from the machine's root; without one it matches at any depth; one that
//! ends in a slash matches folders only.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use nightkeep_platform::names;

/// A pattern nobody can mean.
#[derive(Debug, thiserror::Error)]
#[error("the exclude pattern '{pattern}' cannot be understood")]
pub struct PatternError {
    pattern: String,
    #[source]
    source: ignore::Error,
}

/// Compiled exclude patterns.
#[derive(Debug, Clone)]
pub struct Excludes(Gitignore);

impl Excludes {
    /// Compiles patterns.
    pub fn new(patterns: &[String]) -> Result<Self, PatternError> {
        let mut builder = GitignoreBuilder::new("/");
        for pattern in patterns {
            let added = builder.add_line(None, pattern);
            added.map_err(|source| PatternError { pattern: pattern.clone(), source })?;
        }
        let built = builder.build();
        Ok(Self(built.map_err(|source| PatternError { pattern: patterns.join(", "), source })?))
    }

    /// Whether a path, from the machine's root, is left out. Its parents were asked before.
    pub fn excludes(&self, path: &[u8], is_dir: bool) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let absolute = [b"/", path].concat();
        names::path_of(&absolute).is_some_and(|path| self.0.matched(path, is_dir).is_ignore())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a pattern of the test that is refused has failed it")]
    use super::*;

    #[test]
    fn patterns_mean_what_gitignore_says() {
        let rules: Vec<String> = ["*.tmp", "/var/cache/", "node_modules/"].map(String::from).to_vec();
        let excludes = Excludes::new(&rules).unwrap();
        assert!(excludes.excludes(b"home/a/x.tmp", false));
        assert!(excludes.excludes(b"var/cache", true));
        assert!(!excludes.excludes(b"home/var/cache", true), "anchored at the root");
        assert!(!excludes.excludes(b"src/node_modules", false), "a file is no folder");
        assert!(excludes.excludes(b"a/\xff\xfe.tmp", false), "names need not be UTF-8");
    }
}
