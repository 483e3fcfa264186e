//! Vaults in object storage: real servers, lines that delay and fail, the binaries a user gets.
//!
//! `world` needs servers that `cargo xtask test world` knows about; all else needs moto, which `cargo xtask test`
//! installs. A test without its server fails and says what to install.
#![cfg(target_os = "linux")]

mod contract;
mod faults;
mod support;
mod whole;
mod world;
