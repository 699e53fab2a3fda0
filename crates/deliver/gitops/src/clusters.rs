//! The clusters that applications are deployed to: the one the controller talks to, and those that Secrets register.
//!
//! Each has its own discovery and its own view of live objects. One that does not answer is found out about by a task
//! of its own, so that no pass waits for it and only its applications stand still.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::discovery::Catalog;
use client::{Client, Key, Resources, remote};
use objects::Value;
use sync::project::ClusterName;
use tokio::sync::{Notify, OnceCell, mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::beside::{Registered, Snapshot};
use crate::live::{Live, Scope};
use crate::neighbours::{Looking, Neighbours};
use crate::preview::PreviewError;

/// How the cluster that the controller talks to is named.
pub(crate) const IN_CLUSTER_SERVER: &str = "https://kubernetes.default.svc";
pub(crate) const IN_CLUSTER_NAME: &str = "in-cluster";

/// A cluster that does not answer is asked again after ever longer waits.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Whether a cluster elsewhere is still there is looked at this often.
const PROBE: Duration = Duration::from_secs(60);

/// A cluster in use.
pub(crate) struct Cluster {
    server: String,
    pub(crate) client: Client,
    pub(crate) resources: Resources,
    pub(crate) live: Arc<Live>,
    pub(crate) neighbours: Neighbours,
    kube_version: OnceCell<String>,
    /// The served types as charts see them; the same value as long as they are the same.
    api_versions: Mutex<Option<ApiVersions>>,
    connection: channel::Sender<Connection>,
    doubted: Notify,
    stop: CancellationToken,
}

/// The list, and the catalog it was made of.
type ApiVersions = (Arc<Catalog>, Arc<Vec<String>>);

/// Whether a cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It is being found out.
    Unknown,
    Up,
    Down(String),
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server", &self.server).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    fn new(server: &str, client: Client, live: Live, connection: Connection) -> Self {
        Self {
            server: server.to_owned(),
            resources: Resources::new(client.clone()),
            live: Arc::new(live),
            neighbours: Neighbours::default(),
            client,
            kube_version: OnceCell::new(),
            api_versions: Mutex::default(),
            connection: channel::Sender::new(connection),
            doubted: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn connection(&self) -> Connection {
        self.connection.borrow().clone()
    }

    /// Moves when the connection does.
    pub(crate) fn connections(&self) -> channel::Receiver<Connection> {
        self.connection.subscribe()
    }

    /// Says that the cluster did not answer: it is looked at again before anybody else asks it something.
    pub(crate) fn doubt(&self) {
        if self.server != IN_CLUSTER_SERVER {
            self.connection.send_replace(Connection::Unknown);
            self.doubted.notify_one();
        }
    }

    /// The server's version as charts see it.
    pub(crate) async fn kube_version(&self) -> Result<String, client::Error> {
        self.kube_version.get_or_try_init(|| kube_version(&self.client)).await.cloned()
    }

    pub(crate) fn api_versions(&self, catalog: &Arc<Catalog>) -> Arc<Vec<String>> {
        let mut cached = lock(&self.api_versions);
        let versions = match &*cached {
            Some((of, versions)) if Arc::ptr_eq(of, catalog) => return Arc::clone(versions),
            Some((_, versions)) if **versions == catalog.api_versions() => Arc::clone(versions),
            _ => Arc::new(catalog.api_versions()),
        };
        *cached = Some((Arc::clone(catalog), Arc::clone(&versions)));
        versions
    }

    /// Finds, once the cluster answers, every kind that an Application has objects of.
    pub(crate) async fn look_around(&self) {
        let mut connections = self.connections();
        // The sender lives as long as this does.
        let _ = connections.wait_for(|connection| *connection == Connection::Up).await;
        loop {
            self.live.look_around(&self.resources).await;
            self.live.retracked().await;
        }
    }

    /// Follows the served types and, of a cluster elsewhere, whether it answers, until the end of either.
    pub(crate) async fn run(&self, shutdown: CancellationToken) {
        let stop = self.stop.clone();
        let both = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = stop.cancelled() => {}
            }
        };
        let followed = stop.child_token();
        let looking = Looking { client: &self.client, resources: &self.resources, live: &self.live };
        tokio::select! {
            () = both => {}
            () = self.neighbours.run(looking) => {}
            () = async {
                if self.server != IN_CLUSTER_SERVER {
                    self.probe().await;
                }
                self.resources.run(followed.clone()).await;
            } => {}
        }
        self.live.close().await;
    }

    /// Asks until it answers, then now and then; never ends by itself once the cluster is up.
    async fn probe(&self) {
        let types = self.resources.run(self.stop.clone());
        let mut types = std::pin::pin!(types);
        let mut wait = FIRST_RETRY;
        loop {
            let asked = async {
                let version = self.client.apiserver_version();
                match tokio::time::timeout(FIRST_ANSWER, version).await {
                    Err(_) => Err(format!("no answer within {} s", FIRST_ANSWER.as_secs())),
                    Ok(Err(error)) => Err(client::chain(&error)),
                    Ok(Ok(_)) => self.resources.catalog().await.map(drop).map_err(|error| error.message()),
                }
            };
            let (now, pause) = match asked.await {
                Ok(()) => {
                    wait = FIRST_RETRY;
                    (Connection::Up, PROBE)
                }
                Err(reason) => {
                    let pause = wait;
                    wait = (wait * 2).min(LONGEST_RETRY);
                    (Connection::Down(reason), pause)
                }
            };
            let up = now == Connection::Up;
            self.connection.send_if_modified(|before| {
                let moved = *before != now;
                *before = now;
                moved
            });
            tokio::select! {
                () = &mut types, if up => {}
                () = self.doubted.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// How long a cluster may take to say its version.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// All of them.
#[derive(Debug)]
pub(crate) struct Clusters {
    pub(crate) local: Arc<Cluster>,
    /// By server.
    remote: Mutex<Remotes>,
    namespace: String,
    /// The part of the local cluster that is managed, whatever Secrets say of it.
    scope: Scope,
    triggers: mpsc::Sender<Key>,
}

/// What a Secret says, and the cluster connected to by it.
type Remotes = BTreeMap<String, (Arc<Registered>, Arc<Cluster>)>;

/// Where an application goes.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) name: String,
    /// Whose cluster it is; empty if everybody's.
    pub(crate) project: String,
    scopes: Vec<Scope>,
}

impl Place {
    pub(crate) fn as_name(&self) -> ClusterName<'_> {
        ClusterName { server: &self.cluster.server, name: &self.name, project: &self.project }
    }

    /// Why an object cannot be managed on a cluster of which only some namespaces are.
    pub(crate) fn refuses(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        self.scopes.iter().find_map(|scope| scope.refuses(kind, namespace, name))
    }
}

impl Clusters {
    pub(crate) fn new(client: Client, namespace: String, scope: Scope, triggers: mpsc::Sender<Key>) -> Self {
        let live = Live::new(client.clone(), namespace.clone(), scope.clone(), triggers.clone());
        let local = Cluster::new(IN_CLUSTER_SERVER, client, live, Connection::Up);
        Self { local: Arc::new(local), remote: Mutex::default(), namespace, scope, triggers }
    }

    /// The cluster of a destination, and whether it was not in use before.
    ///
    /// # Errors
    /// What an InvalidSpecError condition says.
    pub(crate) async fn resolve(
        &self,
        beside: &Snapshot,
        destination: &Value,
    ) -> Result<(Place, bool), String> {
        let registered = match find(beside, destination)? {
            Found::Local => {
                let place = Place {
                    cluster: Arc::clone(&self.local),
                    name: IN_CLUSTER_NAME.to_owned(),
                    project: String::new(),
                    scopes: vec![self.scope.clone()],
                };
                return Ok((place, false));
            }
            Found::Registered(registered) => registered,
        };
        let mut scopes = vec![registered.scope()];
        let (cluster, new) = if registered.server == IN_CLUSTER_SERVER {
            scopes.push(self.scope.clone());
            (Arc::clone(&self.local), false)
        } else {
            self.reach(&registered).await?
        };
        let (name, project) = (registered.name.clone(), registered.project.clone());
        Ok((Place { cluster, name, project, scopes }, new))
    }

    async fn reach(&self, registered: &Arc<Registered>) -> Result<(Arc<Cluster>, bool), String> {
        let server = &registered.server;
        if let Some((of, cluster)) = lock(&self.remote).get(server)
            && same_connection(of, registered)
        {
            return Ok((Arc::clone(cluster), false));
        }
        let name = &registered.name;
        let remote = registered.remote.as_ref().map_err(|reason| format!("cluster {name:?}: {reason}"))?;
        let client = remote::connect(remote).await;
        let client = client.map_err(|error| format!("cluster {name:?}: {}", error.message()))?;
        let live =
            Live::new(client.clone(), self.namespace.clone(), registered.scope(), self.triggers.clone());
        let cluster = Arc::new(Cluster::new(server, client, live, Connection::Unknown));
        let entry = (Arc::clone(registered), Arc::clone(&cluster));
        // Two passes may come here at once; the first one's is kept.
        let mut remote = lock(&self.remote);
        match remote.get(server) {
            Some((of, there)) if same_connection(of, registered) => Ok((Arc::clone(there), false)),
            _ => {
                if let Some((_, before)) = remote.insert(server.clone(), entry) {
                    before.stop.cancel();
                }
                Ok((cluster, true))
            }
        }
    }

    /// Lets go of clusters that are no longer registered.
    pub(crate) fn forget_unregistered(&self, beside: &Snapshot) {
        lock(&self.remote).retain(|server, (_, cluster)| {
            let there = beside.clusters().any(|registered| registered.server == *server);
            if !there {
                cluster.stop.cancel();
            }
            there
        });
    }
}

fn same_connection(left: &Registered, right: &Registered) -> bool {
    left.remote == right.remote
        && left.namespaces == right.namespaces
        && left.cluster_resources == right.cluster_resources
}

enum Found {
    Local,
    Registered(Arc<Registered>),
}

/// The server of a destination and a client for it, where no controller follows the clusters.
pub(crate) async fn destination(
    local: &Client,
    namespace: &str,
    destination: &Value,
) -> Result<(String, Client), PreviewError> {
    let here = || (IN_CLUSTER_SERVER.to_owned(), local.clone());
    if let Ok(Found::Local) = find(&Snapshot::default(), destination) {
        return Ok(here());
    }
    let beside = Snapshot::of_clusters(local, namespace).await?;
    let registered = match find(&beside, destination).map_err(PreviewError::Destination)? {
        Found::Local => return Ok(here()),
        Found::Registered(registered) if registered.server == IN_CLUSTER_SERVER => return Ok(here()),
        Found::Registered(registered) => registered,
    };
    let name = &registered.name;
    let remote = registered.remote.as_ref();
    let remote = remote.map_err(|reason| PreviewError::Destination(format!("cluster {name:?}: {reason}")))?;
    Ok((registered.server.clone(), remote::connect(remote).await?))
}

/// Whether a destination names a cluster.
///
/// # Errors
/// What an InvalidSpecError condition says.
pub(crate) fn known(beside: &Snapshot, destination: &Value) -> Result<(), String> {
    find(beside, destination).map(drop)
}

fn find(beside: &Snapshot, destination: &Value) -> Result<Found, String> {
    let text = |field: &str| destination[field].as_str().unwrap_or_default();
    let (server, name) = (text("server").trim_end_matches('/'), text("name"));
    match (server, name) {
        ("", "") => Err("Destination server missing from app spec".to_owned()),
        ("", name) => {
            let named: Vec<_> = beside.clusters().filter(|registered| registered.name == name).collect();
            match named[..] {
                [] if name == IN_CLUSTER_NAME => Ok(Found::Local),
                [] => Err(format!("there are no clusters with this name: {name}")),
                [only] => Ok(Found::Registered(Arc::clone(only))),
                _ => {
                    let servers: Vec<&str> =
                        named.iter().map(|registered| registered.server.as_str()).collect();
                    let (count, servers) = (servers.len(), servers.join(" "));
                    Err(format!("there are {count} clusters with the same name: [{servers}]"))
                }
            }
        }
        (server, "") => {
            let mut known = beside.clusters().filter(|registered| registered.server == server);
            match known.next() {
                Some(registered) => Ok(Found::Registered(Arc::clone(registered))),
                None if server == IN_CLUSTER_SERVER => Ok(Found::Local),
                None => Err(format!(
                    "error getting cluster by server {server:?}: rpc error: code = NotFound desc = cluster {server:?} not found"
                )),
            }
        }
        (server, name) => {
            Err(format!("application destination can't have both name and server defined: {name} {server}"))
        }
    }
}

/// `v1.34.0`, without what distributions append.
pub(crate) async fn kube_version(client: &Client) -> Result<String, client::Error> {
    let version = client.apiserver_version().await.map_err(|source| client::Error::Transport {
        action: "ask for the server's version".to_owned(),
        source: Box::new(source),
    })?;
    let number = version.git_version.trim_start_matches('v');
    let number = number.split(['+', '-']).next().unwrap_or_default();
    Ok(format!("v{number}"))
}
