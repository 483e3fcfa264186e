//! Enrolment and requests against a real HTTPS server.

#![expect(clippy::unwrap_used, reason = "a test that cannot enrol has failed")]

use super::*;
use crate::config::Config;
use crate::identity::Identity;
use crate::testing::{FakeHost, places_in};
use nightkeep_wire::id::SpkiPin;
use nightkeep_wire::problem::ProblemCode;
use std::time::Duration;

async fn try_to_enrol(host: &FakeHost, pin: SpkiPin) -> EnrolError {
    let dir = tempfile::tempdir().unwrap();
    let facts = crate::facts::gather(&Config::default());
    let places = places_in(dir.path());
    enrol(&host.link(pin), &host.token(), facts, &mut Identity::generate(), &places).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolling_twice_with_the_same_keys_gives_the_same_machine() {
    let host = FakeHost::start();
    let dir = tempfile::tempdir().unwrap();
    let (places, identity, link) = host.enrolled(dir.path()).await;
    let mut again = Identity::load(&places).unwrap().unwrap();
    assert_eq!(again.enrolled, identity.enrolled);
    let facts = crate::facts::gather(&Config::default());
    enrol(&host.link(host.pin), &host.token(), facts, &mut again, &places).await.unwrap();
    assert_eq!(again.enrolled.unwrap().machine, identity.enrolled.as_ref().unwrap().machine);
    let keys = undelivered_meta_key(&identity).unwrap().unwrap();
    link.put_keys(&keys).await.unwrap();
    assert_eq!(host.known().meta_keys, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_certificate_hears_nothing_and_the_error_names_both_pins() {
    let host = FakeHost::start();
    let wrong = SpkiPin([7; 32]);
    let EnrolError::Link(error) = try_to_enrol(&host, wrong).await else { panic!("no host to believe") };
    assert!(matches!(error, LinkError::Untrusted { .. }), "{error:?}");
    let words = error.in_words();
    assert!(words.contains(&wrong.to_string()) && words.contains(&host.pin.to_string()), "{words}");
    assert!(!error.is_passing());
    assert_eq!(host.known().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_taken_is_told_with_the_remedy() {
    let host = FakeHost::start();
    for (code, words) in [
        (ProblemCode::TokenExpired, "expired: make a new one"),
        (ProblemCode::TokenUsed, "used up"),
        (ProblemCode::TokenUnknown, "does not know this enrolment token"),
    ] {
        host.known().faults.token = Some(code);
        let error = try_to_enrol(&host, host.pin).await;
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_is_told_as_such() {
    let host = FakeHost::start();
    let gone = nightkeep_wire::token::EnrolmentToken { host_url: "https://127.0.0.1:9".to_owned(), ..host.token() };
    let clock = std::sync::Arc::default();
    let link = HostLink::new(&gone.host_url, Some(gone.pin), None, clock, Duration::from_secs(2)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let facts = crate::facts::gather(&Config::default());
    let failed = enrol(&link, &gone, facts, &mut Identity::generate(), &places_in(dir.path())).await;
    let EnrolError::Link(error) = failed.unwrap_err() else { panic!("nobody answers there") };
    assert!(error.is_passing() && error.in_words().contains("https://127.0.0.1:9"), "{}", error.in_words());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_corrected_by_the_host_and_the_request_goes_through() {
    let host = FakeHost::start();
    let dir = tempfile::tempdir().unwrap();
    let (_, _, link) = host.enrolled(dir.path()).await;
    for hours in [3, -3] {
        host.known().faults.ahead_ms = hours * 3_600_000;
        assert!(link.desired(0, Duration::ZERO).await.unwrap().is_some(), "{hours} hours off");
        let offset = crate::clock::Clock::now(link.clock().as_ref()) - chrono::Utc::now();
        assert!((offset - chrono::Duration::hours(hours)).abs() < chrono::Duration::minutes(1), "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_signed_with_another_key_is_refused() {
    let host = FakeHost::start();
    let dir = tempfile::tempdir().unwrap();
    let (_, identity, _) = host.enrolled(dir.path()).await;
    let machine = identity.enrolled.unwrap().machine;
    let signer = Some(Signer { machine, key: Identity::generate().signing_key() });
    let clock = std::sync::Arc::default();
    let link = HostLink::new(&host.url, Some(host.pin), signer, clock, Duration::from_secs(5)).unwrap();
    let error = link.desired(0, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code(), Some(ProblemCode::SignatureInvalid));
}
