//! What is noticed during a run, and what a failure is about.

use serde::{Deserialize, Serialize};

/// Something noticed about one file or about the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The path as text, with replacement characters where it is none; empty when it is about the run.
    pub path_lossy: String,
    /// What it is.
    pub kind: FindingKind,
    /// The words of the operating system or ours.
    pub message: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Contents could not be read.
    Unreadable,
    /// The file went away between listing and reading.
    Vanished,
    /// The file changed while it was read; what was read is stored.
    Changing,
    /// Another program holds it exclusively.
    Locked,
    /// Attributes, rights or streams could not be read; contents are stored.
    MetadataLost,
    /// Contents live in a cloud service; the placeholder is stored, its bytes are counted and never downloaded.
    CloudPlaceholder,
    /// A directory entry that cannot be backed up by its kind.
    Unsupported,
    /// A volume or folder was left out.
    Skipped,
    /// Far fewer files or bytes than in the last runs.
    Shrunken,
    /// Volume snapshot failed; files were read live.
    SnapshotFailed,
    /// The volume has no snapshots, by its kind or its size; files were read live, as a plan with "when available" allows.
    SnapshotUnavailable,
    /// A command before or after the run failed.
    CommandFailed,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

impl FindingKind {
    /// Whether it is known to be harmless: counted, never coloured.
    pub const fn is_benign(self) -> bool {
        match self {
            Self::Vanished | Self::CloudPlaceholder | Self::Skipped | Self::SnapshotUnavailable => true,
            Self::Unreadable
            | Self::Changing
            | Self::Locked
            | Self::MetadataLost
            | Self::Unsupported
            | Self::Shrunken
            | Self::SnapshotFailed
            | Self::CommandFailed
            | Self::Unknown => false,
        }
    }
}

/// What a failure is about, so that one cause over many machines is one ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The storage did not answer or failed.
    Storage,
    /// The storage or the host refused the credentials.
    Credentials,
    /// The quota is used up.
    Quota,
    /// The host was away longer than the agent could wait.
    HostUnreachable,
    /// The machine's own disk, memory or rights.
    Machine,
    /// Volume snapshots.
    VolumeSnapshot,
    /// The vault holds something damaged.
    VaultDamaged,
    /// The plan cannot be run on this machine.
    Plan,
    /// A fault of ours.
    Internal,
    /// A class that this build does not know.
    #[serde(other)]
    Unknown,
}
