//! Writes the golden vault of the present format, once: `cargo run -p nightkeep-golden --example write_vault`.

use nightkeep_golden::vault::{folder, write};

fn main() -> anyhow::Result<()> {
    write(&folder(1))
}
