//! Linux: the system's message bus, for the few questions that only its services answer.
//!
//! Each question has its own connection and runtime: questions are rare, and a bus that was restarted is no special case.
//! Nothing is started by asking: a service that does not run has no answer.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use zbus::proxy::MethodFlags;
use zbus::zvariant::{self, OwnedValue};

/// A bus or service that does not answer in this time has none.
const PATIENCE: Duration = Duration::from_secs(3);

/// The properties of one interface of an object.
pub(crate) fn properties(service: &str, path: &str, interface: &str) -> io::Result<HashMap<String, OwnedValue>> {
    ask(async {
        let proxy = proxy(service, path, "org.freedesktop.DBus.Properties").await?;
        let answer: Option<HashMap<String, OwnedValue>> =
            proxy.call_with_flags("GetAll", MethodFlags::NoAutoStart.into(), &(interface,)).await?;
        Ok(answer.unwrap_or_default())
    })
}

/// Takes an inhibitor lock of logind; it is held until the descriptor is closed.
pub(crate) fn inhibit(what: &str, who: &str, why: &str, mode: &str) -> io::Result<OwnedFd> {
    ask(async {
        let manager = "org.freedesktop.login1.Manager";
        let proxy = proxy("org.freedesktop.login1", "/org/freedesktop/login1", manager).await?;
        let answer: Option<zvariant::OwnedFd> =
            proxy.call_with_flags("Inhibit", MethodFlags::NoAutoStart.into(), &(what, who, why, mode)).await?;
        answer.map(OwnedFd::from).ok_or_else(|| zbus::Error::Failure("no lock was given".to_owned()))
    })
}

async fn proxy<'a>(service: &'a str, path: &'a str, interface: &'a str) -> zbus::Result<zbus::Proxy<'a>> {
    let connection = zbus::Connection::system().await?;
    zbus::proxy::Builder::new(&connection)
        .destination(service)?
        .path(path)?
        .interface(interface)?
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
}

fn ask<T>(question: impl Future<Output = zbus::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(async { tokio::time::timeout(PATIENCE, question).await }) {
        Ok(answer) => answer.map_err(io::Error::other),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the system's bus does not answer")),
    }
}
