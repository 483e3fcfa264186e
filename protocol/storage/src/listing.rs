//! Listings: pages in byte order, whatever the provider's way of going on after a name is.
//!
//! **Invariant**: a listing is strictly rising. Storage that orders names otherwise is refused: a vault that pages
//! through it would miss objects.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use nightkeep_vault::store::{ObjectInfo, ObjectName, StoreError};
use object_store::list::PaginatedListOptions;

use crate::cloud::{Inner, failed};
use crate::retry::until_done;

/// What every provider gives at once.
const PAGE_MAX: usize = 1000;
/// Listings in the middle of which a caller may be.
const CURSORS_MAX: usize = 32;

/// Where listings that were cut go on, for a provider that cannot begin after a name: the place is known by the
/// listing's prefix and the last name it gave. A place that was forgotten costs a listing from the beginning.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<VecDeque<Cursor>>);

struct Cursor {
    prefix: String,
    last: ObjectName,
    token: String,
}

impl Cursors {
    fn take(&self, prefix: &str, after: Option<&ObjectName>) -> Option<String> {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cursors.iter().position(|cursor| cursor.prefix == prefix && Some(&cursor.last) == after)?;
        cursors.remove(at).map(|cursor| cursor.token)
    }

    fn keep(&self, cursor: Cursor) {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() >= CURSORS_MAX {
            cursors.pop_front();
        }
        cursors.push_back(cursor);
    }
}

/// The next `limit` objects below `prefix` after `after`.
pub(crate) async fn list(
    inner: &Inner,
    prefix: &str,
    after: Option<ObjectName>,
    limit: usize,
) -> Result<Vec<ObjectInfo>, StoreError> {
    let mut listing = Listing { inner, prefix, last: after.clone(), found: Vec::new() };
    let mut token = inner.cursors.as_ref().and_then(|cursors| cursors.take(prefix, after.as_ref()));
    while listing.found.len() < limit {
        token = listing.page(token, limit).await?;
        if token.is_none() {
            break;
        }
    }
    if let (Some(cursors), Some(token), Some(last)) = (&inner.cursors, token, listing.last) {
        cursors.keep(Cursor { prefix: prefix.to_owned(), last, token });
    }
    Ok(listing.found)
}

struct Listing<'a> {
    inner: &'a Inner,
    prefix: &'a str,
    /// The name behind which the listing goes on.
    last: Option<ObjectName>,
    found: Vec<ObjectInfo>,
}

impl Listing<'_> {
    /// Reads one page; answers where the next one begins, when there is one.
    async fn page(&mut self, token: Option<String>, limit: usize) -> Result<Option<String>, StoreError> {
        let Inner { backend, place, options, .. } = self.inner;
        let full = format!("{}{}", place.base, self.prefix);
        let offset = self.last.as_ref().map(|last| format!("{}{last}", place.base));
        // A provider that goes on by token alone gives names again that the caller has; they are no progress.
        let max_keys = (limit - self.found.len()).min(PAGE_MAX);
        let make = || {
            let options = PaginatedListOptions {
                offset: offset.clone().filter(|_| token.is_none() && self.inner.cursors.is_none()),
                max_keys: Some(max_keys),
                page_token: token.clone(),
                ..PaginatedListOptions::default()
            };
            backend.list_paginated(Some(&full), options)
        };
        let page = until_done(options, "list", self.prefix, make).await;
        let (page, _) = page.map_err(|ended| failed("list", self.prefix, ended))?;
        let mut before: Option<String> = None;
        for object in page.result.objects {
            let whole = object.location.to_string();
            if before.as_ref().is_some_and(|before| *before >= whole) {
                return Err(disordered(self.prefix));
            }
            let name = whole.strip_prefix(&place.base).and_then(|name| ObjectName::new(name).ok());
            before = Some(whole);
            // What has another kind of name is not ours.
            let Some(name) = name else { continue };
            if self.last.as_ref().is_none_or(|last| *last < name) {
                self.last = Some(name.clone());
                self.found.push(ObjectInfo { name, bytes: object.size });
            }
        }
        Ok(page.page_token)
    }
}

fn disordered(prefix: &str) -> StoreError {
    let reason = "it does not list names in byte order (a directory bucket, or an Azure account with hierarchical \
                  namespace, is such); use an ordinary bucket or account";
    StoreError::Refused { operation: "list", name: prefix.to_owned(), reason: reason.to_owned() }
}
