//! macOS: not asked yet.

pub(super) fn on_battery() -> Option<bool> {
    None
}
