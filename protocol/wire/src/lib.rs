//! Every message that crosses a process boundary.
