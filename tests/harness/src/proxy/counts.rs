//! What passed a proxy.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Seen;

/// The figures of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects put.
    pub puts: u64,
    /// Objects or ranges read.
    pub gets: u64,
    /// Lengths asked for.
    pub heads: u64,
    /// Pages listed.
    pub lists: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Whatever else was asked.
    pub others: u64,
    /// Connections made.
    pub connections: u64,
    /// How often a request came while no other was under way: round trips that were waited for one after the other.
    pub rounds: u64,
    /// The most requests under way at once.
    pub at_once_max: u64,
    /// Bytes to the server.
    pub bytes_up: u64,
    /// Bytes from the server.
    pub bytes_down: u64,
}

impl Counts {
    /// All requests together.
    pub fn requests(&self) -> u64 {
        self.puts + self.gets + self.heads + self.lists + self.deletes + self.others
    }

    /// What came after `earlier`; the most at once stays that of all time.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            puts: self.puts - earlier.puts,
            gets: self.gets - earlier.gets,
            heads: self.heads - earlier.heads,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
            others: self.others - earlier.others,
            connections: self.connections - earlier.connections,
            rounds: self.rounds - earlier.rounds,
            at_once_max: self.at_once_max,
            bytes_up: self.bytes_up - earlier.bytes_up,
            bytes_down: self.bytes_down - earlier.bytes_down,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { puts, gets, heads, lists, deletes, others, connections, rounds, .. } = self;
        write!(
            f,
            "{} requests ({puts} PUT, {gets} GET, {heads} HEAD, {lists} LIST, {deletes} DELETE",
            self.requests()
        )?;
        if *others > 0 {
            write!(f, ", {others} other")?;
        }
        write!(f, "), {rounds} rounds, {connections} connections")
    }
}

/// The counters themselves.
#[derive(Default)]
pub(super) struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    others: AtomicU64,
    numbers: AtomicU64,
    connections: AtomicU64,
    rounds: AtomicU64,
    under_way: AtomicU64,
    at_once_max: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

impl Counters {
    pub(super) fn connection(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// The number of a new request.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    pub(super) fn begin(&self, seen: &Seen) {
        let kind = match seen.method.as_str() {
            "PUT" => &self.puts,
            "GET" if seen.is_list() => &self.lists,
            "GET" => &self.gets,
            "HEAD" => &self.heads,
            "DELETE" => &self.deletes,
            _ => &self.others,
        };
        kind.fetch_add(1, Relaxed);
        let before = self.under_way.fetch_add(1, Relaxed);
        if before == 0 {
            self.rounds.fetch_add(1, Relaxed);
        }
        self.at_once_max.fetch_max(before + 1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    pub(super) fn up(&self, bytes: usize) {
        self.bytes_up.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn down(&self, bytes: usize) {
        self.bytes_down.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn now(&self) -> Counts {
        Counts {
            puts: self.puts.load(Relaxed),
            gets: self.gets.load(Relaxed),
            heads: self.heads.load(Relaxed),
            lists: self.lists.load(Relaxed),
            deletes: self.deletes.load(Relaxed),
            others: self.others.load(Relaxed),
            connections: self.connections.load(Relaxed),
            rounds: self.rounds.load(Relaxed),
            at_once_max: self.at_once_max.load(Relaxed),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
        }
    }
}
