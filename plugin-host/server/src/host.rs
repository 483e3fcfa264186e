//! A running host: opens what it needs, listens, and stops in order.
//!
//! Invariant: it answers only after schema, keys, certificate and shipped plans are in place.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use nightkeep_database::{Database, DatabaseError, default_url};
use nightkeep_wire::id::SpkiPin;
use tokio::task::JoinHandle;

use crate::app::clock::Clock;
use crate::app::{App, AppError, SharedApp};
use crate::data::{DataDir, DataError, HostAddress};
use crate::keys::{MasterKey, MasterKeyError};
use crate::tls::{self, CertificateFiles, TlsError};
use crate::{background, http};

/// How long open requests may still take when the host stops; polls end at once.
const STOP_AFTER: Duration = Duration::from_secs(10);

/// How a host is started.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The data directory; created when missing.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database; none means the embedded one in the data directory.
    pub database: Option<String>,
    /// The address by which agents and browsers reach the host, when it is another than where it listens.
    pub public_url: Option<String>,
    /// A certificate of one's own: chain and key as PEM files.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The time.
    pub clock: Clock,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    url: String,
    pin: SpkiPin,
    admin_password: Option<String>,
    app: SharedApp,
    handle: Handle<SocketAddr>,
    server: JoinHandle<std::io::Result<()>>,
    background: Vec<JoinHandle<()>>,
}

/// Why a host did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HostError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Key(#[from] MasterKeyError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("no certificate to serve with")]
    Tls(#[from] TlsError),
    #[error("failed to listen on {address}; is another program using the port?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the host cannot begin its work")]
    Prepare(#[from] AppError),
    #[error("the host stopped serving")]
    Serve(#[source] std::io::Error),
}

/// What commands beside the server need too.
pub(crate) struct Opened {
    pub(crate) app: App,
    pub(crate) tls: tls::Tls,
}

/// Opens data directory, database and keys, creating what is missing.
pub(crate) async fn open(options: &HostOptions) -> Result<Opened, Kind> {
    let data = DataDir::open(&options.data)?;
    let master = MasterKey::open(&data)?;
    let files = options.certificate.clone().map(|(certificate, key)| CertificateFiles { certificate, key });
    let names = [options.listen.ip().to_string(), gethostname::gethostname().to_string_lossy().into_owned()];
    let tls = tls::load(&data, files.as_ref(), &names)?;
    let url = options.database.clone().unwrap_or_else(|| default_url(data.path()));
    let database = Database::open(&url).await?;
    let app = App::new(database, data, master, tls.pin, options.clock.clone());
    app.ensure_shipped_plans().await?;
    Ok(Opened { app, tls })
}

impl Host {
    /// Starts a host and answers when it listens.
    pub async fn start(options: HostOptions) -> Result<Self, HostError> {
        Ok(Self::start_parts(options).await?)
    }

    async fn start_parts(options: HostOptions) -> Result<Self, Kind> {
        let Opened { app, tls } = open(&options).await?;
        let admin_password = app.ensure_admin().await?;
        let failed = |source| Kind::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = options.public_url.map_or_else(|| url_of(address), |url| url.trim_end_matches('/').to_owned());
        app.data.write_address(&HostAddress { url: url.clone() })?;
        let app = Arc::new(app);
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(tls.config)).map_err(failed)?;
        let service = http::router(Arc::clone(&app)).into_make_service();
        let server = tokio::spawn(server.handle(handle.clone()).serve(service));
        let background = background::start(&app);
        Ok(Self { url, pin: tls.pin, admin_password, app, handle, server, background })
    }

    /// `https://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Hash of the certificate's public key, as enrolment tokens carry it.
    pub fn pin(&self) -> SpkiPin {
        self.pin
    }

    /// The one-time password of the user `admin`, when this start made that user.
    pub fn admin_password(&self) -> Option<&str> {
        self.admin_password.as_deref()
    }

    /// Waits until the server ends by itself, which it does only by a fault.
    pub async fn failed(&mut self) -> HostError {
        let ended = (&mut self.server).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let source = ended.err().unwrap_or_else(|| std::io::Error::other("the listener was closed"));
        HostError(Kind::Serve(source))
    }

    /// Stops: polls end, open requests finish, background work ends between two steps.
    pub async fn stop(self) -> Result<(), HostError> {
        self.app.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(STOP_AFTER));
        let served = self.server.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        for task in self.background {
            // A task that panicked has said so in the log.
            let _ = task.await;
        }
        served.map_err(|source| HostError(Kind::Serve(source)))
    }
}

/// The address that people on this machine can open.
fn url_of(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => gethostname::gethostname().to_string_lossy().into_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    format!("https://{host}:{}", address.port())
}
