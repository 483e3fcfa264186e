//! The customer root and what it gives: vault keys, key pairs, the keys of machines without a host, the key text.
//!
//! **Invariant**: everything here follows from the root and the vault's id, so a recovery sheet opens a vault whose
//! every other key object is lost.

use crate::crypto::{SealingKeyPair, Secret, SigningKey};
use crate::id::{MachineId, VaultId};
use zeroize::Zeroize;

/// The secret from which a vault's owner derives every key.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerRoot(Secret);

/// What every machine of a vault holds: it can name, cut and index, but open no data.
#[derive(Clone, Debug)]
pub struct VaultKeys {
    /// `K_id`: names chunks.
    pub id: Secret,
    /// `K_chunk`: decides where files are cut.
    pub chunk: Secret,
    /// `K_index`: footers, index segments, references, headers of recovery points.
    pub index: Secret,
}

/// A machine as a writer: who it is, and the keys only it holds.
#[derive(Clone, Debug)]
pub struct MachineKeys {
    /// The machine's id in this vault.
    pub id: MachineId,
    /// The name shown to people.
    pub name: String,
    /// Signs recovery points and segments.
    pub signing: SigningKey,
    /// `K_meta`: the machine's own catalogues.
    pub meta: Secret,
}

impl CustomerRoot {
    /// A new random root.
    pub fn generate() -> Self {
        Self(Secret::generate())
    }

    /// A root from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The root's bytes, to be sealed under another key.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The keys every machine of the vault holds.
    pub fn vault_keys(&self, vault: VaultId) -> VaultKeys {
        VaultKeys {
            id: self.derive(vault, "id key", &[]),
            chunk: self.derive(vault, "chunk key", &[]),
            index: self.derive(vault, "index key", &[]),
        }
    }

    /// Signs configuration, generations, decisions, machine and retention records.
    pub fn maintenance(&self, vault: VaultId) -> SigningKey {
        SigningKey::from_seed(self.derive(vault, "maintenance key", &[]))
    }

    /// The vault's key pair of an epoch; the first is 1.
    pub fn key_pair(&self, vault: VaultId, epoch: u32) -> SealingKeyPair {
        SealingKeyPair::derive(&self.derive(vault, "vault key pair", &epoch.to_le_bytes()))
    }

    /// The keys of a machine that no host enrolled; its id follows from its name.
    pub fn machine(&self, vault: VaultId, name: &str) -> MachineKeys {
        let id = machine_id_of_name(&self.vault_keys(vault), name);
        MachineKeys {
            id,
            name: name.to_owned(),
            signing: SigningKey::from_seed(self.derive(vault, "machine signing key", id.as_bytes())),
            meta: self.machine_meta(vault, id),
        }
    }

    /// `K_meta` of a machine that no host enrolled.
    pub fn machine_meta(&self, vault: VaultId, machine: MachineId) -> Secret {
        self.derive(vault, "machine meta key", machine.as_bytes())
    }

    fn derive(&self, vault: VaultId, purpose: &str, extra: &[u8]) -> Secret {
        let mut material = Vec::with_capacity(64);
        material.extend_from_slice(self.0.expose());
        material.extend_from_slice(vault.as_bytes());
        material.extend_from_slice(extra);
        let key = blake3::derive_key(&format!("nightkeep vault format 1 {purpose}"), &material);
        material.zeroize();
        Secret::new(key)
    }
}

impl std::fmt::Debug for CustomerRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerRoot(..)")
    }
}

/// The id of a machine that no host enrolled.
pub fn machine_id_of_name(keys: &VaultKeys, name: &str) -> MachineId {
    let hash = keys.id.sub("machine name", name.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.expose()[..16]);
    MachineId(id)
}

/// A key text that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// No `NK1-` in the text.
    #[error("no key found: a recovery sheet or key file has a line that begins with NK1-")]
    NotFound,
    /// Too few characters behind `NK1-`, or one that is no part of the alphabet.
    #[error("the key is incomplete or has a wrong character after {good} good ones; compare it with the sheet")]
    Malformed {
        /// How many characters were read.
        good: usize,
    },
    /// The checksum differs: a character was mistyped.
    #[error("the key's checksum does not match: at least one character is mistyped")]
    Checksum,
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const KEY_BYTES: usize = 1 + 16 + 32 + 4;
const KEY_CHARACTERS: usize = (KEY_BYTES * 8).div_ceil(5);

/// The key text of a vault: what a recovery sheet and a key file carry.
pub fn key_text(vault: VaultId, root: &CustomerRoot) -> String {
    let mut bytes = vec![1];
    bytes.extend_from_slice(vault.as_bytes());
    bytes.extend_from_slice(root.expose());
    bytes.extend_from_slice(&blake3::hash(&bytes).as_bytes()[..4]);
    let mut text = String::from("NK1");
    for (n, character) in base32(&bytes).into_iter().enumerate() {
        if n % 4 == 0 {
            text.push('-');
        }
        text.push(character);
    }
    bytes.zeroize();
    text
}

