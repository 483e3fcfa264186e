//! moto: S3 as a Python program that keeps everything in memory.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{free_port, log_of, loopback, tool, wait_until_up};
use crate::process::Process;

const HOW: &str = "run `cargo xtask test`, which installs it, or `python3 -m venv target/tools/moto && \
                   target/tools/moto/bin/pip install 'moto[server]==5.2.5'`";

/// It looks whether an object is there and then makes it, in threads of one interpreter: two of a race were seen to win,
/// another thread having been given its turn in between. With turns this long a thread gives it up only when it waits.
const SERVE: &str = "import sys; sys.setswitchinterval(30); from moto.server import main; main(sys.argv[1:])";

/// A running moto.
#[derive(Debug)]
pub struct Moto {
    _process: Process,
    at: SocketAddr,
    _place: TempDir,
}

impl Moto {
    /// Starts an empty one.
    pub fn start() -> Result<Self> {
        let program = tool("moto/bin/python", HOW)?;
        let place = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-c", SERVE, "-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONUNBUFFERED", "1");
        let mut process = Process::start("moto", command, &log_of(place.path(), "moto"))?;
        let at = loopback(port);
        wait_until_up(&mut process, at)?;
        Ok(Self { _process: process, at, _place: place })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Where it listens, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Makes a bucket. moto asks for no signature.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.at)?;
        let head =
            format!("PUT /{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.at);
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("moto did not answer")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "moto made no bucket: {answer}");
        Ok(())
    }

    /// The environment that reaches it, at this endpoint: itself, or a proxy in front.
    pub fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}
