//! Scenario 28: a vault, or a point in it, carries a mandatory mark of a later version.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its vault has failed")]

use nightkeep_vault::codec::{Time, Writer};
use nightkeep_vault::id::{BlobId, SessionId, VaultId};
use nightkeep_vault::keys::CustomerRoot;
use nightkeep_vault::object::{Binding, Draft, Kind, OBJECT_BYTES_MAX, Object};
use nightkeep_vault::record::config::{Config, Custody};
use nightkeep_vault::record::point::{BackupSet, CivilTime, PointBody, PointHeader, Totals};
use nightkeep_vault::session::Session;
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::{Vault, VaultError};
use std::error::Error;
use std::sync::Arc;

const VAULT: VaultId = VaultId([9; 16]);
/// A feature that no version knows.
const UNKNOWN: u64 = 4242;

fn vault(store: &MemoryStore, root: &CustomerRoot) -> Vault {
    Vault::create(Arc::new(store.clone()), root.clone(), VAULT, Custody::Owner, Time::default()).unwrap()
}

/// The text of an error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Fields of an object with one of them replaced.
fn with_field(fields: &[u8], tag: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    nightkeep_vault::codec::Reader::new(fields, "fields of the test")
        .fields(|found, bytes| {
            let rest = bytes.take(bytes.rest().len())?;
            out.field(found, |w| {
                w.raw(if found == tag { value } else { rest });
            });
            Ok(true)
        })
        .unwrap();
    out.finish()
}

/// A list with the one unknown feature.
fn unknown_features() -> Vec<u8> {
    let mut out = Writer::new();
    out.list(&[UNKNOWN], |w, feature| {
        w.varint(*feature);
    });
    out.finish()
}

#[test]
fn scenario_28_a_vault_with_a_mandatory_feature_of_a_later_version_is_refused_and_the_feature_named() {
    let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
    vault(&store, &root);
    let name = Config::name();
    let bytes = store.get_range(&name, 0..OBJECT_BYTES_MAX).unwrap();
    let open = with_field(Object::parse(&bytes, Kind::Config).unwrap().open, 6, &unknown_features());
    let maintenance = root.maintenance(VAULT);
    let draft = Draft { open, signer: Some(&maintenance), ..Draft::default() };
    store.delete(&name).unwrap();
    store.put_create(&name, &draft.seal(Kind::Config, Binding { vault: VAULT, name: &name })).unwrap();

    let Err(refused) = Vault::open_owner(Arc::new(store.clone()), VAULT, root.clone()) else {
        panic!("a vault of a later version was opened")
    };
    let text = chain(&refused);
    assert!(text.contains(&UNKNOWN.to_string()) && text.contains("configuration"), "{text}");
}

fn header(session: &Session) -> PointHeader {
    PointHeader {
        machine: session.machine().id,
        sequence: 0,
        previous: [0; 32],
        session: SessionId([0; 16]),
        base: 0,
        plan: None,
        plan_name: String::new(),
        set: BackupSet::None,
        occurrence: None,
        started: CivilTime::default(),
        finished: CivilTime::default(),
        totals: Totals::default(),
        references: BlobId([0; 32]),
        meta_packs: Vec::new(),
        machine_name: "machine".into(),
        agent_version: String::new(),
        bootable: false,
        snapshot_method: String::new(),
        meta_epoch: 1,
        complete: true,
        source: [1; 16],
    }
}

#[test]
fn scenario_28_a_point_with_a_mandatory_feature_of_a_later_version_is_told_and_the_others_are_listed() {
    let (store, root) = (MemoryStore::new(), CustomerRoot::generate());
    let vault = Arc::new(vault(&store, &root));
    let machine = vault.writer("machine").unwrap();
    for _ in 0..2 {
        let session = Session::open(vault.clone(), machine.clone(), Time::default()).unwrap();
        session.commit(header(&session), &PointBody::default(), Time::default()).unwrap();
    }
    // The later version seals the second point's header with a feature in it.
    let points = vault.points(machine.id).unwrap();
    let name = points.points[1].point.name().clone();
    let bytes = store.get_range(&name, 0..OBJECT_BYTES_MAX).unwrap();
    let (object, binding) = (Object::parse(&bytes, Kind::Point).unwrap(), Binding { vault: VAULT, name: &name });
    let plain = object.open_header(binding, &vault.keys().index).unwrap();
    let draft = Draft {
        header: Some((with_field(&plain, 36, &unknown_features()), &vault.keys().index)),
        body: Some((object.open_body(binding, &machine.meta).unwrap(), &machine.meta)),
        signer: Some(&machine.signing),
        ..Draft::default()
    };
    store.delete(&name).unwrap();
    store.put_create(&name, &draft.seal(Kind::Point, binding)).unwrap();

    // A fresh look, as nothing may be remembered of the old bytes.
    let vault = Vault::open_owner(Arc::new(store.clone()), VAULT, root).unwrap();
    let points = vault.points(machine.id).unwrap();
    assert_eq!(points.points.len(), 1, "the other point is listed");
    let [problem] = points.problems.as_slice() else { panic!("{:?}", points.problems) };
    assert_eq!(problem.name, name);
    assert!(matches!(problem.error, VaultError::Object { .. }));
    let text = chain(&problem.error);
    assert!(text.contains(&UNKNOWN.to_string()), "{text}");
}
