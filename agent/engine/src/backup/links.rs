//! Files with several names: each is read once.
//!
//! **Invariant**: what is remembered has a bound in bytes. Beyond it a further name is read again, and found known.

use super::scan::link_group;
use nightkeep_platform::files::FileMeta;
use nightkeep_vault::catalogue::{Content, ContentListRef, Piece};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What may be remembered, in bytes.
const LINKS_BYTES_MAX: usize = 8 << 20;
/// A slot without its content: key, lock, metadata, table.
const SLOT_BYTES: usize = 320;

/// Contents of files with several names.
#[derive(Default)]
pub(crate) struct Links(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    slots: HashMap<(u64, u64), Entry>,
    bytes: usize,
}

struct Entry {
    slot: Arc<LinkSlot>,
    /// Names that were not met yet.
    names_left: u64,
    bytes: usize,
}

/// One such file; whoever reads it holds the lock, and who meets another name of it meanwhile waits.
pub(crate) type LinkSlot = Mutex<Option<(FileMeta, Content)>>;

impl Links {
    /// The slot of a file with several names; none for others, and when too much is remembered already.
    pub(crate) fn slot(&self, meta: &FileMeta) -> Option<Arc<LinkSlot>> {
        link_group(meta)?;
        let key = (meta.device, meta.inode);
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = remembered.slots.get_mut(&key) {
            entry.names_left = entry.names_left.saturating_sub(1);
            let (slot, last, bytes) = (entry.slot.clone(), entry.names_left == 0, entry.bytes);
            if last {
                remembered.slots.remove(&key);
                remembered.bytes -= bytes;
            }
            return Some(slot);
        }
        if remembered.bytes + SLOT_BYTES > LINKS_BYTES_MAX {
            return None;
        }
        let slot = Arc::new(LinkSlot::default());
        remembered.bytes += SLOT_BYTES;
        remembered.slots.insert(key, Entry { slot: slot.clone(), names_left: meta.links - 1, bytes: SLOT_BYTES });
        Some(slot)
    }

    /// Whether content of this size may be kept with its slot; counts it when so.
    pub(crate) fn may_keep(&self, meta: &FileMeta, content: &Content) -> bool {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = bytes_of(content);
        if remembered.bytes + bytes > LINKS_BYTES_MAX {
            return false;
        }
        // A slot whose last name was met is dropped with its holder.
        let Some(entry) = remembered.slots.get_mut(&(meta.device, meta.inode)) else { return true };
        entry.bytes += bytes;
        remembered.bytes += bytes;
        true
    }
}

fn bytes_of(content: &Content) -> usize {
    match content {
        Content::Empty => 0,
        Content::Inline(bytes) => bytes.len(),
        Content::Pieces(pieces) => pieces.len() * size_of::<Piece>(),
        Content::Lists(lists) => lists.len() * size_of::<ContentListRef>(),
    }
}
