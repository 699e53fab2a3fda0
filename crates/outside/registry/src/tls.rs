//! TLS beyond what the machine's own trust says: for one host that has its own authority, wants a certificate of its
//! clients, or cannot be verified at all.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::Digest as _;

/// Options of connections to one host. Debug output shows no key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificate authorities in PEM that are trusted besides the system's.
    pub authorities: String,
    /// What this side shows of itself: a certificate (with its chain) and its private key, both in PEM.
    pub client: Option<ClientCertificate>,
    pub verification: Verification,
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: String,
    pub key: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(…)")
    }
}

/// Whether a server must prove who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    #[default]
    Full,
    /// Anybody may answer: only where somebody asked for it by name.
    Skipped,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &!self.authorities.is_empty())
            .field("client", &self.client)
            .field("verification", &self.verification)
            .finish()
    }
}

impl Tls {
    /// Whether anything differs from what every connection has.
    #[must_use]
    pub fn is_special(&self) -> bool {
        *self != Self::default()
    }

    /// Tells options apart without showing them.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let (certificate, key) = self
            .client
            .as_ref()
            .map_or(("", ""), |client| (client.certificate.as_str(), client.key.as_str()));
        let mut hash = sha2::Sha256::new();
        for part in [self.authorities.as_str(), certificate, key] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update([u8::from(self.verification == Verification::Skipped)]);
        hash.finalize().into()
    }

    /// The rustls configuration with these roots and options.
    pub(crate) fn config(&self, mut roots: RootCertStore) -> Result<rustls::ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions");
        for certificate in CertificateDer::pem_slice_iter(self.authorities.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("certificate authority: {error}"))?;
            roots.add(certificate).map_err(|error| format!("certificate authority: {error}"))?;
        }
        let builder = match self.verification {
            Verification::Full => builder.with_root_certificates(roots),
            Verification::Skipped => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            }
        };
        let Some(client) = &self.client else { return Ok(builder.with_no_client_auth()) };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(client.certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| format!("client certificate: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes())
            .map_err(|_| "client key: it is no private key in PEM".to_owned())?;
        builder.with_client_auth_cert(chain, key).map_err(|error| format!("client certificate: {error}"))
    }
}

/// Takes every server for the one that was meant; signatures are still checked, so that the key is the certificate's.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pem_is_named_and_keys_do_not_show() {
        let client = ClientCertificate { certificate: String::new(), key: "sesame".to_owned() };
        let tls = Tls { client: Some(client), ..Tls::default() };
        assert!(!format!("{tls:?}").contains("sesame"));
        let error = tls.config(RootCertStore::empty()).unwrap_err();
        assert!(error.starts_with("client key") && !error.contains("sesame"), "{error}");
        assert!(tls.is_special() && !Tls::default().is_special());
        assert_ne!(tls.fingerprint(), Tls::default().fingerprint());
    }
}
