//! `support-bundle`: logs and facts in one JSON document that can be mailed.
//!
//! Invariant: no key, token or passphrase is in it: of the identity only names and ids are taken.

use std::path::Path;

use nightkeep_platform::secret_file;
use nightkeep_wire::control::{Op, Reply};
use serde_json::{Value, json};

use super::args::Globals;
use super::control::{Client, runtime};
use super::exit::Exit;
use super::failure::Failure;
use super::output;
use crate::facts;
use crate::files;
use crate::identity::Identity;
use crate::places::Places;

/// Of each log file the last bytes are taken.
const LOG_BYTES_MAX: usize = 512 * 1024;
/// So many of the newest log files.
const LOGS_MAX: usize = 5;

/// Writes the bundle.
pub(super) fn run(file: &Path, globals: &Globals) -> anyhow::Result<Exit> {
    let (places, config) = Places::resolve(globals)?;
    let status = runtime()?.block_on(async { Client::connect(globals).await?.ask(Op::Status).await });
    let status = match status {
        Ok(Reply::Status(status)) => serde_json::to_value(status)?,
        Ok(_) => Value::Null,
        Err(error) => json!({ "error": format!("{error:#}") }),
    };
    let document = json!({
        "made_at": chrono::Utc::now(),
        "agent_version": facts::AGENT_VERSION,
        "facts": facts::gather(&config),
        "configuration": std::fs::read_to_string(&places.config_file).ok(),
        "enrolment": enrolment(&places),
        "status": status,
        "jobs": files::load::<Value>(&places.jobs()).ok().flatten(),
        "logs": logs(&places.log),
    });
    let bytes = serde_json::to_vec_pretty(&document)?;
    secret_file::create(file, &bytes).map_err(|error| {
        Failure::new("not-written", format!("failed to write {}: {error}", file.display()))
            .remedy("Choose a file that does not exist, in a folder you may write to.")
    })?;
    if globals.json {
        output::json(&json!({ "file": file, "bytes": bytes.len() }));
    } else {
        output::line(format_args!("Wrote {}. It holds no keys; names of files may be in its logs.", file.display()));
    }
    Ok(Exit::Done)
}

fn enrolment(places: &Places) -> Option<Value> {
    let enrolled = Identity::load(places).ok()??.enrolled?;
    Some(json!({
        "machine": enrolled.machine,
        "host": enrolled.host_url,
        "customer": enrolled.customer,
        "state": enrolled.state,
        "vault": enrolled.vault.as_ref().map(|grant| grant.vault_id),
        "meta_key_delivered": enrolled.meta_key_delivered,
    }))
}

fn logs(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let newest = paths.iter().rev().take(LOGS_MAX);
    newest
        .filter_map(|path| {
            let bytes = std::fs::read(path).ok()?;
            let tail = &bytes[bytes.len().saturating_sub(LOG_BYTES_MAX)..];
            Some(json!({ "file": path, "text": String::from_utf8_lossy(tail) }))
        })
        .collect()
}
