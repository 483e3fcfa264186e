//! The backup monitor in the tray.

fn main() {}
