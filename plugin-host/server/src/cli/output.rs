//! Printing results.
//!
//! Invariant: a reader that went away (a closed pipe) is no failure of the command.

use std::io::Write as _;

/// Prints one JSON document, or the text.
pub(super) fn print(json: bool, document: &serde_json::Value, text: &str) {
    let mut out = std::io::stdout().lock();
    let printed = if json { writeln!(out, "{document}") } else { writeln!(out, "{text}") };
    // Nobody reads any more: there is nobody to tell.
    let _ = printed.and_then(|()| out.flush());
}
