//! Whom we believe to be the host: the certificate pinned by the token, or one the platform's verifier accepts.

use std::sync::Arc;

use aws_lc_rs::digest;
use nightkeep_wire::id::SpkiPin;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// The certificate is neither the pinned one nor trusted by the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the host's certificate is not the one the token names (it has the pin {found}, the token names {expected}) and this computer does not trust it either ({platform})"
)]
pub(crate) struct Untrusted {
    found: SpkiPin,
    expected: String,
    platform: String,
}

/// TLS for one host.
pub(crate) fn client_config(pin: Option<SpkiPin>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // A machine without any root certificates can still reach a host that its token pins.
    let platform = match Verifier::new(provider.clone()) {
        Err(_) if pin.is_some() => None,
        other => Some(other?),
    };
    let verifier = PinOrPlatform { pin, platform, provider: provider.clone() };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Digest of the certificate's public key, as tokens name it.
fn pin_of(certificate: &CertificateDer<'_>) -> Result<SpkiPin, Error> {
    let spki = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    let digest = digest::digest(&digest::SHA256, spki.as_ref());
    let bytes = digest.as_ref().try_into().map_err(|_| Error::General("SHA-256 has 32 bytes".to_owned()))?;
    Ok(SpkiPin(bytes))
}

#[derive(Debug)]
struct PinOrPlatform {
    pin: Option<SpkiPin>,
    platform: Option<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl PinOrPlatform {
    fn untrusted(&self, found: SpkiPin, platform: &Error) -> Error {
        let expected = self.pin.map_or_else(|| "none".to_owned(), |pin| pin.to_string());
        let untrusted = Untrusted { found, expected, platform: platform.to_string() };
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
    }
}

impl ServerCertVerifier for PinOrPlatform {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = pin_of(end_entity)?;
        // The key is the one the token names: neither name nor date of the certificate adds anything to that.
        if self.pin == Some(found) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(platform) = &self.platform else {
            return Err(self.untrusted(found, &Error::General("it has no root certificates".to_owned())));
        };
        platform
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| self.untrusted(found, &error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
