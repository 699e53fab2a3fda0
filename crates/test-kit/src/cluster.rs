//! A cluster without a node: the real API server in this process, with its objects in memory.

use std::sync::Arc;

use apiserver::pki::Pki;
use apiserver::{ApiServer, Config, User};
use client::{Api, Client, ResourceType};
use serde_json::{Value, json};
use store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const ROLES: ResourceType =
    ResourceType::cluster("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles");
const BINDINGS: ResourceType =
    ResourceType::cluster("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings");

/// An API server for one test. Its watches end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Cluster {
    server: Arc<ApiServer>,
    pki: Arc<Pki>,
}

/// A cluster that listens, and its administrator's credentials. It stops listening when this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// `https://127.0.0.1:port`.
    pub url: String,
    /// PEM of its certificate authority.
    pub authority: String,
    /// PEM of the administrator's certificate and key.
    pub certificate: String,
    pub key: String,
    _stop: DropGuard,
}

impl Cluster {
    /// # Panics
    /// If it cannot be started.
    pub async fn start() -> Self {
        let pki = Pki::ephemeral().expect("a certificate authority");
        let store = Store::in_memory(&store::Config::default()).expect("a store in memory");
        let server = ApiServer::start(Config::new(store, &pki)).await.expect("the API starts");
        Self { server: Arc::new(server), pki: Arc::new(pki) }
    }

    /// Listens on a free port of the loopback, as another cluster's clients find it.
    ///
    /// # Panics
    /// If it cannot.
    pub async fn listen(&self) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("a bound address"));
        let tls = self.pki.server_config(&["127.0.0.1".to_owned()]).expect("a server certificate");
        let (certificate, key) =
            self.pki.client_certificate("admin", "system:masters").expect("a client certificate");
        let stop = CancellationToken::new();
        let (server, serving) = (Arc::clone(&self.server), stop.clone());
        tokio::spawn(async move { server.serve(listener, tls, serving).await });
        let authority = self.pki.authority_pem().to_owned();
        Listening { url, authority, certificate, key, _stop: stop.drop_guard() }
    }

    /// A client that may do anything.
    #[must_use]
    pub fn admin(&self) -> Client {
        Client::new(self.server.service(User::admin()), "default")
    }

    /// A client that acts as a service account of `kube-system`; it may do what was [granted](Self::grant).
    #[must_use]
    pub fn account(&self, name: &str) -> Client {
        Client::new(self.server.service(User::service_account("kube-system", name)), "default")
    }

    /// Grants service accounts what their controllers' `rules()` say, as the binary does.
    ///
    /// # Panics
    /// If the API refuses a role.
    pub async fn grant(&self, rules: Vec<(&'static str, Value)>) {
        let admin = self.admin();
        for (account, rules) in rules {
            let name = format!("system:controller:{account}");
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name}, "rules": rules,
            });
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
            });
            for (resource, object) in [(&ROLES, role), (&BINDINGS, binding)] {
                Api::new(&admin, resource).apply(&object, "tests", true).await.expect("the role is accepted");
            }
        }
    }
}
