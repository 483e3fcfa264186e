//! macOS: not asked yet.

use super::Supply;

pub(super) fn supply() -> Supply {
    Supply::default()
}
