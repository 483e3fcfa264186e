//! A host and its agents as real processes in temporary directories.
