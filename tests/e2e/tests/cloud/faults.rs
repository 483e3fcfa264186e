//! Lines that fail: answers lost, bodies torn, servers that hang, trickle, refuse, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use nightkeep_harness::proxy::{Fault, Seen};
use nightkeep_storage::StorageOptions;
use nightkeep_vault::store::{Put, StoreError};

use crate::support::{Lab, name, quick};

/// The first `times` requests that `matches` meet `fault`.
fn first(times: u64, matches: fn(&Seen) -> bool, fault: Fault) -> impl Fn(&Seen) -> Fault + Send + Sync {
    let met = AtomicU64::new(0);
    move |seen| match matches(seen) && met.fetch_add(1, Ordering::Relaxed) < times {
        true => fault,
        false => Fault::None,
    }
}

fn is_put(seen: &Seen) -> bool {
    seen.method == "PUT"
}

fn is_get(seen: &Seen) -> bool {
    seen.method == "GET"
}

fn any(_: &Seen) -> bool {
    true
}

/// Scenario 4: a put is stored, its answer is lost. The next try finds the name taken, compares, and says what is true.
#[test]
fn scenario_04_a_put_whose_answer_is_lost_is_recognised_by_its_bytes() -> Result<()> {
    let lab = Lab::start()?;
    let store = lab.store()?;
    lab.proxy.set_rule(first(1, is_put, Fault::LoseAnswer));
    assert_eq!(store.put_create(&name("p/mine")?, b"mine")?, Put::Created);
    let counts = lab.proxy.counts();
    assert_eq!((counts.puts, counts.gets), (2, 1), "one more put, one look: {counts}");

    // Another's object under the name is not taken for ours, answer lost or not.
    assert_eq!(lab.direct()?.put_create(&name("p/theirs")?, b"theirs")?, Put::Created);
    lab.proxy.set_rule(first(1, is_put, Fault::LoseAnswer));
    assert_eq!(store.put_create(&name("p/theirs")?, b"mine!!")?, Put::Exists);
    assert_eq!(lab.direct()?.get(&name("p/theirs")?, 100)?, b"theirs");
    Ok(())
}

/// Scenario 4, the other way round: a put that never arrived, and servers that refuse for a while.
#[test]
fn scenario_04_a_put_that_never_arrived_is_repeated() -> Result<()> {
    let lab = Lab::start()?;
    let store = lab.store()?;
    for (n, fault) in [
        Fault::Cut,
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(429, ""),
        Fault::Answer(500, "InternalError"),
        Fault::Stall,
    ]
    .into_iter()
    .enumerate()
    {
        let name = name(&format!("p/{n}"))?;
        lab.proxy.set_rule(first(2, is_put, fault));
        assert_eq!(store.put_create(&name, b"bytes")?, Put::Created, "{fault:?}");
        assert_eq!(store.get(&name, 100)?, b"bytes");
    }
    Ok(())
}

#[test]
fn a_torn_body_is_never_handed_on() -> Result<()> {
    let lab = Lab::start()?;
    let store = lab.store()?;
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
    store.put_create(&name("p/x")?, &bytes)?;
    for after in [1, 50, 700, 60_000, 199_000] {
        lab.proxy.set_rule(first(2, is_get, Fault::TearAnswer(after)));
        assert_eq!(store.get(&name("p/x")?, 1 << 20)?, bytes, "torn after {after} bytes");
    }
    Ok(())
}

