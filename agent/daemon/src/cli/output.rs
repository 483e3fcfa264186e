//! The only place that writes to standard output and standard error.
//!
//! A reader that went away (a closed pipe) is no error of ours, so failed writes are left alone.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;

/// A line on standard output.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// One JSON document on a line of its own, flushed, so that a reader of events sees it at once.
pub(crate) fn json(document: &impl Serialize) {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer(&mut out, document).map_err(io::Error::from);
    let _ = written.and_then(|()| writeln!(out)).and_then(|()| out.flush());
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    remedy: Option<&'a str>,
}

/// Tells why the command failed, in the form that was asked for.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    let Failure { exit: _, code, message, remedy } = failure;
    if as_json {
        json(&ErrorDocument { error: ErrorBody { code, message, remedy: remedy.as_deref() } });
        return;
    }
    note(format_args!("nightkeep-agent: {message}"));
    if let Some(remedy) = remedy {
        note(format_args!("  {remedy}"));
    }
}

/// Help and version go to standard output with code 0; anything else the parser says is a usage error.
pub(crate) fn usage_error(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        failure(&Failure::usage(error.to_string().trim().to_owned()), true);
    } else {
        let _ = error.print();
    }
    usage_exit().into()
}

/// `status --format X` answers in X's own code even when the rest of its arguments makes no sense.
fn usage_exit() -> Exit {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_status = arguments.iter().any(|argument| argument == "status");
    let after_flag = arguments.iter().skip_while(|argument| *argument != "--format").nth(1).map(String::as_str);
    let joined = arguments.iter().find_map(|argument| argument.strip_prefix("--format="));
    let format = after_flag.or(joined).filter(|_| is_status);
    format.and_then(super::status::usage_code).map_or(Exit::Usage, Exit::Dialect)
}