/// Finds and reads the key text in a recovery sheet or key file. Line breaks, spaces and dashes do not matter.
pub fn parse_key_text(sheet: &str) -> Result<(VaultId, CustomerRoot), KeyTextError> {
    // Typed back from paper it comes in either case.
    let start = sheet.to_ascii_lowercase().find("nk1-").ok_or(KeyTextError::NotFound)?;
    let mut values = Vec::with_capacity(KEY_CHARACTERS);
    let separators = |c: &char| !(c.is_whitespace() || *c == '-');
    for character in sheet[start + 4..].chars().filter(separators).take(KEY_CHARACTERS) {
        let value = base32_value(character).ok_or(KeyTextError::Malformed { good: values.len() })?;
        values.push(value);
    }
    if values.len() < KEY_CHARACTERS {
        return Err(KeyTextError::Malformed { good: values.len() });
    }
    let mut bytes = from_base32(&values);
    bytes.truncate(KEY_BYTES);
    let (content, checksum) = bytes.split_at(KEY_BYTES - 4);
    if content[0] != 1 || &blake3::hash(content).as_bytes()[..4] != checksum {
        return Err(KeyTextError::Checksum);
    }
    let mut vault = [0; 16];
    vault.copy_from_slice(&content[1..17]);
    let mut root = [0; 32];
    root.copy_from_slice(&content[17..49]);
    bytes.zeroize();
    Ok((VaultId(vault), CustomerRoot::from_bytes(root)))
}

/// A recovery sheet to print: what it is, and the key.
pub fn recovery_sheet(vault: VaultId, root: &CustomerRoot, title: &str) -> String {
    let key = key_text(vault, root);
    let groups: Vec<&str> = key.split('-').collect();
    let lines: Vec<String> = groups[1..].chunks(8).map(|line| line.join("-")).collect();
    format!(
        "NIGHTKEEP RECOVERY SHEET\n{title}\nVault {vault}\n\n\
         Whoever holds this key reads every backup of this vault. Keep it on paper, locked away, apart from the\n\
         machines it protects. Without it and without the passphrase nobody can restore, also not the vendor.\n\n\
         Restore:  nightkeep-agent restore --vault LOCATION --key-file THIS-SHEET --machine NAME --target DIR latest\n\n\
         NK1-{}\n",
        lines.join("-\n    ")
    )
}

fn base32(bytes: &[u8]) -> Vec<char> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for &byte in bytes {
        bits = bits << 8 | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
    }
    out
}

fn base32_value(character: char) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    ALPHABET.iter().position(|&c| char::from(c) == upper).map(|n| n as u8)
}

fn from_base32(values: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for &value in values {
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_recovery_sheet_gives_back_vault_and_root_also_when_typed_by_hand() {
        let (vault, root) = (VaultId([7; 16]), CustomerRoot::generate());
        let sheet = recovery_sheet(vault, &root, "Customer");
        assert_eq!(parse_key_text(&sheet).unwrap(), (vault, root.clone()));
        let typed =
            key_text(vault, &root).to_lowercase().replace("nk1-", "NK1-").replace('1', "l").replacen("NKl", "NK1", 1);
        let spaced = typed.replace('-', " ").replacen("NK1 ", "NK1-", 1);
        assert_eq!(parse_key_text(&spaced).unwrap(), (vault, root.clone()));
        assert_eq!(parse_key_text(&key_text(vault, &root).to_lowercase()).unwrap(), (vault, root));
    }

    #[test]
    fn a_mistyped_character_is_noticed() {
        let text = key_text(VaultId([7; 16]), &CustomerRoot::generate());
        let mut typed = text.into_bytes();
        typed[10] = if typed[10] == b'A' { b'B' } else { b'A' };
        assert_eq!(parse_key_text(&String::from_utf8(typed).unwrap()), Err(KeyTextError::Checksum));
        assert_eq!(parse_key_text("NK1-ABCD"), Err(KeyTextError::Malformed { good: 4 }));
        assert_eq!(parse_key_text("nothing"), Err(KeyTextError::NotFound));
    }

    #[test]
    fn vaults_and_machines_share_no_key() {
        let root = CustomerRoot::generate();
        let (one, two) = (VaultId([1; 16]), VaultId([2; 16]));
        assert_ne!(root.vault_keys(one).id, root.vault_keys(two).id);
        assert_ne!(root.machine(one, "a").meta, root.machine(one, "b").meta);
        assert_ne!(root.key_pair(one, 1).public(), root.key_pair(one, 2).public());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse_key_text(&text);
            let _ = parse_key_text(&format!("NK1-{text}"));
        }
    }
}
