//! The plugin host: agent API, storage gateway, console, scan.

fn main() {}
