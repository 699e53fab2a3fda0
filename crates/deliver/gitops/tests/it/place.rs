//! Where the cases run: the API server in this process, or the cluster of a kubeconfig.

use std::fmt;

use client::Client;
use client::connect::connect;
use serde_json::json;
use test_kit::Cluster;

pub(super) enum Place {
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

impl Place {
    pub(super) async fn find() -> Place {
        let place = match std::env::var_os("MAINSTAY_REFERENCE") {
            None => {
                let cluster = Cluster::start().await;
                cluster.grant(gitops::rules()).await;
                Place::Embedded(cluster)
            }
            Some(path) => {
                Place::Reference(connect(&[path.into()], None).await.expect("reach the reference").client)
            }
        };
        for definition in gitops::definitions() {
            define(&place.admin(), &definition).await;
        }
        place
    }

    /// A client that may do anything.
    pub(super) fn admin(&self) -> Client {
        match self {
            Place::Embedded(cluster) => cluster.admin(),
            Place::Reference(client) => client.clone(),
        }
    }

    /// The controller's own client.
    pub(super) fn controller(&self) -> Client {
        match self {
            Place::Embedded(cluster) => cluster.account(gitops::SERVICE_ACCOUNT),
            Place::Reference(client) => client.clone(),
        }
    }
}

/// Defines a kind and waits until it is served.
async fn define(client: &Client, definition: &serde_json::Value) {
    let api = client::Api::new(client, &client::resource::CUSTOM_RESOURCE_DEFINITIONS);
    api.apply(definition, "tests", true).await.expect("the definition is accepted");
    let key = client::Key::of(definition);
    test_kit::eventually_async(&format!("{key} is served"), super::super::world::SOON, || async {
        let live = api.get(&key).await.map_err(|error| error.message())?;
        let conditions = live["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let established = json!({"type": "Established", "status": "True"});
        let served = conditions.iter().any(|one| super::seen::differs(&established, Some(one), "").is_none());
        if served { Ok(()) } else { Err(live["status"].to_string()) }
    })
    .await;
}
