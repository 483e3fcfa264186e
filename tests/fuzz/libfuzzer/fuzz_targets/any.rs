//! Hands libFuzzer's bytes to the target that `NIGHTKEEP_FUZZ_TARGET` names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<nightkeep_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("NIGHTKEEP_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = nightkeep_fuzz::TARGETS.iter().map(|target| target.name).collect();
    *nightkeep_fuzz::target(&name).unwrap_or_else(|| panic!("NIGHTKEEP_FUZZ_TARGET is {name:?}, and none of {names:?}"))
});

fuzz_target!(|bytes: &[u8]| {
    let _ = (TARGET.check)(bytes);
});
