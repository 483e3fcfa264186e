//! `points` and `ls`.

use std::sync::Arc;

use nightkeep_platform::names;
use nightkeep_vault::catalogue::Entry;
use nightkeep_vault::reader::{BlockReader, CatalogueReader};
use nightkeep_vault::vault::{Health, ListedPoint};
use serde::Serialize;

use super::{open, text};
use crate::cli::args::Globals;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::vault_args::{LsArgs, VaultFlags};

#[derive(Serialize)]
struct PointsDocument {
    points: Vec<PointDocument>,
}

#[derive(Serialize)]
struct PointDocument {
    id: String,
    machine: String,
    sequence: u64,
    set: &'static str,
    plan: Option<String>,
    started: Option<String>,
    finished: Option<String>,
    files: u64,
    bytes: u64,
    bytes_stored: u64,
    findings: u64,
    /// How volumes were read: `vss`, `live`, several joined by `+`; none of points that older agents made.
    snapshot_method: Option<String>,
    held: bool,
    /// A garbage collection took from it what it needs: parts of it cannot be restored.
    damaged: bool,
    bootable: bool,
}

/// Lists the recovery points, or those in the trash, oldest first.
pub(super) fn points(flags: &VaultFlags, trash: bool, globals: &Globals) -> anyhow::Result<Exit> {
    let (vault, json) = (open::owner(flags, globals)?, globals.json);
    let (mut points, mut unusable) = (Vec::new(), 0);
    vault.points_of(&open::machines(&vault, flags)?, &mut |_, listed| {
        unusable += listed.problems.len();
        let in_trash = |listed: &&ListedPoint| listed.retained.trashed && !listed.retained.forgotten;
        match trash {
            true => points.extend(listed.points.iter().filter(in_trash).cloned()),
            false => points.extend(listed.visible().cloned()),
        }
    })?;
    points.sort_by_key(|listed| (listed.point.header.finished.at, listed.point.header.sequence));
    if json {
        output::json(&PointsDocument { points: points.iter().map(document).collect() });
    } else {
        for listed in &points {
            let header = &listed.point.header;
            output::line(format_args!(
                "{}  {}  {:<8} {:>10} files {:>11}  {}{}{}",
                listed.point.id,
                text::civil_text(&header.started),
                text::set(header.set),
                text::count(header.totals.files),
                text::bytes(header.totals.bytes),
                header.machine_name,
                if listed.retained.held { "  (held)" } else { "" },
                if listed.health == Health::Lost { "  (damaged: `check` tells more)" } else { "" },
            ));
        }
    }
    if unusable > 0 {
        output::note(format_args!("{unusable} recovery points are damaged and not listed; `check` names them"));
    }
    Ok(Exit::Done)
}

fn document(listed: &ListedPoint) -> PointDocument {
    let header = &listed.point.header;
    PointDocument {
        id: listed.point.id.to_string(),
        machine: header.machine_name.clone(),
        sequence: header.sequence,
        set: text::set(header.set),
        plan: (!header.plan_name.is_empty()).then(|| header.plan_name.clone()),
        started: text::civil(&header.started).map(|at| at.to_rfc3339()),
        finished: text::civil(&header.finished).map(|at| at.to_rfc3339()),
        files: header.totals.files,
        bytes: header.totals.bytes,
        bytes_stored: header.totals.bytes_stored,
        findings: header.totals.findings,
        snapshot_method: (!header.snapshot_method.is_empty()).then(|| header.snapshot_method.clone()),
        held: listed.retained.held,
        damaged: listed.health == Health::Lost,
        bootable: header.bootable,
    }
}

#[derive(Serialize)]
struct EntriesDocument {
    recovery_point: String,
    entries: Vec<EntryDocument>,
}

#[derive(Serialize)]
struct EntryDocument {
    path: String,
    /// Raw bytes, where the path is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    bytes: u64,
    modified_seconds: i64,
    modified_nanoseconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target: Option<String>,
}

/// Lists what a recovery point holds.
pub(super) fn entries(args: &LsArgs, globals: &Globals) -> anyhow::Result<Exit> {
    let (vault, json) = (Arc::new(open::owner(&args.vault, globals)?), globals.json);
    let point = open::point(&vault, &args.vault, &args.point)?;
    let id = point.id.to_string();
    let reader = CatalogueReader::open(Arc::new(BlockReader::new(vault)), point)?;
    let path = args.path.as_deref().map(from_root).unwrap_or_default();
    let mut documents = Vec::new();
    let mut found = false;
    for entry in reader.entries(&path) {
        let entry = entry?;
        found = true;
        if json {
            documents.push(entry_document(&entry));
        } else if !entry.path.is_empty() {
            output::line(entry_line(&entry));
        }
    }
    if !found && !path.is_empty() {
        let message = format!("{} is not in recovery point {id}", text::path(&path));
        return Err(Failure::new("not-in-point", message).remedy("`ls` without a path shows all it holds").into());
    }
    if json {
        output::json(&EntriesDocument { recovery_point: id, entries: documents });
    }
    Ok(Exit::Done)
}

/// A path as the catalogue has it: from the machine's root, no slash in front or behind.
pub(super) fn from_root(path: &std::path::Path) -> Vec<u8> {
    let bytes = names::bytes_of(path);
    let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(start, |last| last + 1);
    bytes[start..end].to_vec()
}

fn entry_line(entry: &Entry) -> String {
    let arrow = entry.extras.link_target.as_ref().map(|target| format!(" -> {}", String::from_utf8_lossy(target)));
    format!(
        "{} {:>5} {:>5} {:>12} {} {}{}",
        text::mode(entry),
        entry.uid,
        entry.gid,
        entry.bytes,
        text::file_time(entry.modified),
        text::path(&entry.path),
        arrow.unwrap_or_default(),
    )
}

fn entry_document(entry: &Entry) -> EntryDocument {
    EntryDocument {
        path: text::path(&entry.path),
        path_hex: std::str::from_utf8(&entry.path).is_err().then(|| hex::encode(&entry.path)),
        kind: text::kind(entry.kind),
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        bytes: entry.bytes,
        modified_seconds: entry.modified.seconds,
        modified_nanoseconds: entry.modified.nanoseconds,
        link_target: entry.extras.link_target.as_ref().map(|target| String::from_utf8_lossy(target).into_owned()),
    }
}
