//! Servers of the world outside, which take long to install: `cargo xtask test world`.

use std::sync::Arc;

use anyhow::{Context, Result};
use nightkeep_harness::servers::{Azurite, Ceph};
use nightkeep_storage::{Environment, ProbeError, Races, StorageOptions, open_location_with, probe_create_only};
use nightkeep_vault::store::{Store, conformance};

use crate::support::{name, quick};

fn open(location: &str, environment: Vec<(&'static str, String)>) -> Result<Arc<dyn Store>> {
    let options = StorageOptions { environment: Environment::from_iter(environment), ..quick() };
    Ok(open_location_with(location, &options)?)
}

/// Ceph 16 ignores the condition of a create in a bucket that keeps versions, and heeds it in any other.
#[tokio::test]
#[ignore = "needs Ceph's gateway: cargo xtask test world"]
async fn ceph_is_fit_without_versions_and_refused_with_them() -> Result<()> {
    let ceph = Ceph::start()?;
    let endpoint = format!("http://{}", ceph.address());
    ceph.make_bucket("plain").await?;
    ceph.make_bucket("versions").await?;
    ceph.keep_versions("versions").await?;
    let plain = open("s3://plain/a", Ceph::environment(&endpoint))?;
    let versions = open("s3://versions/a", Ceph::environment(&endpoint))?;
    tokio::task::spawn_blocking(move || {
        conformance::run(&*plain);
        probe_create_only(&*plain, Races::default())?;
        let refused = probe_create_only(&*versions, Races::default()).err().context("it passed the race probe")?;
        assert!(matches!(refused, ProbeError::NotAtomic { winners: 16, .. }), "{refused}");
        Ok(())
    })
    .await?
}

#[tokio::test]
#[ignore = "needs Azurite: cargo xtask test world"]
async fn azure_keeps_the_contract_of_a_store() -> Result<()> {
    let azurite = Azurite::start()?;
    azurite.make_container("vaults").await?;
    let store = open("az://vaults/deep/prefix", Azurite::environment(azurite.address()))?;
    tokio::task::spawn_blocking(move || {
        conformance::run(&*store);
        probe_create_only(&*store, Races::default())?;
        let names: Vec<String> = (0..1_200).map(|n| format!("many/{n:05}")).collect();
        names
            .iter()
            .try_for_each(|text| store.put_create(&name(text)?, b"x").map(drop).map_err(anyhow::Error::from))?;
        let listed: Vec<String> = store.list_all("many/")?.into_iter().map(|info| info.name.to_string()).collect();
        assert_eq!(listed, names, "over several pages");
        Ok(())
    })
    .await?
}