/// Scenario 21: connections that are cut at random, an outage, hung requests and a trickle, under several callers.
#[test]
fn scenario_21_losses_outages_stalls_and_trickles_are_waited_out() -> Result<()> {
    let lab = Lab::start()?;
    let store = lab.store()?;
    lab.proxy.set_rule(|seen| match seen.number {
        // The outage: nothing at all gets through.
        40..=80 => Fault::Cut,
        n if n % 23 == 3 => Fault::Stall,
        n if n % 29 == 5 => Fault::Trickle,
        n if n % 3 == 1 => Fault::Cut,
        n if n % 7 == 2 => Fault::LoseAnswer,
        _ => Fault::None,
    });
    let bytes: Arc<Vec<u8>> = Arc::new((0..150_000u32).map(|n| (n % 241) as u8).collect());
    std::thread::scope(|scope| -> Result<()> {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (store, bytes) = (&store, &bytes);
                scope.spawn(move || -> Result<()> {
                    for n in 0..8 {
                        let name = name(&format!("p/{caller}-{n}"))?;
                        assert_eq!(store.put_create(&name, bytes)?, Put::Created);
                        assert_eq!(store.get(&name, 1 << 20)?, **bytes);
                    }
                    Ok(())
                })
            })
            .collect();
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| anyhow!("a caller failed"))?)
    })?;
    assert_eq!(lab.direct()?.list_all("p/")?.len(), 32);
    Ok(())
}

#[test]
fn scenario_21_a_hung_request_is_ended_in_time_and_patience_ends_too() -> Result<()> {
    let lab = Lab::start()?;
    let options = StorageOptions { retry_for: Duration::ZERO, hung_after: Duration::from_secs(1), ..quick() };
    let store = lab.store_with(&options)?;
    for fault in [Fault::Stall, Fault::Trickle] {
        lab.proxy.set_rule(first(u64::MAX, any, fault));
        let begun = Instant::now();
        let Err(StoreError::Failed { source, .. }) = store.head(&name("p/x")?) else {
            return Err(anyhow!("a request that hangs did not fail: {fault:?}"));
        };
        assert!(source.to_string().contains("moved next to nothing"), "{source}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    Ok(())
}

#[test]
fn a_slow_line_gets_through_however_much_is_buffered_on_the_way() -> Result<()> {
    // The body takes several times as long as a hung request is left alone. Where buffers on the way swallow it and
    // nothing seems to move, patience grows with each try.
    let line = nightkeep_harness::proxy::Line { bytes_per_second: Some(1 << 20), ..Default::default() };
    let lab = Lab::with_line(line)?;
    let store = lab.store()?;
    let bytes: Vec<u8> = vec![7; 4 << 20];
    assert_eq!(store.put_create(&name("p/slow")?, &bytes)?, Put::Created);
    assert_eq!(store.get(&name("p/slow")?, 5 << 20)?, bytes);
    let counts = lab.proxy.counts();
    assert!(counts.puts <= 4 && counts.gets <= 3, "{counts}");
    Ok(())
}

#[test]
fn what_only_a_person_can_mend_is_told_at_once_with_the_remedy() -> Result<()> {
    let lab = Lab::start()?;
    let store = lab.store()?;
    for (status, code, remedy) in [
        (403, "AccessDenied", "grant reading"),
        (403, "InvalidAccessKeyId", "credentials"),
        (400, "ExpiredToken", "expired"),
        (401, "Unauthorized", "credentials"),
        (404, "NoSuchBucket", "create the bucket"),
    ] {
        lab.proxy.set_rule(first(u64::MAX, any, Fault::Answer(status, code)));
        let before = lab.proxy.counts();
        let Err(StoreError::Refused { reason, .. }) = store.put_create(&name("p/x")?, b"x") else {
            return Err(anyhow!("{status} {code} was not told as a refusal"));
        };
        assert!(reason.contains(remedy), "{status} {code}: {reason}");
        assert_eq!(lab.proxy.counts().since(&before).requests(), 1, "{status} {code} is not tried again");
    }
    lab.proxy.set_rule(first(1, any, Fault::Answer(507, "InsufficientStorage")));
    assert!(matches!(store.put_create(&name("p/x")?, b"x"), Err(StoreError::Full { .. })));
    assert_eq!(store.put_create(&name("p/x")?, b"x")?, Put::Created, "nothing was kept of the refusals");
    Ok(())
}
