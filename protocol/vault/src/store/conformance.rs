//! The suite every store must pass; see the contract in [`super`].

use super::{ObjectName, Put, Store};
use std::sync::Barrier;

/// Runs the whole suite against an empty store. Panics at the first broken promise.
pub fn run(store: &dyn Store) {
    creates_and_never_overwrites(store);
    reads_ranges(store);
    lists_in_byte_order_by_pages(store);
    one_of_many_creates(store);
    deletes_quietly(store);
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("the suite's names are valid")
}

fn put(store: &dyn Store, at: &str, bytes: &[u8]) -> Put {
    store.put_create(&name(at), bytes).expect("a put succeeds")
}

fn creates_and_never_overwrites(store: &dyn Store) {
    assert_eq!(store.head(&name("t/a")).expect("head"), None, "nothing is there before");
    assert_eq!(put(store, "t/a", b"first"), Put::Created);
    assert_eq!(put(store, "t/a", b"second"), Put::Exists);
    assert_eq!(store.get(&name("t/a"), 100).expect("get"), b"first");
    assert_eq!(store.head(&name("t/a")).expect("head"), Some(5));
    assert!(store.get(&name("t/a"), 4).is_err(), "an object longer than its bound is refused");
    assert!(store.get(&name("t/none"), 100).is_err());
}

fn reads_ranges(store: &dyn Store) {
    put(store, "t/range", b"0123456789");
    let range = |from, to| store.get_range(&name("t/range"), from..to).expect("a range");
    assert_eq!(range(2, 5), b"234");
    assert_eq!(range(8, 50), b"89");
    assert_eq!(range(50, 60), b"");
}

fn lists_in_byte_order_by_pages(store: &dyn Store) {
    for at in ["l/b/2", "l/a", "l/b-1", "l/b/1", "l/b.x", "l/c", "lx"] {
        put(store, at, b"x");
    }
    let names = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let listed = store.list(prefix, after.map(name).as_ref(), limit).expect("a listing");
        listed.into_iter().map(|info| info.name.to_string()).collect()
    };
    assert_eq!(names("l/", None, 100), ["l/a", "l/b-1", "l/b.x", "l/b/1", "l/b/2", "l/c"]);
    assert_eq!(names("l/b", None, 2), ["l/b-1", "l/b.x"]);
    assert_eq!(names("l/b", Some("l/b.x"), 2), ["l/b/1", "l/b/2"]);
    assert_eq!(names("l/", Some("l/b/1"), 100), ["l/b/2", "l/c"]);
    assert_eq!(names("none/", None, 100), Vec::<String>::new());
    assert_eq!(store.list_all("l").expect("a listing").len(), 7);
}

fn one_of_many_creates(store: &dyn Store) {
    for round in 0..20 {
        let at = name(&format!("race/{round}"));
        let start = Barrier::new(8);
        let created = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8u8)
                .map(|n| {
                    let (at, start) = (&at, &start);
                    scope.spawn(move || {
                        start.wait();
                        store.put_create(at, &[n; 100]).expect("a put succeeds") == Put::Created
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("a racer ends")).filter(|created| *created).count()
        });
        assert_eq!(created, 1, "exactly one put creates {at}");
    }
}

fn deletes_quietly(store: &dyn Store) {
    put(store, "t/gone", b"x");
    store.delete(&name("t/gone")).expect("a delete succeeds");
    store.delete(&name("t/gone")).expect("a second delete is no error");
    assert_eq!(store.head(&name("t/gone")).expect("head"), None);
    assert_eq!(put(store, "t/gone", b"again"), Put::Created);
}
