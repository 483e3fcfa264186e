//! What a plan backs up.

use serde::{Deserialize, Serialize};

/// Selection and patterns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Where to look.
    pub selection: Selection,
    /// When not empty, only files that match one of these; in the manner of `.gitignore`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Left out, in the manner of `.gitignore`; after the default exclusions, so `!pattern` brings something back.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether the default exclusions apply.
    #[serde(default = "yes")]
    pub default_exclusions: bool,
}

fn yes() -> bool {
    true
}

impl Items {
    /// A selection with the default exclusions and no patterns of its own.
    pub fn new(selection: Selection) -> Self {
        Self { selection, include: Vec::new(), exclude: Vec::new(), default_exclusions: true }
    }
}

/// Where to look for files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Selection {
    /// Every local volume. Until volume images exist: every file of it, not bootable.
    EntireMachine,
    /// By rules that each machine resolves for itself.
    PolicyRules {
        /// At least one; the union counts.
        rules: Vec<PolicyRule>,
    },
    /// By absolute paths.
    Paths {
        /// At least one.
        paths: Vec<String>,
    },
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// A rule that each machine resolves for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum PolicyRule {
    /// Every local volume.
    AllVolumes,
    /// The volume or volumes that the machine starts from.
    SystemVolume,
    /// The profile folders of all users.
    UserProfiles,
    /// A path that starts with a variable of the machine, such as `%PROGRAMDATA%\Shop` or `${HOME}/work`.
    Variable {
        /// The path.
        path: String,
    },
    /// A rule that this build does not know.
    #[serde(other)]
    Unknown,
}
