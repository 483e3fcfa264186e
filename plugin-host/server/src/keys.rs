//! The host master key: outside the database, sealing every secret in it.
//!
//! Invariant: a sealed secret names what it is for, so that none can be put in another's place.

use std::sync::Arc;

use nightkeep_vault::crypto::{OpenError, Secret, open_once, random, seal_once};

use crate::data::{DataDir, DataError, read_or_create_secret};

const FORM: u8 = 1;
const SALT_BYTES: usize = 32;

/// The key. Cheap to clone, wiped with its last owner.
#[derive(Clone)]
pub(crate) struct MasterKey(Arc<Secret>);

/// The master key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] DataError),
    /// The file holds something else.
    #[error("{path} is not a master key (64 hexadecimal digits): put the right file back from your backup of it")]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
    },
}

impl MasterKey {
    /// Reads the key; the first start makes it.
    pub(crate) fn open(data: &DataDir) -> Result<Self, MasterKeyError> {
        let path = data.master_key();
        let text = read_or_create_secret(&path, || hex::encode(random::<32>()).into_bytes())?;
        let mut key = [0; 32];
        match hex::decode_to_slice(text.trim_ascii(), &mut key) {
            Ok(()) => Ok(Self(Arc::new(Secret::new(key)))),
            Err(_) => Err(MasterKeyError::Malformed { path }),
        }
    }

    /// Seals a secret for one purpose.
    pub(crate) fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let salt = random::<SALT_BYTES>();
        let mut out = vec![FORM];
        out.extend_from_slice(&salt);
        out.extend_from_slice(&seal_once(&self.0.sub("host secret", &salt), purpose.as_bytes(), plain));
        out
    }

    /// Opens what [`MasterKey::seal`] sealed for the same purpose.
    pub(crate) fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (form, rest) = sealed.split_first().ok_or(OpenError)?;
        let (salt, ciphertext) = rest.split_at_checked(SALT_BYTES).ok_or(OpenError)?;
        if *form != FORM {
            return Err(OpenError);
        }
        open_once(&self.0.sub("host secret", salt), purpose.as_bytes(), ciphertext)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot seal has failed")]
    use super::*;

    #[test]
    fn a_secret_opens_for_its_purpose_and_with_the_same_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let sealed = MasterKey::open(&data).unwrap().seal("vault root", b"secret");
        assert_eq!(MasterKey::open(&data).unwrap().unseal("vault root", &sealed).unwrap(), b"secret");
        assert!(MasterKey::open(&data).unwrap().unseal("another", &sealed).is_err());
        let other = DataDir::open(&folder.path().join("other")).unwrap();
        assert!(MasterKey::open(&other).unwrap().unseal("vault root", &sealed).is_err());
    }
}
