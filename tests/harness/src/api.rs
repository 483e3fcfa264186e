//! The admin API over HTTPS, trusting exactly the certificate whose key the enrolment token pins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;

/// A signed-in technician.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    /// A client of the host at `base` (`https://HOST:PORT`), pinned to the hex SHA-256 of its certificate's public key;
    /// without a pin any certificate will do, as for a person who clicks the warning away.
    pub fn new(base: &str, pin: Option<&str>) -> Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pin = pin.map(hex::decode).transpose().context("the pin is not hex")?;
        let verifier = Arc::new(Pinned { pin, provider: Arc::clone(&provider) });
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .cookie_store(true)
            .timeout(Duration::from_secs(90))
            .build()?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// The host's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and answers status and body; a body that is not JSON comes as a string.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await
    }

    /// A request to be filled in and given to [`answer`]; `path` may be a whole address.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.client.request(method, address)
    }

    /// GET that must succeed.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.expect(Method::GET, path, None).await
    }

    /// POST that must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.expect(Method::POST, path, Some(body)).await
    }

    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, answer) = self.send(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path} answered {status}: {answer}");
        }
        Ok(answer)
    }
}

/// Chooses the cryptography of this process for libraries that cannot be told; a second call changes nothing.
pub fn choose_cryptography() {
    // Fails only when it was chosen before.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// Sends the request and answers status and body; a body that is not JSON comes as a string.
pub async fn answer(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await.context("a request got no answer")?;
    let status = response.status();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

/// Accepts a certificate by its public key alone.
#[derive(Debug)]
struct Pinned {
    pin: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let found = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, key.as_ref());
        match &self.pin {
            Some(pin) if found.as_ref() != pin => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
