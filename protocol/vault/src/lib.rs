//! The format at rest, and object storage behind one narrow trait.
