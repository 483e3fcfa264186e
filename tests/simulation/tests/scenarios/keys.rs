//! Scenario 27: a wrong passphrase, a lost slot, a key rotated in the middle of a backup.

use crate::support::{Place, VAULT};
use nightkeep_simulation::{AtEffect, Fault, FaultyStore, copy_of};
use nightkeep_vault::keys::{parse_key_text, recovery_sheet};
use nightkeep_vault::store::{MemoryStore, Store};
use nightkeep_vault::vault::{Vault, VaultError};
use std::sync::Arc;

#[test]
fn scenario_27_a_wrong_passphrase_is_told_and_changes_nothing() {
    let store = MemoryStore::new();
    let place = Place::new(store.clone());
    place.open(store.clone()).add_slot("right", "first").unwrap();
    let objects = |store: &dyn Store| store.list_all("").unwrap();
    let before = objects(&store);
    let error = Vault::unlock(&store, VAULT, "wrong").err().unwrap();
    assert!(matches!(error, VaultError::WrongPassphrase { .. }), "{error:?}");
    assert!(error.to_string().contains("passphrase"), "{error}");
    assert_eq!(objects(&store), before);
    assert!(Vault::unlock(&store, VAULT, "right").unwrap() == place.root);
}

#[test]
fn scenario_27_with_every_slot_lost_or_damaged_the_recovery_sheet_opens_the_vault() {
    let store = MemoryStore::new();
    let place = Place::new(store.clone());
    let sheet = recovery_sheet(VAULT, &place.root, "Customer");
    let vault = place.open(store.clone());
    place.back_up(&vault).unwrap();
    let slot = vault.add_slot("right", "first").unwrap();
    let bytes = store.get_range(&slot.name, 0..1 << 20).unwrap();
    store.delete(&slot.name).unwrap();
    // Damaged: it is passed over, whatever is typed.
    store.put_create(&slot.name, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(Vault::unlock(&store, VAULT, "right"), Err(VaultError::WrongPassphrase { .. })));
    // Lost.
    store.delete(&slot.name).unwrap();
    assert!(Vault::unlock(&store, VAULT, "right").is_err());
    let typed = sheet.to_lowercase().replace('-', " ").replacen("nk1 ", "nk1-", 1);
    let (id, root) = parse_key_text(&typed).unwrap();
    let opened = Arc::new(Vault::open_owner(Arc::new(store), id, root).unwrap());
    place.assert_newest_is_current(&opened, "opened with nothing but the sheet");
}

#[test]
fn scenario_27_a_key_rotated_at_any_effect_of_a_backup_leaves_every_point_readable() {
    let base = MemoryStore::new();
    let place = Place::new(base.clone());
    let counting = FaultyStore::counting(copy_of(&base));
    place.back_up(&place.open(counting.clone())).unwrap();
    for at in 1..=counting.writes() {
        let store = copy_of(&base);
        let rotate = {
            let (store, root) = (store.clone(), place.root.clone());
            move || _ = Vault::open_owner(Arc::new(store.clone()), VAULT, root.clone()).unwrap().rotate().unwrap()
        };
        // It began under the first key pair and goes on under it.
        place.back_up(&place.open(AtEffect::new(store.clone(), at, rotate))).unwrap();
        let vault = place.open(store.clone());
        assert_eq!(vault.sealing_key().0, 2, "rotated at effect {at}");
        place.back_up(&vault).unwrap();
        for point in place.points(&vault) {
            assert_eq!(place.difference(&vault, &point), None, "rotated at effect {at}");
        }
    }
}

#[test]
fn scenario_27_a_rotation_that_was_interrupted_happened_or_did_not() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Full] {
        let store = MemoryStore::new();
        let place = Place::new(store.clone());
        place.back_up(&place.open(store.clone())).unwrap();
        let failing = FaultyStore::failing(store.clone(), 1, fault);
        let _ = Vault::open_owner(Arc::new(failing), VAULT, place.root.clone()).unwrap().rotate();
        let vault = place.open(store);
        assert!([1, 2].contains(&vault.sealing_key().0), "{fault:?}");
        place.back_up(&vault).unwrap();
        place.points(&vault).iter().for_each(|point| assert_eq!(place.difference(&vault, point), None, "{fault:?}"));
    }
}
