//! The contract of a store, over S3.

use anyhow::Result;
use nightkeep_harness::servers::Careless;
use nightkeep_storage::{ProbeError, Races, probe_create_only};
use nightkeep_vault::store::{Put, conformance};

use crate::support::{Lab, name, open_s3, quick};

#[test]
fn s3_keeps_the_contract_of_a_store() -> Result<()> {
    let lab = Lab::start()?;
    conformance::run(&*lab.store()?);
    Ok(())
}

#[test]
fn s3_keeps_the_contract_inside_of_another_runtime() -> Result<()> {
    let lab = Lab::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = lab.store()?;
    runtime.block_on(runtime.spawn(async move { conformance::run(&*store) }))?;
    Ok(())
}

#[test]
fn storage_with_atomic_creates_passes_the_race_probe_and_keeps_nothing_of_it() -> Result<()> {
    let lab = Lab::start()?;
    // A slow server is not to be asked twice here: requests are counted.
    let store = lab.store_with(&nightkeep_storage::StorageOptions::default())?;
    probe_create_only(&*store, Races::default())?;
    let counts = lab.proxy.counts();
    let Races { racers, rounds } = Races::default();
    assert_eq!((counts.puts, counts.deletes), (u64::from(racers) * u64::from(rounds), u64::from(rounds)), "{counts}");
    assert_eq!(store.list_all("")?, []);
    Ok(())
}

/// The server looks at the condition when a request begins: only racers that have all begun before one ends show it.
#[tokio::test]
async fn storage_that_looks_before_it_writes_is_refused() -> Result<()> {
    let careless = Careless::start().await?;
    let store = open_s3(careless.address(), &quick())?;
    let refused = tokio::task::spawn_blocking(move || probe_create_only(&*store, Races::default())).await?;
    assert!(matches!(refused, Err(ProbeError::NotAtomic { winners: 2.., .. })), "{refused:?}");
    Ok(())
}

#[test]
fn a_listing_of_many_pages_is_whole_and_each_page_is_one_request() -> Result<()> {
    let lab = Lab::start()?;
    // Patient: a busy machine that answers late is not asked twice.
    let store = lab.store_with(&nightkeep_storage::StorageOptions::default())?;
    let names: Vec<String> = (0..2_300).map(|n| format!("l/{n:05}")).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(300) {
            let store = &store;
            scope.spawn(move || {
                part.iter()
                    .try_for_each(|text| store.put_create(&name(text)?, b"x").map(drop).map_err(anyhow::Error::from))
            });
        }
    });
    let before = lab.proxy.counts();
    let listed: Vec<String> = store.list_all("l/")?.into_iter().map(|info| info.name.to_string()).collect();
    assert_eq!(listed, names);
    assert_eq!(lab.proxy.counts().since(&before).lists, 3);
    Ok(())
}

#[test]
fn a_body_larger_than_all_room_goes_alone_and_many_go_in_turn() -> Result<()> {
    let lab = Lab::start()?;
    let options = nightkeep_storage::StorageOptions { bytes_in_flight_max: 1 << 20, ..crate::support::quick() };
    let store = lab.store_with(&options)?;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| -> Result<()> {
        let putters: Vec<_> = (0..4)
            .map(|n| {
                let (store, bytes) = (&store, &bytes);
                scope.spawn(move || -> Result<Put> { Ok(store.put_create(&name(&format!("big/{n}"))?, bytes)?) })
            })
            .collect();
        for putter in putters {
            assert_eq!(putter.join().map_err(|_| anyhow::anyhow!("a putter failed"))??, Put::Created);
        }
        Ok(())
    })?;
    assert_eq!(store.get(&name("big/3")?, 4_000_000)?, bytes);
    assert_eq!(lab.proxy.counts().at_once_max, 1, "one body fills all room");
    Ok(())
}
