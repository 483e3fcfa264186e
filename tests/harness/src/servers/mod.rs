//! Real object storage servers, started for a test on loopback and ended with it.
//!
//! moto runs in every test run (`cargo xtask test` installs it into `target/tools`); Ceph's gateway and Azure's emulator
//! belong to `cargo xtask test world`. A server that is not installed is an error that says what to do.

mod azurite;
mod careless;
mod ceph;
mod moto;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

pub use azurite::Azurite;
pub use careless::Careless;
pub use ceph::Ceph;
pub use moto::Moto;

use crate::agent::run;
use crate::binaries;
use crate::process::Process;
use crate::wait::wait_for;

/// How long a server may take until it answers; all of them are interpreted or large, on a machine that may be busy.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Where tools for tests are installed.
fn tools() -> PathBuf {
    binaries::root().join("target/tools")
}

/// A program below the tools, or an error that says how to get it.
fn tool(path: &str, how: &str) -> Result<PathBuf> {
    let path = tools().join(path);
    if !path.exists() {
        bail!("{} is not there: {how}", path.display());
    }
    Ok(path)
}

/// A port nobody listens on at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until something answers HTTP at the address, or the process ends.
fn wait_until_up(process: &mut Process, at: SocketAddr) -> Result<()> {
    wait_for(&format!("a server at {at}"), START_WITHIN, || {
        process.must_live()?;
        Ok(answers(at).ok().filter(|answers| *answers).map(drop))
    })
}

fn answers(at: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut begin = [0; 5];
    stream.read_exact(&mut begin)?;
    Ok(&begin == b"HTTP/")
}

/// The moment, as HTTP writes it.
fn http_date() -> Result<String> {
    let mut command = Command::new("date");
    command.args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]).env("LC_ALL", "C");
    Ok(run(&mut command)?.expect_code(0)?.stdout.trim().to_owned())
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn log_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}
