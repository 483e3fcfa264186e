//! Azurite: Azure's own emulator of Blob Storage.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::{free_port, http_date, log_of, loopback, tool, wait_until_up};
use crate::process::Process;

const HOW: &str =
    "run `cargo xtask test world`, which installs it, or `npm install --prefix target/tools/azurite azurite@3.37.0`";
/// The account and key every Azurite has; they are public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite.
#[derive(Debug)]
pub struct Azurite {
    _process: Process,
    at: SocketAddr,
    _place: TempDir,
}

impl Azurite {
    /// Starts an empty one.
    pub fn start() -> Result<Self> {
        let program = tool("azurite/node_modules/.bin/azurite-blob", HOW)?;
        let place = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"]).arg(place.path());
        command.args(["--disableTelemetry", "--skipApiVersionCheck", "--silent"]);
        let mut process = Process::start("azurite", command, &log_of(place.path(), "azurite"))?;
        let at = loopback(port);
        wait_until_up(&mut process, at)?;
        Ok(Self { _process: process, at, _place: place })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// Makes a container, signed as Azure wants it ("Authorize with Shared Key").
    pub async fn make_container(&self, name: &str) -> Result<()> {
        let (date, version) = (http_date()?, "2021-08-06");
        let headers = format!("x-ms-date:{date}\nx-ms-version:{version}");
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container");
        let signed = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}\n{resource}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY)?);
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let request = reqwest::Client::new()
            .put(format!("http://{}/{ACCOUNT}/{name}?restype=container", self.at))
            .header("x-ms-date", &date)
            .header("x-ms-version", version)
            .header("content-length", 0)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"));
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "Azurite made no container: {status}: {}", answer.text().await?);
        Ok(())
    }

    /// The environment that reaches it, at this address: itself, or a proxy in front.
    pub fn environment(at: SocketAddr) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ("AZURE_STORAGE_ENDPOINT", format!("http://{at}/{ACCOUNT}")),
        ]
    }
}
