//! What these tests share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nightkeep_harness::proxy::{Line, Proxy};
use nightkeep_harness::servers::Moto;
use nightkeep_storage::{Environment, StorageOptions, open_location_with};
use nightkeep_vault::store::{ObjectName, Store};

/// The bucket of every test.
pub(crate) const BUCKET: &str = "vaults";

/// A moto with a bucket, and a proxy in front of it.
pub(crate) struct Lab {
    pub(crate) proxy: Proxy,
    pub(crate) moto: Moto,
}

impl Lab {
    /// A lab whose line does nothing but count.
    pub(crate) fn start() -> Result<Self> {
        Self::with_line(Line::default())
    }

    pub(crate) fn with_line(line: Line) -> Result<Self> {
        let moto = Moto::start()?;
        moto.make_bucket(BUCKET)?;
        Ok(Self { proxy: Proxy::start(moto.address(), line)?, moto })
    }

    /// A store behind the proxy, with little patience.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        self.store_with(&quick())
    }

    pub(crate) fn store_with(&self, options: &StorageOptions) -> Result<Arc<dyn Store>> {
        open_s3(self.proxy.address(), options)
    }

    /// A store that goes to the server itself, to see what is there.
    pub(crate) fn direct(&self) -> Result<Arc<dyn Store>> {
        open_s3(self.moto.address(), &quick())
    }
}

/// A store at an S3 server.
pub(crate) fn open_s3(at: SocketAddr, options: &StorageOptions) -> Result<Arc<dyn Store>> {
    let environment = Environment::from_iter(Moto::environment(&format!("http://{at}")));
    let options = StorageOptions { environment, ..options.clone() };
    Ok(open_location_with(&format!("s3://{BUCKET}/deep/prefix"), &options)?)
}

/// Short pauses, little patience: what is shown does not depend on them.
pub(crate) fn quick() -> StorageOptions {
    StorageOptions {
        retry_for: Duration::from_secs(60),
        hung_after: Duration::from_secs(1),
        pause_first: Duration::from_millis(5),
        pause_max: Duration::from_millis(50),
        ..StorageOptions::default()
    }
}

pub(crate) fn name(text: &str) -> Result<ObjectName> {
    Ok(ObjectName::new(text)?)
}
