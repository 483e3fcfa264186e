//! The whole system, as a user sees it: real binaries, real trees, real kills.
//!
//! A test that needs something the machine lacks (root, rsync, a browser) does what it can and says what it left out.
#![cfg(target_os = "linux")]

mod browser;
mod console;
mod crashes;
mod faults;
mod gateway;
mod hosted;
mod memory;
mod prune;
mod restores;
mod resumes;
mod selftest;
mod support;
mod thrift;
