//! The cluster's own certificate authority, its certificates, and the key that signs service-account tokens.
//!
//! Keys are ECDSA P-256. The authority and the token key are kept in files of mode 0600, so that clients stay
//! valid over a restart; the server's and the administrator's certificates are made anew each time. No private key
//! leaves this module except in the server's TLS configuration and in the administrator's kubeconfig.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use sha2::{Digest, Sha256};

use crate::tokens;
use crate::user::User;

const AUTHORITY_YEARS: i32 = 10;
const LEAF_YEARS: i32 = 1;

/// Why the certificates could not be made or read. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{attempt} {path}")]
    File {
        attempt: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{attempt}")]
    Certificate {
        attempt: &'static str,
        #[source]
        source: rcgen::Error,
    },
    #[error("configure TLS")]
    Tls {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("read the service-account key")]
    TokenKey {
        #[source]
        source: tokens::KeyError,
    },
}

fn certificate(attempt: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |source| Error::Certificate { attempt, source }
}

/// The authority and the token key.
#[derive(Debug)]
pub struct Pki {
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
    authority_der: CertificateDer<'static>,
    token_key: Arc<tokens::Key>,
}

impl Pki {
    /// Loads the authority from `directory`, making directory (0700) and authority if they are not there.
    ///
    /// # Errors
    /// If a file cannot be read, written or understood.
    pub fn open(directory: &Path) -> Result<Pki, Error> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| Error::File { attempt: "create", path: directory.to_owned(), source })?;
        let key_pem = load_or_create(&directory.join("ca.key"), new_key)?;
        let key = read_key(&key_pem)?;
        let pem = load_or_create(&directory.join("ca.crt"), || authority_certificate(&key))?;
        let token_pem = load_or_create(&directory.join("sa.key"), new_key)?;
        Pki::from_parts(key, pem, &token_pem)
    }

    /// An authority that is nowhere on disk, for tests.
    ///
    /// # Errors
    /// If the keys cannot be made.
    pub fn ephemeral() -> Result<Pki, Error> {
        let key = read_key(&new_key()?)?;
        let pem = authority_certificate(&key)?;
        Pki::from_parts(key, pem, &new_key()?)
    }

    fn from_parts(key: KeyPair, authority_pem: String, token_pem: &str) -> Result<Pki, Error> {
        let attempt = "read the authority's certificate";
        let token_key = read_key(token_pem)?;
        let token_key = tokens::Key::from_pkcs8(&token_key.serialize_der())
            .map_err(|source| Error::TokenKey { source })?;
        let (_, block) = x509_parser::pem::parse_x509_pem(authority_pem.as_bytes())
            .map_err(|_| certificate(attempt)(rcgen::Error::CouldNotParseCertificate))?;
        let authority_der = CertificateDer::from(block.contents);
        let authority = Issuer::from_ca_cert_der(&authority_der, key).map_err(certificate(attempt))?;
        Ok(Pki { authority, authority_pem, authority_der, token_key: Arc::new(token_key) })
    }

    /// The authority's certificate, PEM: what clients and Pods trust.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The key that signs service-account tokens.
    #[must_use]
    pub fn token_key(&self) -> Arc<tokens::Key> {
        self.token_key.clone()
    }

    /// TLS for the server: a certificate for `names` (DNS names and addresses), client certificates of this
    /// authority asked for but not required, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// If a name is no DNS name.
    pub fn server_config(&self, names: &[String]) -> Result<Arc<rustls::ServerConfig>, Error> {
        let (chain, key) = self.server_certificate(names)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority_der.clone()).map_err(tls)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(tls)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A server certificate of this authority for `names`, for another listener of the same process.
    ///
    /// # Errors
    /// If a name is no DNS name.
    pub fn server_certificate(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let attempt = "make the server's certificate";
        let mut params = CertificateParams::new(names).map_err(certificate(attempt))?;
        params.distinguished_name = distinguished("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (der, _, key) = self.leaf(params, attempt)?;
        Ok((vec![der, self.authority_der.clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// A client certificate and its key, PEM: common name is the user, organization is the group.
    ///
    /// # Errors
    /// If the certificate cannot be signed.
    pub fn client_certificate(&self, user: &str, group: &str) -> Result<(String, String), Error> {
        let attempt = "make a client certificate";
        let mut params = CertificateParams::new(Vec::new()).map_err(certificate(attempt))?;
        params.distinguished_name = distinguished(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (_, pem, key) = self.leaf(params, attempt)?;
        Ok((pem, key.serialize_pem()))
    }

    /// A kubeconfig for the administrator (group `system:masters`) of the server at `url`.
    ///
    /// # Errors
    /// If the certificate cannot be signed.
    pub fn admin_kubeconfig(&self, url: &str) -> Result<String, Error> {
        let (certificate, key) = self.client_certificate("kubernetes-admin", crate::user::MASTERS)?;
        Ok(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: mainstay\n  cluster:\n    server: {url}\n    \
             certificate-authority-data: {}\nusers:\n- name: mainstay-admin\n  user:\n    \
             client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: mainstay\n  context:\n    \
             cluster: mainstay\n    user: mainstay-admin\ncurrent-context: mainstay\n",
            STANDARD.encode(&self.authority_pem),
            STANDARD.encode(certificate),
            STANDARD.encode(key),
        ))
    }

    fn leaf(
        &self,
        mut params: CertificateParams,
        attempt: &'static str,
    ) -> Result<(CertificateDer<'static>, String, KeyPair), Error> {
        valid_for(&mut params, LEAF_YEARS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(certificate(attempt))?;
        let signed = params.signed_by(&key, &self.authority).map_err(certificate(attempt))?;
        Ok((signed.der().clone(), signed.pem(), key))
    }
}

fn tls(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Tls { source: Box::new(source) }
}

fn distinguished(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common);
    name
}

/// Valid from yesterday, so that a clock somewhat behind does not refuse it.
fn valid_for(params: &mut CertificateParams, years: i32) {
    let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let start = today.saturating_sub(1.day());
    let end = today.saturating_add(years.years());
    let at = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = at(start);
    params.not_after = at(end);
}

fn authority_certificate(key: &KeyPair) -> Result<String, Error> {
    let attempt = "make the authority's certificate";
    let mut params = CertificateParams::new(Vec::new()).map_err(certificate(attempt))?;
    params.distinguished_name = distinguished("mainstay-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid_for(&mut params, AUTHORITY_YEARS);
    Ok(params.self_signed(key).map_err(certificate(attempt))?.pem())
}

fn new_key() -> Result<String, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(certificate("make a key"))?;
    Ok(key.serialize_pem())
}

fn read_key(pem: &str) -> Result<KeyPair, Error> {
    KeyPair::from_pem(pem).map_err(certificate("read a key"))
}

/// The file's text, or what `make` gives after it was written and synced under its final name.
fn load_or_create(path: &Path, make: impl FnOnce() -> Result<String, Error>) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => return Err(Error::File { attempt: "read", path: path.to_owned(), source }),
    }
    let text = make()?;
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        // The name is durable only when its directory is.
        path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
    };
    write().map_err(|source| Error::File { attempt: "write", path: path.to_owned(), source })?;
    Ok(text)
}

/// User and groups of a verified client certificate: common name and organizations.
pub(crate) fn identity(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned);
    let mut user = User::new(name, groups);
    let sum: String = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra
        .insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={sum}")]);
    Some(user)
}

/// The names the server's certificate needs besides those of its listeners: how Pods address it.
#[must_use]
pub fn cluster_names(cluster_domain: &str, service_address: IpAddr) -> Vec<String> {
    vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        format!("kubernetes.default.svc.{cluster_domain}"),
        service_address.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_keeps_its_authority_and_its_files_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pki");
        let first = Pki::open(&path).unwrap();
        let second = Pki::open(&path).unwrap();
        assert_eq!(first.authority_pem(), second.authority_pem());
        assert_eq!(first.token_key().id(), second.token_key().id());
        for name in ["ca.key", "ca.crt", "sa.key"] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_client_certificate_names_user_and_group() {
        let pki = Pki::ephemeral().unwrap();
        let (pem, _) = pki.client_certificate("jane", "devs").unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let identity = identity(&CertificateDer::from(block.contents)).unwrap();
        assert_eq!((&*identity.name, &*identity.groups[0]), ("jane", "devs"));
    }

    #[test]
    fn a_server_configuration_takes_names_and_addresses() {
        let pki = Pki::ephemeral().unwrap();
        let names = cluster_names("cluster.local", "10.96.0.1".parse().unwrap());
        pki.server_config(&names).unwrap();
    }
}
