//! The machine list.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{Html, Redirect};
use nightkeep_database::SortKey;
use nightkeep_wire::MachineId;
use nightkeep_wire::status::Bucket;
use serde::Deserialize;

use super::super::admin::machines::{ListQuery, bucket_counts, list_page};
use super::super::admin::view::{MachineView, machine_view, row_of};
use super::page::{Actor, PageError, Viewer, show};
use crate::app::SharedApp;

#[derive(Template)]
#[template(path = "machine_row.html")]
struct Row<'a> {
    machine: &'a MachineView,
}

#[derive(Template)]
#[template(path = "machines.html")]
struct Page<'a> {
    user: &'a str,
    total: u64,
    text: &'a str,
    kept: Vec<(&'static str, String)>,
    tiles: Vec<Tile>,
    columns: Vec<Column>,
    /// Rendered rows, the same as the script fetches.
    machines: Vec<String>,
    first: String,
    next: String,
}

struct Tile {
    label: &'static str,
    class: &'static str,
    count: u64,
    href: String,
    here: bool,
}

struct Column {
    label: &'static str,
    class: &'static str,
    href: String,
    /// `ascending`, `descending`, or empty.
    order: &'static str,
}

/// The page's address: what is empty or usual is left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    text: String,
    bucket: Option<Bucket>,
    sort: SortKey,
    descending: bool,
    after: Option<String>,
}

impl Address {
    fn href(&self) -> String {
        let parts: Vec<String> = self.parts().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        if parts.is_empty() { "/machines".to_owned() } else { format!("/machines?{}", parts.join("&")) }
    }

    fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts = Vec::new();
        if !self.text.is_empty() {
            parts.push(("text", encode(&self.text)));
        }
        if let Some(bucket) = self.bucket {
            parts.push(("bucket", bucket.as_str().to_owned()));
        }
        if self.sort != SortKey::default() {
            parts.push(("sort", sort_word(self.sort).to_owned()));
        }
        if self.descending {
            parts.push(("descending", "true".to_owned()));
        }
        if let Some(after) = &self.after {
            parts.push(("after", encode(after)));
        }
        parts
    }
}

fn encode(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn sort_word(key: SortKey) -> &'static str {
    match key {
        SortKey::Status => "status",
        SortKey::Name => "name",
        SortKey::Place => "place",
        SortKey::LastBackup => "last_backup",
        SortKey::NextBackup => "next_backup",
    }
}

pub(super) async fn page(
    State(app): State<SharedApp>,
    Viewer(user): Viewer,
    Query(address): Query<Address>,
) -> Result<Html<String>, PageError> {
    let query = ListQuery {
        text: address.text.clone(),
        bucket: address.bucket,
        sort: address.sort,
        descending: address.descending,
        after: address.after.clone(),
        ..ListQuery::default()
    };
    let list = list_page(&app, &user, &query).await?;
    let counts = bucket_counts(&app, &user).await?;
    let first = Address { after: None, ..address.clone() };
    let machines: Result<Vec<String>, _> = list.machines.iter().map(|machine| Row { machine }.render()).collect();
    let page = Page {
        user: &user.name,
        total: counts.iter().map(|(_, n)| n).sum(),
        text: &address.text,
        kept: first.parts().into_iter().filter(|(name, _)| *name != "text").collect(),
        tiles: tiles(&first, &counts),
        columns: columns(&first),
        machines: machines.map_err(crate::app::AppError::internal)?,
        first: address.after.as_ref().map(|_| first.href()).unwrap_or_default(),
        next: list.next.map(|after| Address { after: Some(after), ..address.clone() }.href()).unwrap_or_default(),
    };
    show(&page)
}

/// What needs attention first, then the rest; every bucket is there, so the numbers sum up.
fn tiles(address: &Address, counts: &[(Bucket, u64)]) -> Vec<Tile> {
    const ORDER: [Bucket; 6] =
        [Bucket::Error, Bucket::NotProtected, Bucket::Warning, Bucket::WithoutPlan, Bucket::WithoutAgent, Bucket::Ok];
    let href = |bucket| Address { bucket, ..address.clone() }.href();
    let all = Tile {
        label: "All",
        class: "all",
        count: counts.iter().map(|(_, n)| n).sum(),
        href: href(None),
        here: address.bucket.is_none(),
    };
    let tile = |bucket: Bucket| Tile {
        label: bucket.label(),
        class: bucket.as_str(),
        count: counts.iter().find(|(b, _)| *b == bucket).map_or(0, |(_, n)| *n),
        href: href(Some(bucket)),
        here: address.bucket == Some(bucket),
    };
    std::iter::once(all).chain(ORDER.into_iter().map(tile)).collect()
}

fn columns(address: &Address) -> Vec<Column> {
    let column = |label, class, key: Option<SortKey>| {
        let here = key == Some(address.sort);
        let descending = here && !address.descending;
        let order = match (here, address.descending) {
            (true, true) => "descending",
            (true, false) => "ascending",
            (false, _) => "",
        };
        let href = key.map(|sort| Address { sort, descending, ..address.clone() }.href()).unwrap_or_default();
        Column { label, class, href, order }
    };
    vec![
        column("Machine", "name", Some(SortKey::Name)),
        column("Client", "place", Some(SortKey::Place)),
        column("Status", "status", Some(SortKey::Status)),
        column("Last backup", "time", Some(SortKey::LastBackup)),
        column("Next backup", "time", Some(SortKey::NextBackup)),
        column("Actions", "actions", None),
    ]
}

/// One row, for the script.
pub(super) async fn row(
    State(app): State<SharedApp>,
    Viewer(user): Viewer,
    Path(machine): Path<MachineId>,
) -> Result<Html<String>, PageError> {
    let (machine, place) = app.machine_for(&user, machine).await?;
    let row = row_of(&app, &machine, &place).await?;
    show(&Row { machine: &machine_view(&app, row).await? })
}

pub(super) async fn scan(State(app): State<SharedApp>, Actor(user): Actor) -> Result<Redirect, PageError> {
    app.audit(&user.name, "scan", "all machines", "").await?;
    app.scan().await?;
    Ok(Redirect::to("/machines"))
}
