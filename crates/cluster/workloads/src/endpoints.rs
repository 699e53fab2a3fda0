//! EndpointSlices and Endpoints of Services with a selector.
//!
//! Services without a selector are left alone: their endpoints belong to whoever writes them. Slices have names that follow from
//! their content's place (service, ports, number), so a pass that is cut off is simply continued by the next.

mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions};
use client::resource::{ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key};
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const ACCOUNT: &str = "endpointslice-controller";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["services", "pods"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["services/finalizers"], "verbs": ["update"] },
        { "apiGroups": [""], "resources": ["endpoints"],
          "verbs": ["create", "delete", "get", "list", "update", "watch"] },
        { "apiGroups": [""], "resources": ["endpoints/restricted"], "verbs": ["create"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices", "endpointslices/restricted"],
          "verbs": ["create", "delete", "get", "list", "update", "watch"] },
    ])
}

pub(crate) async fn run(client: Client, shutdown: CancellationToken) {
    let index = Arc::new(Index::default());
    let this = Endpoints {
        services: Api::new(&client, &SERVICES),
        pods: Api::new(&client, &PODS),
        nodes: Api::new(&client, &NODES),
        slices: Api::new(&client, &ENDPOINT_SLICES),
        endpoints: Api::new(&client, &ENDPOINTS),
        index: index.clone(),
    };
    let services = index.clone();
    Controller::new("endpoints", client)
        .primary_with(SERVICES, WatchOptions::default(), move |service| {
            services.learn(service);
            vec![Key::of(service)]
        })
        .watches(PODS, WatchOptions::metadata(), move |pod| index.services_of(pod))
        .watches(ENDPOINT_SLICES, managed(), |slice| {
            let service = meta::label(slice, plan::SERVICE_NAME);
            service.map(|name| Key::new(meta::namespace(slice), name)).into_iter().collect()
        })
        .concurrency(4)
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

fn managed() -> WatchOptions {
    let labels = Some(format!("{}={}", plan::MANAGED_BY, plan::MANAGER));
    WatchOptions { labels, ..WatchOptions::metadata() }
}

/// Which Services select which Pods: selectors by Service, and by Pod the Services that had it last, so that a Pod that changes
/// its labels or goes away is noticed by those it leaves.
#[derive(Default)]
struct Index {
    selectors: Mutex<HashMap<Key, LabelSelector>>,
    memberships: Mutex<HashMap<Key, Vec<Key>>>,
}

impl Index {
    fn learn(&self, service: &Value) {
        let selector = service["spec"].get("selector").unwrap_or(&Value::Null);
        let mut selectors = self.selectors.lock().expect("no panic while held");
        selectors.insert(Key::of(service), LabelSelector::from_map(selector));
    }

    fn forget(&self, service: &Key) {
        self.selectors.lock().expect("no panic while held").remove(service);
    }

    fn services_of(&self, pod: &Value) -> Vec<Key> {
        let namespace = meta::namespace(pod);
        let mut now: Vec<Key> = self
            .selectors
            .lock()
            .expect("no panic while held")
            .iter()
            .filter(|(key, selector)| key.namespace.as_deref() == namespace && selector.matches_object(pod))
            .map(|(key, _)| key.clone())
            .collect();
        now.sort();
        let mut memberships = self.memberships.lock().expect("no panic while held");
        let before = match now.is_empty() {
            true => memberships.remove(&Key::of(pod)),
            false => memberships.insert(Key::of(pod), now.clone()),
        };
        now.extend(before.into_iter().flatten());
        now.sort();
        now.dedup();
        now
    }
}

#[derive(Clone)]
struct Endpoints {
    services: Api,
    pods: Api,
    nodes: Api,
    slices: Api,
    endpoints: Api,
    index: Arc<Index>,
}

impl Endpoints {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(service) = self.services.find(key).await? else {
            self.index.forget(key);
            // Slices are collected with their owner; Endpoints have none.
            self.remove_endpoints(key).await?;
            return Ok(Action::Done);
        };
        let selector = service["spec"].get("selector").unwrap_or(&Value::Null);
        if selector.as_object().is_none_or(serde_json::Map::is_empty)
            || service["spec"]["type"] == "ExternalName"
            || meta::is_deleting(&service)
        {
            return Ok(Action::Done);
        }
        let pods = self.pods.list_all(key.namespace.as_deref(), &ListOptions::all()).await?.items;
        let selector = LabelSelector::from_map(selector);
        let mut selected: Vec<Value> = pods.into_iter().filter(|pod| selector.matches_object(pod)).collect();
        selected.sort_by(|a, b| meta::name(a).cmp(meta::name(b)));
        let zones = self.zones(&selected).await?;
        self.write_slices(key, plan::slices(&service, &selected, &zones)).await?;
        self.write_endpoints(key, plan::endpoints(&service, &selected)).await?;
        Ok(Action::Done)
    }

    async fn zones(&self, pods: &[Value]) -> Result<HashMap<String, String>, Error> {
        let mut zones = HashMap::new();
        let mut names: Vec<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let node = self.nodes.find(&Key::cluster(name)).await?;
            let zone = node.as_ref().and_then(|node| meta::label(node, "topology.kubernetes.io/zone"));
            if let Some(zone) = zone {
                zones.insert(name.to_owned(), zone.to_owned());
            }
        }
        Ok(zones)
    }

    async fn write_slices(&self, key: &Key, wanted: Vec<Value>) -> Result<(), Error> {
        let labels = format!("{}={},{}={}", plan::SERVICE_NAME, key.name, plan::MANAGED_BY, plan::MANAGER);
        let existing =
            self.slices.list_all(key.namespace.as_deref(), &ListOptions::labels(labels)).await?.items;
        for slice in &wanted {
            match existing.iter().find(|known| meta::name(known) == meta::name(slice)) {
                Some(known) if plan::same(known, slice, &["endpoints", "ports"]) => {}
                Some(known) => {
                    let mut updated = slice.clone();
                    meta::set(&mut updated, "resourceVersion", json!(meta::resource_version(known)));
                    self.slices.replace(&updated).await?;
                }
                None => ignore_terminating(self.slices.create(slice).await)?,
            }
        }
        for known in existing.iter().filter(|known| !meta::is_deleting(known)) {
            if !wanted.iter().any(|slice| meta::name(slice) == meta::name(known)) {
                let options = DeleteOptions::default().only(meta::uid(known));
                self.slices.delete_if_exists(&Key::of(known), &options).await?;
            }
        }
        Ok(())
    }

    async fn write_endpoints(&self, key: &Key, wanted: Value) -> Result<(), Error> {
        match self.endpoints.find(key).await? {
            None => ignore_terminating(self.endpoints.create(&wanted).await),
            Some(known) if plan::same(&known, &wanted, &["subsets"]) => Ok(()),
            Some(known) => {
                let mut updated = wanted;
                meta::set(&mut updated, "resourceVersion", json!(meta::resource_version(&known)));
                self.endpoints.replace(&updated).await.map(|_| ())
            }
        }
    }

    async fn remove_endpoints(&self, key: &Key) -> Result<(), Error> {
        match self.endpoints.find(key).await? {
            Some(known) if meta::label(&known, plan::ENDPOINTS_MANAGED_BY).is_some() => {
                let options = DeleteOptions::default().only(meta::uid(&known));
                self.endpoints.delete_if_exists(key, &options).await
            }
            _ => Ok(()),
        }
    }
}

fn ignore_terminating(outcome: Result<Value, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_namespace_terminating() => Ok(()),
        other => other.map(|_| ()),
    }
}
