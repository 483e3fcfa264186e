//! The gateway store against a real HTTPS server that loses answers, refuses and is away.

#![expect(clippy::unwrap_used, reason = "a test that cannot store has failed")]

use super::*;
use crate::testing::FakeHost;
use std::sync::atomic::AtomicBool;

struct Rig {
    host: FakeHost,
    store: Arc<GatewayStore>,
    cancel: Arc<AtomicBool>,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let host = FakeHost::start();
    let dir = tempfile::tempdir().unwrap();
    let (_, _, link) = host.enrolled(dir.path()).await;
    let cancel = Arc::new(AtomicBool::new(false));
    let cancelled = cancel.clone();
    let options = GatewayOptions {
        patience: Duration::from_secs(20),
        cancelled: Arc::new(move || cancelled.load(Ordering::Relaxed)),
    };
    let store = Arc::new(GatewayStore::new(link, Handle::current(), options));
    Rig { host, store, cancel, _dir: dir }
}

/// Runs store calls on a thread of their own, as the engine does.
async fn on_thread<T: Send + 'static>(rig: &Rig, work: impl FnOnce(&GatewayStore) -> T + Send + 'static) -> T {
    let store = rig.store.clone();
    tokio::task::spawn_blocking(move || std::thread::spawn(move || work(&store)).join().unwrap()).await.unwrap()
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_created_once_listed_by_pages_and_read_by_ranges() {
    let rig = rig().await;
    on_thread(&rig, |store| {
        for n in 0..8 {
            assert_eq!(store.put_create(&name(&format!("i/{n}")), b"0123456789").unwrap(), Put::Created);
        }
        assert_eq!(store.put_create(&name("i/0"), b"other").unwrap(), Put::Exists);
        let dynamic: &dyn Store = store;
        assert_eq!(dynamic.list_all("i/").unwrap().len(), 8);
        let after = store.list("i/", Some(&name("i/5")), 1).unwrap();
        assert_eq!(after.iter().map(|info| info.name.to_string()).collect::<Vec<_>>(), ["i/6"]);
        assert_eq!(store.get_range(&name("i/0"), 2..5).unwrap(), b"234");
        assert_eq!(store.get_range(&name("i/0"), 8..50).unwrap(), b"89");
        assert_eq!(store.get_range(&name("i/0"), 50..60).unwrap(), b"");
        assert_eq!(store.head(&name("i/0")).unwrap(), Some(10));
        assert_eq!(store.head(&name("i/none")).unwrap(), None);
        assert!(matches!(store.get_range(&name("i/none"), 0..9), Err(StoreError::NotFound { .. })));
        assert!(matches!(store.delete(&name("i/0")), Err(StoreError::Refused { .. })));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_answer_was_lost_counts_as_created_when_the_bytes_are_ours() {
    let rig = rig().await;
    let hash = blake3::hash(b"pack").to_hex();
    for object in [format!("p/{hash}"), "m/own/1".to_owned()] {
        rig.host.known().faults.lost_answers = 1;
        let put = on_thread(&rig, move |store| store.put_create(&name(&object), b"pack").unwrap()).await;
        assert_eq!(put, Put::Created);
    }
    // Somebody else's bytes under the same name are found, not taken for ours.
    rig.host.shared.store.put_create(&name("m/own/2"), b"them").unwrap();
    let put = on_thread(&rig, |store| store.put_create(&name("m/own/2"), b"pack").unwrap()).await;
    assert_eq!(put, Put::Exists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_trouble_is_waited_out_and_an_expired_grant_is_asked_for_again() {
    let rig = rig().await;
    rig.host.known().faults.unavailable = 3;
    rig.host.known().faults.expired_grants = 1;
    let put = on_thread(&rig, |store| store.put_create(&name("i/a"), b"x").unwrap()).await;
    assert_eq!(put, Put::Created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_final_and_names_the_object() {
    let rig = rig().await;
    rig.host.known().faults.grants = Some(ProblemCode::QuotaExceeded);
    let error = on_thread(&rig, |store| store.put_create(&name("i/a"), b"x").unwrap_err()).await;
    assert!(matches!(error, StoreError::Refused { .. }) && error.to_string().contains("i/a"), "{error}");
    assert_eq!(rig.store.last_refusal(), Some(ProblemCode::QuotaExceeded));
    let pack = on_thread(&rig, |store| store.get_range(&name("p/x"), 0..9).unwrap_err()).await;
    assert!(matches!(pack, StoreError::Refused { .. }), "{pack}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_waiting_for_an_absent_host() {
    let rig = rig().await;
    rig.host.known().faults.unavailable = usize::MAX;
    let (store, cancel) = (rig.store.clone(), rig.cancel.clone());
    let put = std::thread::spawn(move || store.put_create(&name("i/a"), b"x").is_err());
    crate::testing::until("the put tries again", || rig.store.retries.load(Ordering::Relaxed) > 0).await;
    cancel.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    assert!(tokio::task::spawn_blocking(move || put.join().unwrap()).await.unwrap());
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_for_many_threads_come_in_few_questions() {
    let rig = rig().await;
    on_thread(&rig, |store| {
        std::thread::scope(|scope| {
            for n in 0..64 {
                scope.spawn(move || store.put_create(&name(&format!("i/{n}")), b"x").unwrap());
            }
        });
    })
    .await;
    let asked = rig.host.known().grant_requests;
    assert!(asked < 64, "{asked} questions for 64 grants");
}
