//! From a kubeconfig to a client, as `kubectl` reads one, and from a Pod's service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A cluster that a kubeconfig leads to.
#[derive(Clone)]
pub struct Connection {
    pub client: Client,
    /// The name of the context.
    pub context: String,
    /// The name of the user in the kubeconfig; empty where it names none.
    pub user: String,
    /// `https://host:port`, as the kubeconfig has it.
    pub server: String,
    /// The cluster's certificate authority: PEM in base64.
    pub authority: Option<String>,
    /// The name expected in the server's certificate, where it is not the URL's.
    pub server_name: Option<String>,
    /// Whether the kubeconfig asks for the server's certificate not to be checked.
    pub insecure: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("context", &self.context)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Why a kubeconfig leads nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("read the kubeconfig {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("the kubeconfig has no context {context:?}; it has: {}", known.join(", "))]
    Context { context: String, known: Vec<String> },
    #[error("the kubeconfig names no current context; name one with --context: {}", known.join(", "))]
    NoContext { known: Vec<String> },
    #[error("read the certificate authority {path}")]
    Authority {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("use context {context:?}")]
    Config {
        context: String,
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("use the service account of this Pod")]
    InCluster(#[source] Box<InClusterError>),
    #[error("make a client for {server}")]
    Client {
        server: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Reads kubeconfigs, of which the earlier win, and makes a client for a context of them (by default the current one).
/// Nothing is asked of the server yet.
///
/// # Errors
/// If a file cannot be read, or names no such context.
pub async fn connect(paths: &[PathBuf], context: Option<&str>) -> Result<Connection, ConnectError> {
    let kubeconfig = read(paths)?;
    let known = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect::<Vec<_>>();
    let current = kubeconfig.current_context.clone().filter(|name| !name.is_empty());
    let name =
        context.map(str::to_owned).or(current).ok_or_else(|| ConnectError::NoContext { known: known() })?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == name);
    let Some(entry) = named.and_then(|named| named.context.clone()) else {
        return Err(ConnectError::Context { context: name, known: known() });
    };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == entry.cluster);
    let cluster = cluster.and_then(|named| named.cluster.clone()).unwrap_or_default();
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let failed = |source| ConnectError::Config { context: name.clone(), source: Box::new(source) };
    let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await.map_err(failed)?;
    config.connect_timeout = Some(CONNECT);
    let server = cluster.server.unwrap_or_default();
    let client = Client::try_from(config)
        .map_err(|source| ConnectError::Client { server: server.clone(), source: Box::new(source) })?;
    let authority = authority(cluster.certificate_authority_data, cluster.certificate_authority.as_deref())?;
    Ok(Connection {
        client,
        context: name,
        user: entry.user.unwrap_or_default(),
        server,
        authority,
        server_name: cluster.tls_server_name,
        insecure: cluster.insecure_skip_tls_verify == Some(true),
    })
}

/// A client that acts as the service account of the Pod that this process runs in, by the token that the kubelet keeps
/// fresh. Nothing is asked of the server yet.
///
/// # Errors
/// If this is no Pod, or one that was given no token.
pub fn in_cluster() -> Result<Client, ConnectError> {
    let mut config = Config::incluster().map_err(|source| ConnectError::InCluster(Box::new(source)))?;
    config.connect_timeout = Some(CONNECT);
    // The callers decide what is tried again.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ConnectError::Client { server, source: Box::new(source) })
}

fn read(paths: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut all = Kubeconfig::default();
    for path in paths {
        let failed = |source| ConnectError::Read { path: path.clone(), source: Box::new(source) };
        all = Kubeconfig::read_from(path).and_then(|next| all.merge(next)).map_err(failed)?;
    }
    Ok(all)
}

fn authority(data: Option<String>, file: Option<&str>) -> Result<Option<String>, ConnectError> {
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        return Ok(Some(data));
    }
    let Some(path) = file.filter(|file| !file.is_empty()).map(Path::new) else { return Ok(None) };
    let pem =
        std::fs::read(path).map_err(|source| ConnectError::Authority { path: path.to_owned(), source })?;
    Ok(Some(STANDARD.encode(pem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
apiVersion: v1
kind: Config
clusters:
- {name: near, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}
- {name: far, cluster: {server: 'https://far.example.org:6443', certificate-authority: ca.pem, tls-server-name: inside}}
users:
- {name: alice, user: {token: t}}
contexts:
- {name: one, context: {cluster: near, user: alice}}
- {name: two, context: {cluster: far, user: alice}}
";

    #[tokio::test]
    async fn contexts_are_found_by_name_and_errors_name_what_there_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let paths = [file.path().to_owned()];
        let text = |more: &str| std::fs::write(file.path(), format!("{TWO}{more}")).unwrap();
        text("");
        let error = connect(&paths, None).await.unwrap_err().to_string();
        assert!(error.contains("one, two"), "{error}");
        text("current-context: one\n");
        let near = connect(&paths, None).await.unwrap();
        assert_eq!((near.context.as_str(), near.user.as_str(), near.insecure), ("one", "alice", true));
        let error = connect(&paths, Some("three")).await.unwrap_err().to_string();
        assert!(error.contains("\"three\"") && error.contains("one, two"), "{error}");
        let error = connect(&[file.path().with_extension("none")], None).await.unwrap_err().to_string();
        assert!(error.contains(".none"), "{error}");
    }

    #[test]
    fn an_authority_is_base64_wherever_it_lies() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "PEM").unwrap();
        assert_eq!(authority(Some("UEVN".to_owned()), Some("/none")).unwrap().unwrap(), "UEVN");
        assert_eq!(authority(None, file.path().to_str()).unwrap().unwrap(), "UEVN");
        assert_eq!(authority(None, None).unwrap(), None);
    }
}
