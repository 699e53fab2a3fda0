//! Where tests run: the API server in this process, or the cluster of a kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use client::Client;
use client::connect::connect;
use client::discovery::Served;
use serde_json::json;
use test_kit::Cluster;

pub(crate) enum Place {
    Embedded(Cluster),
    Reference(Client),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Embedded(_) => "the embedded API",
            Place::Reference(_) => "the cluster of MAINSTAY_REFERENCE",
        })
    }
}

/// The kubeconfig of the real cluster to run on, and of a second one.
const REFERENCE: &str = "MAINSTAY_REFERENCE";
pub(crate) const SECOND: &str = "MAINSTAY_REFERENCE_SECOND";

impl Place {
    /// One that serves the kinds that the controllers work on by their own definitions.
    pub(crate) async fn find() -> Place {
        let place = Place::new().await;
        for definition in gitops::definitions() {
            define(&place.admin(), &definition).await;
        }
        place
    }

    /// One that serves what the embedded API serves on a fresh start.
    pub(crate) async fn bare() -> Place {
        let place = Place::new().await;
        if let Place::Reference(client) = &place {
            for definition in gitops::definitions() {
                define(client, &definition).await;
            }
        }
        place
    }

    /// Serves the kinds that the embedded API has minimal definitions of, where nothing in these directories defines
    /// them itself.
    pub(crate) async fn serve_kinds(&self, directories: &[&Path]) {
        if let Place::Reference(client) = self {
            define_minimal(client, directories).await;
        }
    }

    async fn new() -> Place {
        match std::env::var_os(REFERENCE) {
            None => {
                let cluster = Cluster::start().await;
                cluster.grant(gitops::rules()).await;
                Place::Embedded(cluster)
            }
            Some(path) => Place::Reference(reach(path.into()).await),
        }
    }

    /// A client that may do anything.
    pub(crate) fn admin(&self) -> Client {
        match self {
            Place::Embedded(cluster) => cluster.admin(),
            Place::Reference(client) => client.clone(),
        }
    }

    /// The controller's own client.
    pub(crate) fn controller(&self) -> Client {
        match self {
            Place::Embedded(cluster) => cluster.account(gitops::SERVICE_ACCOUNT),
            Place::Reference(client) => client.clone(),
        }
    }
}

/// A client of the cluster that a kubeconfig leads to.
pub(crate) async fn reach(kubeconfig: PathBuf) -> Client {
    connect(&[kubeconfig], None).await.expect("reach the reference").client
}

/// Defines on another cluster what the embedded API serves by its minimal definitions: repositories use those kinds and
/// bring no definition for them.
pub(crate) async fn define_minimal(client: &Client, directories: &[&Path]) {
    let embedded = Cluster::start().await;
    let ours = client::Resources::new(embedded.admin()).catalog().await.expect("the embedded API answers");
    let theirs = client::Resources::new(client.clone()).catalog().await.expect("the reference answers");
    let brought = definitions_in(directories);
    let mut kinds: BTreeMap<(String, String), Vec<&Served>> = BTreeMap::new();
    for served in ours.types() {
        let resource = &served.resource;
        let brings = brought.contains(&format!("{}.{}", resource.plural, resource.group));
        let there = theirs.preferred(&resource.group, &resource.kind).is_some();
        if !there && !brings && resource.group.contains('.') {
            let name = (resource.group.clone().into_owned(), resource.plural.clone().into_owned());
            kinds.entry(name).or_default().push(served);
        }
    }
    for ((group, plural), versions) in kinds {
        let resource = &versions[0].resource;
        let stored = versions.iter().position(|served| served.preferred).unwrap_or(0);
        let version = |(index, served): (usize, &&Served)| {
            let mut subresources = json!({});
            if served.subresources.contains("status") {
                subresources["status"] = json!({});
            }
            json!({"name": served.resource.version, "served": true, "storage": index == stored,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "subresources": subresources})
        };
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"),
                "annotations": {"api-approved.kubernetes.io": "unapproved, a definition for tests"}},
            "spec": {
                "group": group, "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
                "names": {"kind": resource.kind, "plural": plural, "singular": versions[0].singular},
                "versions": versions.iter().enumerate().map(version).collect::<Vec<_>>(),
            },
        });
        define(client, &definition).await;
    }
}

/// The names of the definitions that files bring: `plural.group` where their metadata is.
fn definitions_in(directories: &[&Path]) -> BTreeSet<String> {
    let mut pending: Vec<PathBuf> = directories.iter().map(|directory| directory.to_path_buf()).collect();
    let mut found = BTreeSet::new();
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            if text.contains("CustomResourceDefinition") {
                let names = text.lines().filter_map(|line| line.trim().strip_prefix("name: "));
                found.extend(names.map(|name| name.trim_matches(['"', '\'']).to_owned()));
            }
        }
    }
    found
}

/// Defines a kind and waits until it is served.
pub(crate) async fn define(client: &Client, definition: &serde_json::Value) {
    let api = client::Api::new(client, &client::resource::CUSTOM_RESOURCE_DEFINITIONS);
    api.apply(definition, "tests", true).await.expect("the definition is accepted");
    let key = client::Key::of(definition);
    test_kit::eventually_async(&format!("{key} is served"), super::world::SOON, || async {
        let live = api.get(&key).await.map_err(|error| error.message())?;
        let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let established = json!({"type": "Established", "status": "True"});
        let served = conditions
            .iter()
            .any(|one| super::behaviour::seen::differs(&established, Some(one), "").is_none());
        if served { Ok(()) } else { Err(live["status"].to_string()) }
    })
    .await;
}
