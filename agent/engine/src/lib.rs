//! Files to vault and back: scan, compare, chunk, back up, restore, verify.
