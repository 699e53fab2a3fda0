//! The embedded cluster: its store, its authority, its API, and the clients by which the parts of this process reach it.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::pki::{Pki, cluster_names};
use apiserver::{ApiServer, MetricsSource, ServiceRange, User};
use client::{Api, Client, ResourceType};
use futures::future::try_join_all;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use store::Store;
use tokio::net::TcpListener;

use crate::data_dir::DataDir;
use crate::up::tasks::Tasks;

/// The domain of cluster DNS.
pub(crate) const DOMAIN: &str = "cluster.local";

const CLUSTER_ROLES: ResourceType =
    ResourceType::cluster("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles");
const CLUSTER_ROLE_BINDINGS: ResourceType =
    ResourceType::cluster("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings");

/// Where and for which addresses the API is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The addresses of Services; the first is the API's own.
    pub(crate) services: ServiceRange,
}

/// A running API server. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    server: Arc<ApiServer>,
    pki: Arc<Pki>,
    tls: Arc<rustls::ServerConfig>,
    url: String,
}

/// A certificate chain and its key.
#[derive(Clone)]
pub(crate) struct ServerCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl ServerCertificate {
    pub(crate) fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain, self.key.clone_key())
    }
}

impl Cluster {
    /// Opens the store, serves the API, and writes the kubeconfig.
    pub(crate) async fn start(data: &DataDir, listen: Listen, tasks: &mut Tasks) -> Result<Self> {
        let pki = Pki::open(&data.pki()).context("open the cluster's certificate authority")?;
        let directory = data.store();
        let path = directory.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(&path, &store::Config::default()))
            .await
            .context("open the store")?
            .with_context(|| format!("open the store in {}", directory.display()))?;
        let socket = SocketAddr::new(listen.address, listen.port);
        let listener = TcpListener::bind(socket).await.with_context(|| format!("listen on {socket}"))?;
        let local = listener.local_addr().context("read the API's address")?;

        let mut config = apiserver::Config::new(store, &pki);
        config.service_range = listen.services;
        config.cluster_domain = DOMAIN.to_owned();
        let server = Arc::new(ApiServer::start(config).await.context("start the API")?);
        let mut names = cluster_names(DOMAIN, listen.services.api().into());
        if !local.ip().is_unspecified() {
            names.push(local.ip().to_string());
        }
        let tls = pki.server_config(&names).context("make the API's certificate")?;
        // Listening everywhere includes loopback, which is how this machine reaches it.
        let host = if local.ip().is_unspecified() { "127.0.0.1".to_owned() } else { host(local.ip()) };
        let url = format!("https://{host}:{}", local.port());
        let cluster = Self { server, pki: Arc::new(pki), tls, url };
        let kubeconfig = cluster.pki.admin_kubeconfig(&cluster.url).context("make the kubeconfig")?;
        write_private(&data.kubeconfig(), &kubeconfig)?;
        cluster.serve("API", listener, tasks);
        Ok(cluster)
    }

    /// Serves the API on one more listener.
    pub(crate) fn serve(&self, name: &'static str, listener: TcpListener, tasks: &mut Tasks) {
        let (server, tls, stop) = (self.server.clone(), self.tls.clone(), tasks.token());
        tasks.run(name, async move { server.serve(listener, tls, stop).await });
    }

    /// Connects what answers for logs.
    pub(crate) fn set_node(&self, node: Arc<dyn link::Node>) {
        self.server.set_node(node);
    }

    /// Connects what answers for metrics.
    pub(crate) fn set_metrics(&self, source: MetricsSource) {
        self.server.set_metrics(source);
    }

    fn client(&self, user: User) -> Client {
        Client::new(self.server.service(user), "default")
    }

    /// A client that may do anything: the person who started the process.
    pub(crate) fn admin(&self) -> Client {
        self.client(User::admin())
    }

    /// A client that acts as a service account of `kube-system`.
    pub(crate) fn account(&self, name: &str) -> Client {
        self.client(User::service_account("kube-system", name))
    }

    /// The address for `kubectl` and its like.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A certificate of the cluster's authority for this machine, for whoever has none of their own.
    pub(crate) fn server_certificate(&self) -> Result<ServerCertificate> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let (chain, key) = self.pki.server_certificate(&names).context("make a certificate for the proxy")?;
        Ok(ServerCertificate { chain, key: Arc::new(key) })
    }

    pub(crate) fn authority_pem(&self) -> &str {
        self.pki.authority_pem()
    }

    /// Grants service accounts of `kube-system` what their controllers say they need.
    pub(crate) async fn grant(&self, rules: Vec<(&'static str, Value)>) -> Result<()> {
        let admin = self.admin();
        let (roles, bindings) = (Api::new(&admin, &CLUSTER_ROLES), Api::new(&admin, &CLUSTER_ROLE_BINDINGS));
        try_join_all(rules.into_iter().map(|(account, rules)| {
            let (roles, bindings) = (&roles, &bindings);
            async move {
                let name = format!("system:controller:{account}");
                let (role, binding) = grants(&name, account, &rules);
                roles
                    .apply(&role, "mainstay", true)
                    .await
                    .with_context(|| format!("write the role {name}"))?;
                bindings
                    .apply(&binding, "mainstay", true)
                    .await
                    .with_context(|| format!("bind the role {name}"))?;
                anyhow::Ok(())
            }
        }))
        .await?;
        Ok(())
    }
}

fn grants(name: &str, account: &str, rules: &Value) -> (Value, Value) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
    });
    (role, binding)
}

/// An address as it stands in a URL.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("new");
    // A draft that a crash left may have another mode or owner.
    let _ = fs::remove_file(&draft);
    let write = || {
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_private_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        fs::write(path.with_extension("new"), "left by a crash").unwrap();
        write_private(&path, "one").unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn addresses_stand_in_urls() {
        assert_eq!(host("127.0.0.1".parse().unwrap()), "127.0.0.1");
        assert_eq!(host("::1".parse().unwrap()), "[::1]");
    }
}
