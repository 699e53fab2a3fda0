//! What templates may ask of the world outside.

use crate::value::{Map, Value};

/// The world outside an execution. The default answers know nothing: no cluster, a clock that stands at the epoch,
/// and no randomness.
///
/// ```
/// use gotmpl::{Environment, Functions, Limits, Machine, Templates, Value};
///
/// struct Cluster;
///
/// impl Environment for Cluster {
///     fn lookup(&self, _: &str, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
///         Ok([("kind", Value::from(kind)), ("name", format!("{namespace}/{name}").into())].into_iter().collect())
///     }
/// }
///
/// let mut templates = Templates::new(Functions::helm());
/// templates.parse("found", "{{ (lookup \"v1\" \"Secret\" \"shop\" \"key\").name }}").unwrap();
/// let mut machine = Machine::new(&templates, &Cluster, Limits::default());
/// assert_eq!(machine.execute("found", &Value::Nil).unwrap(), "shop/key");
/// ```
pub trait Environment {
    /// The current time.
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    /// Fills the buffer with bytes nobody can foresee.
    ///
    /// # Errors
    /// If there is no source of them; the text says why.
    fn random(&self, buffer: &mut [u8]) -> Result<(), String> {
        let _ = buffer;
        Err("no source of randomness is set".to_owned())
    }

    /// Helm's `lookup`: an object of the cluster, or a list where the name is empty; an empty map where there is
    /// nothing.
    ///
    /// # Errors
    /// If the cluster could not be asked.
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
        let _ = (api_version, kind, namespace, name);
        Ok(Value::Map(Map::default()))
    }

    /// Certificates and keys, which need more than this crate has.
    ///
    /// # Errors
    /// If they could not be made.
    fn certificates(&self) -> Option<&dyn Certificates> {
        None
    }
}

/// Who makes keys and certificates for `genCA` and its kin. All texts are PEM.
pub trait Certificates {
    /// A new private key: `rsa` (4096 bits), `ecdsa` (P-256) or `ed25519`.
    ///
    /// # Errors
    /// If the kind is not known or making one failed.
    fn private_key(&self, kind: &str) -> Result<String, String>;

    /// A certificate and its key.
    ///
    /// # Errors
    /// If a PEM text could not be read or signing failed.
    fn certificate(&self, request: &CertificateRequest) -> Result<(String, String), String>;

    /// A bcrypt hash at Go's default cost.
    ///
    /// # Errors
    /// If the password is longer than 72 bytes.
    fn bcrypt(&self, password: &[u8]) -> Result<String, String>;
}

/// What a certificate shall say.
#[derive(Debug, Clone, Default)]
pub struct CertificateRequest {
    pub common_name: String,
    pub ips: Vec<std::net::IpAddr>,
    pub dns_names: Vec<String>,
    pub days: i64,
    pub is_ca: bool,
    /// The key to use; a new RSA key of 2048 bits if there is none.
    pub key: Option<String>,
    /// Certificate and key of the signer; it signs itself if there is none.
    pub signer: Option<(String, String)>,
}

/// An environment that knows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

impl Environment for Offline {}
