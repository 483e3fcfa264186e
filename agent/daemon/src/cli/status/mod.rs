//! `status`: how this machine is protected, in the words of whoever asks.

mod dialect;
mod text;

use nightkeep_wire::control::{Op, Reply, StatusSnapshot};

use super::args::{Dialect, Globals, StatusArgs};
use super::control::{Client, runtime};
use super::exit::Exit;
use super::failure::Failure;
use super::output;

/// Prints the status; the exit code is the dialect's.
pub(super) fn run(args: &StatusArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let dialect = args.format.unwrap_or(if globals.json { Dialect::Json } else { Dialect::Text });
    let answer = runtime()?.block_on(async { Client::connect(globals).await?.ask(Op::Status).await });
    let snapshot = match answer {
        Ok(Reply::Status(snapshot)) => snapshot,
        Ok(other) => anyhow::bail!("unexpected answer {other:?}"),
        Err(error) => return unknown(dialect, error),
    };
    Ok(match dialect {
        Dialect::Text => {
            output::line(text::of(&snapshot));
            Exit::Done
        }
        Dialect::Json => {
            output::json(snapshot.as_ref());
            Exit::Done
        }
        Dialect::Nagios
        | Dialect::Checkmk
        | Dialect::Prometheus
        | Dialect::Datto
        | Dialect::Ninja
        | Dialect::Nsight
        | Dialect::Automate
        | Dialect::Tactical => say(dialect, &snapshot),
    })
}

fn say(dialect: Dialect, snapshot: &StatusSnapshot) -> Exit {
    let said = dialect::of(dialect, snapshot);
    output::line(said.text.trim_end());
    Exit::Dialect(said.code)
}

/// No daemon to ask: people and programs get the error, monitoring gets its UNKNOWN.
fn unknown(dialect: Dialect, error: anyhow::Error) -> anyhow::Result<Exit> {
    match dialect {
        Dialect::Text | Dialect::Json => Err(error),
        Dialect::Nagios
        | Dialect::Checkmk
        | Dialect::Prometheus
        | Dialect::Datto
        | Dialect::Ninja
        | Dialect::Nsight
        | Dialect::Automate
        | Dialect::Tactical => {
            let said = dialect::unknown(dialect, &Failure::of(&error).message);
            output::line(said.text.trim_end());
            Ok(Exit::Dialect(said.code))
        }
    }
}

/// What a dialect answers to arguments that make no sense.
pub(super) fn usage_code(format: &str) -> Option<u16> {
    let dialect = <Dialect as clap::ValueEnum>::from_str(format, true).ok()?;
    dialect::usage_code(dialect)
}
