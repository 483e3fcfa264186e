//! Windows: puts the table of event texts into the program, where the event log looks for it.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

#[allow(dead_code, unreachable_pub, reason = "only the table is needed here, and it is a library's elsewhere")]
#[path = "../platform/src/event_log/table.rs"]
mod table;

/// mingw-w64's, which Debian has in binutils-mingw-w64-x86-64.
const WINDRES: &str = "x86_64-w64-mingw32-windres";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../platform/src/event_log/table.rs");
    println!("cargo::rerun-if-env-changed=WINDRES");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("windows") {
        return Ok(());
    }
    let folder = PathBuf::from(env::var("OUT_DIR").map_err(|error| format!("OUT_DIR: {error}"))?);
    let write = |name: &str, contents: &[u8]| {
        fs::write(folder.join(name), contents).map_err(|error| format!("failed to write {name}: {error}"))
    };
    write("messages.bin", &table::resource())?;
    // Number 1 of kind 11, RT_MESSAGETABLE.
    write("messages.rc", b"1 11 \"messages.bin\"\n")?;
    let windres = env::var("WINDRES").unwrap_or_else(|_| WINDRES.to_owned());
    let status = Command::new(&windres).current_dir(&folder).args(["messages.rc", "-O", "coff", "messages.o"]).status();
    match status {
        Ok(status) if status.success() => {
            println!("cargo::rustc-link-arg-bins={}", folder.join("messages.o").display());
            Ok(())
        }
        Ok(status) => Err(format!("{windres} ended with {status}")),
        Err(error) => Err(format!("{windres} cannot be run ({error}): install it, or name another in WINDRES")),
    }
}
