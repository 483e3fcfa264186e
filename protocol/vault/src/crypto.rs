//! Sealing, key derivation, signatures: the only place that touches a cipher.
//!
//! **Invariant**: a key is used with one nonce, or with the ordinals of one pack group (FORMAT.md, I4).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that AES-256-GCM adds to what it seals.
pub const TAG_BYTES: usize = 16;
/// Bytes that HPKE adds to what it seals: encapsulated key and tag.
pub const HPKE_OVERHEAD_BYTES: usize = 32 + TAG_BYTES;

/// What was opened is not what was sealed: a wrong key, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("wrong key, or the bytes were changed")]
pub struct OpenError;

/// A 256-bit secret that is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps key bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new random secret.
    pub fn generate() -> Self {
        Self(random())
    }

    /// The key bytes, for a cipher or for sealing under another key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `sub(self, text, salt)` of FORMAT.md.
    pub fn sub(&self, text: &str, salt: &[u8]) -> Secret {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(text.as_bytes()).update(&[0]).update(salt);
        Secret(*hasher.finalize().as_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Random bytes from the operating system.
///
/// Panics when the system has no randomness: nothing can be sealed safely then.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// An AES-256-GCM key, ready for use.
#[derive(Debug)]
pub struct Cipher(LessSafeKey);

impl Cipher {
    /// Prepares a key.
    pub fn new(key: &Secret) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("32 bytes are an AES-256 key")))
    }

    /// Seals `plain` in place and appends the tag.
    pub fn seal(&self, ordinal: u32, aad: &[u8], plain: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(nonce(ordinal), Aad::from(aad), plain)
            .expect("blocks are far below the limit of AES-GCM");
    }

    /// Opens `sealed` in place and returns the plaintext.
    pub fn open<'a>(&self, ordinal: u32, aad: &[u8], sealed: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        self.0.open_in_place(nonce(ordinal), Aad::from(aad), sealed).map_err(|_| OpenError)
    }
}

/// The 96-bit big-endian form of an ordinal.
fn nonce(ordinal: u32) -> Nonce {
    let mut bytes = [0; 12];
    bytes[8..].copy_from_slice(&ordinal.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Seals `plain` under a key that is used this once.
pub fn seal_once(key: &Secret, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + TAG_BYTES);
    out.extend_from_slice(plain);
    Cipher::new(key).seal(0, aad, &mut out);
    out
}

/// Opens what [`seal_once`] sealed.
pub fn open_once(key: &Secret, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut buffer = sealed.to_vec();
    let length = Cipher::new(key).open(0, aad, &mut buffer)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// An X25519 public key that others seal to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealingPublicKey(pub [u8; 32]);

/// An X25519 private key with its public part.
#[derive(Clone)]
pub struct SealingKeyPair {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: SealingPublicKey,
}

impl SealingKeyPair {
    /// RFC 9180 DeriveKeyPair over 32 secret bytes.
    pub fn derive(seed: &Secret) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(seed.expose());
        Self { private, public: SealingPublicKey(public.to_bytes().into()) }
    }

    /// The public part.
    pub fn public(&self) -> SealingPublicKey {
        self.public
    }

    /// Opens `encapsulated key || ciphertext`.
    pub fn open(&self, info: &str, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(32).ok_or(OpenError)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| OpenError)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &encapsulated,
            info.as_bytes(),
            ciphertext,
            aad,
        )
        .map_err(|_| OpenError)
    }
}

impl std::fmt::Debug for SealingKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKeyPair({})", hex::encode(self.public.0))
    }
}

impl SealingPublicKey {
    /// Seals `plain` to this key: `encapsulated key || ciphertext`. Fails when the key is not a point of the curve.
    pub fn seal(&self, info: &str, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, OpenError> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| OpenError)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            info.as_bytes(),
            plain,
            aad,
        )
        .map_err(|_| OpenError)?;
        let mut sealed = encapsulated.to_bytes().to_vec();
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyingKey(pub [u8; 32]);

impl VerifyingKey {
    /// Whether `signature` over `message` was made with this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// An Ed25519 key pair made from its 32-byte seed.
#[derive(Clone)]
pub struct SigningKey {
    seed: Secret,
    public: VerifyingKey,
}

impl SigningKey {
    /// The key pair of `seed`.
    pub fn from_seed(seed: Secret) -> Self {
        let mut public = [0; 32];
        public.copy_from_slice(pair(&seed).public_key().as_ref());
        Self { seed, public: VerifyingKey(public) }
    }

    /// The public part.
    pub fn public(&self) -> VerifyingKey {
        self.public
    }

    /// The seed, for keeping the key under a seal.
    pub fn seed(&self) -> &Secret {
        &self.seed
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(pair(&self.seed).sign(message).as_ref());
        signature
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", hex::encode(self.public.0))
    }
}

fn pair(seed: &Secret) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("32 bytes are an Ed25519 seed")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot seal has failed")]
    use super::*;

    #[test]
    fn a_seal_opens_with_its_key_and_words_only() {
        let key = Secret::generate();
        let sealed = seal_once(&key, b"aad", b"plain");
        assert_eq!(open_once(&key, b"aad", &sealed).unwrap(), b"plain");
        assert_eq!(open_once(&key, b"other", &sealed), Err(OpenError));
        assert_eq!(open_once(&Secret::generate(), b"aad", &sealed), Err(OpenError));
    }

    #[test]
    fn what_is_sealed_to_a_public_key_opens_with_its_private_part_only() {
        let pair = SealingKeyPair::derive(&Secret::generate());
        let sealed = pair.public().seal("info", b"aad", b"plain").unwrap();
        assert_eq!(sealed.len(), 5 + HPKE_OVERHEAD_BYTES);
        assert_eq!(pair.open("info", b"aad", &sealed).unwrap(), b"plain");
        assert!(SealingKeyPair::derive(&Secret::generate()).open("info", b"aad", &sealed).is_err());
    }

    #[test]
    fn a_signature_is_bound_to_key_and_message() {
        let key = SigningKey::from_seed(Secret::generate());
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"massage", &signature));
        assert!(!SigningKey::from_seed(Secret::generate()).public().verifies(b"message", &signature));
    }
}
