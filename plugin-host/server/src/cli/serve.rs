//! `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use super::Place;
use super::output::print;
use crate::host::{Host, HostOptions};

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "NIGHTKEEP_LISTEN", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// The address by which agents reach this host, when it is another (https://backup.example.com).
    #[arg(long, env = "NIGHTKEEP_PUBLIC_URL")]
    public_url: Option<String>,
    /// A certificate chain of your own (PEM); without it the host makes one that tokens pin.
    #[arg(long, requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.place.json;
        let mut host = Host::start(self.options()?).await?;
        announce(&host, json);
        tokio::select! {
            error = host.failed() => return Err(error.into()),
            () = asked_to_stop() => {}
        }
        tracing::info!("Stopping");
        Ok(host.stop().await?)
    }

    fn options(self) -> anyhow::Result<HostOptions> {
        if let Some(url) = &self.public_url {
            anyhow::ensure!(url.starts_with("https://"), "--public-url {url:?} must start with https://");
        }
        Ok(HostOptions {
            listen: self.listen,
            public_url: self.public_url.clone(),
            certificate: self.certificate.clone().zip(self.certificate_key.clone()),
            ..self.place.options()
        })
    }
}

fn announce(host: &Host, json: bool) {
    let (console, pin) = (format!("{}/", host.url()), host.pin().to_string());
    let document = json!({ "event": "listening", "console": console, "pin": pin });
    print(json, &document, &format!("Nightkeep host is listening.\n  Console:  {console}\n  Certificate pin: {pin}"));
    if let Some(password) = host.admin_password() {
        let document = json!({ "event": "admin-password", "user": "admin", "password": password });
        let text = format!(
            "  First sign-in: user admin, password {password}\n  It is shown this once; `nightkeep-host admin reset-password` makes a new one."
        );
        print(json, &document, &text);
    }
}

/// Ctrl-C, or the service manager's wish.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
