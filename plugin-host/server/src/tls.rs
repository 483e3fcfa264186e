//! TLS from the first start: a certificate of the host's own making, or one given by files.
//!
//! Invariant: there is no way to serve without TLS. The self-made key stays for good, because enrolment tokens pin it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use nightkeep_wire::id::SpkiPin;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;

use crate::data::{DataDir, DataError, read_or_create_secret};

/// A certificate and its key as files.
#[derive(Debug, Clone)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// What the host shows to those who connect.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) pin: SpkiPin,
}

/// No certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error(transparent)]
    File(#[from] DataError),
    #[error("failed to read {path}; it must be a PEM file")]
    Read {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("certificate and key cannot be used together")]
    Mismatch(#[source] rustls::Error),
}

/// The given certificate, or the one in the data directory, which the first call makes.
pub(crate) fn load(data: &DataDir, given: Option<&CertificateFiles>, names: &[String]) -> Result<Tls, TlsError> {
    let files = match given {
        Some(files) => files.clone(),
        None => own(data, names)?,
    };
    let read = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Read { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(read(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
    let Some(leaf) = chain.first() else { return Err(TlsError::Empty { path: files.certificate }) };
    let pin = pin_of(leaf).map_err(TlsError::Mismatch)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Tls { config: Arc::new(config), pin })
}

fn pin_of(certificate: &CertificateDer<'_>) -> Result<SpkiPin, rustls::Error> {
    let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, info.as_ref()).as_ref());
    Ok(SpkiPin(pin))
}

/// The host's own certificate. Key first: a certificate without its key would be useless.
fn own(data: &DataDir, names: &[String]) -> Result<CertificateFiles, TlsError> {
    let files = CertificateFiles { certificate: data.certificate(), key: data.certificate_key() };
    let pair = KeyPair::generate().map_err(TlsError::Make)?;
    let pem = read_or_create_secret(&files.key, || pair.serialize_pem().into_bytes())?;
    let pair = KeyPair::from_pem(&String::from_utf8_lossy(&pem)).map_err(TlsError::Make)?;
    let mut params = CertificateParams::new(subject_names(names)).map_err(TlsError::Make)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Nightkeep host");
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2046, 1, 1);
    let certificate = params.self_signed(&pair).map_err(TlsError::Make)?;
    read_or_create_secret(&files.certificate, || certificate.pem().into_bytes())?;
    Ok(files)
}

fn subject_names(given: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let usable = |name: &&String| name.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified()) || is_host_name(name);
    names.extend(given.iter().filter(usable).cloned());
    names.dedup();
    names
}

fn is_host_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(plain) && name.parse::<IpAddr>().is_err()
}
