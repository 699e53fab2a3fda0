//! Certificates by the name that a client asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error("read the certificate chain")]
    Chain(#[source] rustls::pki_types::pem::Error),
    #[error("the certificate chain is empty")]
    Empty,
    #[error("read the private key")]
    Key(#[source] rustls::pki_types::pem::Error),
    #[error("use the private key with the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// Certificates by server name; names are in lower case, and `*.example.com` covers one label.
#[derive(Default, Clone)]
pub struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("names", &self.by_name.len()).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Adds a chain and its key, both PEM, for a name. The first one given for a name stays.
    ///
    /// # Errors
    /// If either does not parse or they do not belong together.
    pub fn add(&mut self, name: &str, chain: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let certified = certified(chain, key)?;
        self.by_name.entry(name.to_ascii_lowercase()).or_insert(certified);
        Ok(())
    }

    /// Sets what is served for names that have no certificate.
    ///
    /// # Errors
    /// If chain and key do not belong together.
    pub fn set_fallback(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), CertificateError> {
        self.fallback = Some(certified_der(chain, key)?);
        Ok(())
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
            self.by_name.get(name).or_else(wildcard)
        });
        named.or(self.fallback.as_ref()).cloned()
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, CertificateError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(CertificateError::Chain)?;
    if chain.is_empty() {
        return Err(CertificateError::Empty);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::Key)?;
    certified_der(chain, key)
}

fn certified_der(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(CertificateError::Mismatch)
}

/// Resolves names by whatever certificates are current.
#[derive(Debug)]
pub(crate) struct Current(pub(crate) Arc<ArcSwap<Certificates>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().find(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn exact_names_then_wildcards_then_the_fallback() {
        let mut certificates = Certificates::default();
        assert!(certificates.find(Some("a.b")).is_none());
        for name in ["api.checkmate", "*.codedang.com"] {
            let (chain, key) = pair(name);
            certificates.add(name, chain.as_bytes(), key.as_bytes()).unwrap();
        }
        let made = rcgen::generate_simple_self_signed(["fallback".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        certificates.set_fallback(vec![made.cert.der().clone()], key).unwrap();
        let same = |left: Option<&str>, right: &str| {
            Arc::ptr_eq(&certificates.find(left).unwrap(), &certificates.by_name[right])
        };
        assert!(same(Some("api.checkmate"), "api.checkmate"));
        assert!(same(Some("7.codedang.com"), "*.codedang.com"));
        for other in [Some("codedang.com"), Some("a.b.codedang.com"), None] {
            assert!(Arc::ptr_eq(&certificates.find(other).unwrap(), certificates.fallback.as_ref().unwrap()));
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (chain, _) = pair("a");
        let (_, key) = pair("b");
        let error = Certificates::default().add("a", chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(error, CertificateError::Mismatch(_)), "{error}");
        let empty = Certificates::default().add("a", b"", key.as_bytes()).unwrap_err();
        assert!(matches!(empty, CertificateError::Empty), "{empty}");
    }
}
