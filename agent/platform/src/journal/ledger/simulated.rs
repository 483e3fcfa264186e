//! A volume that keeps a change journal as Windows documents it, at its most sparing: no record for what a file that is still
//! open has had a record for, and of several names any one is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use crate::journal::ledger::Volume;
use crate::journal::usn::{self, JournalState, Record, write};

pub(super) const ROOT: u64 = 5;
const CREATED: u32 = 0x100;
const DELETED: u32 = 0x200;
const WRITTEN: u32 = 0x1;
/// Bytes that a simulated record takes.
const STEP: i64 = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) directory: bool,
    /// Directory and name, several for a file with several names.
    pub(super) names: Vec<(u64, String)>,
    /// Stands for contents and attributes.
    pub(super) version: u64,
    /// What had a record since it was opened; none when it is closed.
    open: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<u64, Node>,
    records: Vec<Record>,
    pub(super) state: Option<JournalState>,
    /// Records that are kept.
    pub(super) kept: usize,
    next_node: u64,
    /// What happens the next time a place is asked for, once.
    pub(super) meanwhile: Option<fn(&mut Disk)>,
    /// Bytes of an answer that are spoilt.
    pub(super) spoilt: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Simulated {
    pub(super) disk: Rc<RefCell<Disk>>,
    pub(super) device: u64,
}

impl Simulated {
    pub(super) fn new(device: u64) -> Self {
        let state = JournalState { id: 77, first: 0, next: 0 };
        let disk = Disk { state: Some(state), kept: usize::MAX, next_node: 100, ..Disk::default() };
        Self { disk: Rc::new(RefCell::new(disk)), device }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.disk.borrow_mut())
    }
}

impl Disk {
    fn tell(&mut self, file: u64, parent: u64, reason: u32) {
        let Some(state) = &mut self.state else { return };
        let directory = self.nodes.get(&file).is_some_and(|node| node.directory);
        self.records.push(Record { file, parent, number: state.next, reason, directory });
        state.next += STEP;
        let surplus = self.records.len().saturating_sub(self.kept);
        self.records.drain(..surplus);
        state.first = self.records.first().map_or(state.next, |record| record.number);
    }

    /// Something happens to a file: told if it is new since the file was opened. A file that nobody has open is closed at once.
    fn happens(&mut self, file: u64, reason: u32, always: bool) {
        let Some(node) = self.nodes.get_mut(&file) else { return };
        // Of several names the last, whichever was meant.
        let parent = node.names.last().map_or(ROOT, |(parent, _)| *parent);
        match &mut node.open {
            None => {
                self.tell(file, parent, reason);
                self.tell(file, parent, reason | usn::REASON_CLOSE);
            }
            Some(had) => {
                let new = *had & reason != reason;
                *had |= reason;
                let had = *had;
                if new || always {
                    self.tell(file, parent, had);
                }
            }
        }
    }

    pub(super) fn create(&mut self, parent: u64, name: &str, directory: bool) -> u64 {
        self.next_node += 1;
        let file = self.next_node;
        let names = vec![(parent, name.to_owned())];
        self.nodes.insert(file, Node { directory, names, version: 0, open: None });
        self.happens(file, CREATED, false);
        file
    }

    pub(super) fn open(&mut self, file: u64) {
        if let Some(node) = self.nodes.get_mut(&file) {
            node.open.get_or_insert(0);
        }
    }

    pub(super) fn close(&mut self, file: u64) {
        let Some(node) = self.nodes.get_mut(&file) else { return };
        let parent = node.names.last().map_or(ROOT, |(parent, _)| *parent);
        if let Some(had) = node.open.take().filter(|had| *had != 0) {
            self.tell(file, parent, had | usn::REASON_CLOSE);
        }
    }

    pub(super) fn write(&mut self, file: u64) {
        if let Some(node) = self.nodes.get_mut(&file) {
            node.version += 1;
        }
        self.happens(file, WRITTEN, false);
    }

    pub(super) fn rename(&mut self, file: u64, parent: u64, name: &str) {
        self.happens(file, usn::REASON_RENAME_OLD_NAME, true);
        if let Some(node) = self.nodes.get_mut(&file) {
            node.names.pop();
            node.names.push((parent, name.to_owned()));
        }
        self.happens(file, usn::REASON_RENAME_NEW_NAME, true);
    }

    pub(super) fn link(&mut self, file: u64, parent: u64, name: &str) {
        if let Some(node) = self.nodes.get_mut(&file) {
            // Not last, so that no record tells it.
            node.names.insert(0, (parent, name.to_owned()));
        }
        self.happens(file, usn::REASON_HARD_LINK_CHANGE, false);
    }

    /// Takes one name away, and with the last one the file.
    pub(super) fn remove(&mut self, file: u64) {
        let Some(node) = self.nodes.get_mut(&file) else { return };
        if node.names.len() > 1 {
            node.names.remove(0);
            return self.happens(file, usn::REASON_HARD_LINK_CHANGE, false);
        }
        let (parent, had) = (node.names[0].0, node.open.unwrap_or_default());
        self.tell(file, parent, had | DELETED | usn::REASON_CLOSE);
        self.nodes.remove(&file);
    }

    /// Whether `file` lies in `directory` or beneath.
    pub(super) fn is_beneath(&self, file: u64, directory: u64) -> bool {
        let mut at = file;
        while at != directory && at != ROOT {
            at = self.nodes.get(&at).map_or(ROOT, |node| node.names[0].0);
        }
        at == directory
    }
}

impl Volume for Simulated {
    fn device(&self) -> u64 {
        self.device
    }

    fn root(&self) -> u64 {
        ROOT
    }

    fn place(&self) -> PathBuf {
        format!("volume {}", self.device).into()
    }

    fn state(&self) -> io::Result<JournalState> {
        self.disk.borrow().state.ok_or_else(|| io::Error::other("the journal is not active"))
    }

    fn read(&self, id: u64, from: i64) -> io::Result<Vec<u8>> {
        let disk = self.disk.borrow();
        let state = self.state()?;
        if id != state.id || from < state.first {
            return Err(io::Error::other("the entry was deleted"));
        }
        // Few at a time, and the number to read on with.
        let records = &disk.records[disk.records.partition_point(|record| record.number < from)..];
        let next = records.get(3).map_or(state.next, |record| record.number);
        let records = &records[..records.len().min(3)];
        let mut answer = write::batch(next as u64, 2, records);
        if disk.spoilt {
            answer.truncate(answer.len() - 8);
        }
        Ok(answer)
    }

    fn parent_of(&self, file: u64) -> io::Result<Option<u64>> {
        let meanwhile = self.disk.borrow_mut().meanwhile.take();
        if let Some(act) = meanwhile {
            self.with(act);
        }
        let disk = self.disk.borrow();
        Ok(if file == ROOT { Some(ROOT) } else { disk.nodes.get(&file).map(|node| node.names[0].0) })
    }

    fn directories_of(&self, file: u64) -> io::Result<Option<Vec<u64>>> {
        let disk = self.disk.borrow();
        Ok(disk.nodes.get(&file).map(|node| node.names.iter().map(|(parent, _)| *parent).collect()))
    }
}
