//! Plaintext on its way through the seal: what is changed is what stands behind cipher and signature, as a writer with
//! all keys could write it.

use nightkeep_vault::crypto::{Secret, SigningKey};
use nightkeep_vault::id::{MachineId, VaultId};
use nightkeep_vault::keys::{CustomerRoot, MachineKeys, VaultKeys};
use nightkeep_vault::object::{Binding, Draft, Kind, Object};
use nightkeep_vault::store::ObjectName;
use std::sync::LazyLock;

/// The vault of all inputs.
pub(super) const VAULT: VaultId = VaultId([7; 16]);

/// The keys of all inputs.
pub(super) struct Keys {
    pub(super) root: CustomerRoot,
    pub(super) vault: VaultKeys,
    pub(super) maintenance: SigningKey,
    pub(super) machine: MachineKeys,
}

/// The same in every run.
pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let root = CustomerRoot::from_bytes([5; 32]);
    Keys {
        vault: root.vault_keys(VAULT),
        maintenance: root.maintenance(VAULT),
        machine: root.machine(VAULT, "machine"),
        root,
    }
});

/// A machine id that is easy to see in a dump.
pub(super) const MACHINE: MachineId = MachineId([1; 16]);

/// An input of two parts: `u16 length of the first`, first, second.
pub(super) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_at_checked(2).unwrap_or((&[0, 0], &[]));
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    rest.split_at(length.min(rest.len()))
}

/// The opposite of [`split`].
pub(super) fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u16::try_from(first.len()).unwrap_or(u16::MAX);
    [&length.to_le_bytes(), first, second].concat()
}

/// An object with this header and body.
pub(super) fn seal(kind: Kind, name: &ObjectName, header: &[u8], body: Option<(&[u8], &Secret)>) -> Vec<u8> {
    let keys = &*KEYS;
    let signer = match kind {
        Kind::Session | Kind::Partial | Kind::Segment | Kind::Point => &keys.machine.signing,
        Kind::Config
        | Kind::KeySlot
        | Kind::Machine
        | Kind::Epoch
        | Kind::Retention
        | Kind::Generation
        | Kind::Fence
        | Kind::Decision
        | Kind::Quarantine => &keys.maintenance,
    };
    let draft = Draft {
        open: Vec::new(),
        header: Some((header.to_vec(), &keys.vault.index)),
        body: body.map(|(body, key)| (body.to_vec(), key)),
        signer: Some(signer),
    };
    draft.seal(kind, Binding { vault: VAULT, name })
}

/// The plaintext of an object that a writer made: header, and body where it has one.
pub(super) fn plain(kind: Kind, name: &ObjectName, bytes: &[u8], body: Option<&Secret>) -> (Vec<u8>, Vec<u8>) {
    let binding = Binding { vault: VAULT, name };
    let Ok(object) = Object::parse(bytes, kind) else { return Default::default() };
    let header = object.open_header(binding, &KEYS.vault.index).unwrap_or_default();
    (header, body.and_then(|key| object.open_body(binding, key).ok()).unwrap_or_default())
}
