//! Which language the desktop's user reads.

#[cfg_attr(unix, path = "language/unix.rs")]
#[cfg_attr(windows, path = "language/windows.rs")]
mod system;

/// The two or three letters of the user's language (ISO 639), in lower case: `en`, `de`. None when the system does not tell.
pub fn of_user() -> Option<String> {
    system::of_user()
}
