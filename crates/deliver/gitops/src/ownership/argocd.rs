//! Whether an Argo CD is on the cluster.

use std::collections::BTreeSet;

use client::dynamic::{DeleteOptions, ListOptions};
use client::watch::{Event, WatchOptions, watch};
use client::{Api, Client, Key, ResourceType, resource};
use futures::StreamExt as _;
use futures::stream::select_all;
use objects::{Value, meta};
use serde_json::json;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::Claim;
use crate::live::Scope;

/// What all ways of installing Argo CD (its manifests, its chart, its operator) label its controller with.
const COMPONENT: &str = "app.kubernetes.io/component=application-controller";
/// The ConfigMap that notes that an Argo CD was seen.
pub const NOTE: &str = "mainstay-takeover";
const SEEN: &str = "argocd";

/// Argo CD's controller is one of these.
const WORKLOADS: [ResourceType; 2] = [resource::STATEFUL_SETS, resource::DEPLOYMENTS];

/// The controller of an Argo CD.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArgoCd {
    /// `StatefulSet` or `Deployment`.
    pub kind: String,
    pub key: Key,
    /// How many it is to have.
    pub replicas: i64,
    /// Of its first container.
    pub image: String,
}

impl std::fmt::Display for ArgoCd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

impl ArgoCd {
    /// Other projects have application controllers too.
    fn read(kind: &ResourceType, object: &Value) -> Option<Self> {
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        let part_of = meta::label(object, "app.kubernetes.io/part-of") == Some("argocd");
        let words = [&container["command"], &container["args"]].into_iter();
        let words = words.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        let runs = words.into_iter().any(|word| word.contains("argocd-application-controller"));
        (part_of || runs).then(|| Self {
            kind: kind.kind.clone().into_owned(),
            key: Key::of(object),
            replicas: object["spec"]["replicas"].as_i64().unwrap_or(1),
            image: container["image"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

/// The Argo CDs of a cluster, as far as the client may look.
///
/// # Errors
/// If it may not, or the cluster does not answer.
pub async fn argo_cd(client: &Client, namespace: Option<&str>) -> Result<Vec<ArgoCd>, client::Error> {
    let mut found = Vec::new();
    for kind in WORKLOADS {
        let list = Api::new(client, &kind).list_all(namespace, &ListOptions::labels(COMPONENT)).await?;
        found.extend(list.items.iter().filter_map(|object| ArgoCd::read(&kind, object)));
    }
    Ok(found)
}

/// Removes the note that an Argo CD was seen, so that everything becomes this controller's. For a person to say, once
/// there is none any more.
///
/// # Errors
/// If it cannot be removed.
pub async fn release_claim(client: &Client, namespace: &str) -> Result<(), client::Error> {
    let key = Key::namespaced(namespace, NOTE);
    Api::new(client, &resource::CONFIG_MAPS).delete_if_exists(&key, &DeleteOptions::default()).await
}

/// What the note leaves to whoever does not watch for an Argo CD.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn noted(client: &Client, namespace: &str) -> Result<Claim, client::Error> {
    let note = Api::new(client, &resource::CONFIG_MAPS).find(&Key::namespaced(namespace, NOTE)).await?;
    Ok(if note.is_some() { Claim::Taken } else { Claim::All })
}

/// What is known so far.
#[derive(Debug, Default)]
struct Known {
    listed: BTreeSet<usize>,
    there: BTreeSet<ArgoCd>,
    noted: bool,
}

/// Watches for an Argo CD until the end, and claims everything as long as there was none: all of the cluster, or, for a
/// controller that may not look everywhere, the namespace of the Applications.
pub async fn follow_argo_cd(
    client: Client,
    namespace: String,
    scope: Scope,
    claims: channel::Sender<Claim>,
    stop: CancellationToken,
) {
    let whole = scope.namespaces.is_empty();
    let labelled = || WatchOptions {
        namespace: (!whole).then(|| namespace.clone()),
        labels: Some(COMPONENT.to_owned()),
        ..WatchOptions::default()
    };
    let note = WatchOptions::object(&Key::namespaced(&namespace, NOTE));
    let sources = WORKLOADS.into_iter().map(|kind| (kind, labelled()));
    let sources = sources.chain([(resource::CONFIG_MAPS, note)]).enumerate();
    let events = sources.map(|(index, (kind, options))| {
        watch(&client, &kind, options).map(move |event| (index, kind.clone(), event)).boxed()
    });
    let mut events = select_all(events);
    let mut known = Known::default();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = events.next() => next,
        };
        let Some((index, kind, event)) = next else { return };
        known.take(index, &kind, event);
        if known.listed.len() <= WORKLOADS.len() {
            continue;
        }
        let claim = if known.there.is_empty() && !known.noted { Claim::All } else { Claim::Taken };
        let moved = claims.send_if_modified(|before| std::mem::replace(before, claim) != claim);
        if moved {
            let found: Vec<String> = known.there.iter().map(ArgoCd::to_string).collect();
            let found = found.join(", ");
            tracing::info!(claim = ?claim, argo_cd = found, "what this controller looks after changed");
        }
        if let Some(first) = known.there.first()
            && !known.noted
        {
            remember(&client, &namespace, first).await;
        }
    }
}

impl Known {
    fn take(&mut self, index: usize, kind: &ResourceType, event: Event) {
        let workload = index < WORKLOADS.len();
        match event {
            Event::Applied(_) if !workload => self.noted = true,
            Event::Deleted(_) if !workload => self.noted = false,
            Event::Applied(object) => {
                let key = Key::of(&object);
                self.there.retain(|one| one.kind != kind.kind || one.key != key);
                self.there.extend(ArgoCd::read(kind, &object));
            }
            Event::Deleted(object) => {
                let key = Key::of(&object);
                self.there.retain(|one| one.kind != kind.kind || one.key != key);
            }
            Event::Resynced(keys) => {
                self.listed.insert(index);
                if workload {
                    self.there.retain(|one| one.kind != kind.kind || keys.contains(&one.key));
                } else {
                    self.noted = !keys.is_empty();
                }
            }
        }
    }
}

/// Notes that an Argo CD was seen. If that fails, the next event tries again; until then its presence alone counts.
async fn remember(client: &Client, namespace: &str, argo_cd: &ArgoCd) {
    let note = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NOTE, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "mainstay"}},
        "data": {SEEN: argo_cd.to_string()},
    });
    match Api::new(client, &resource::CONFIG_MAPS).create(&note).await {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {}
        Err(error) => {
            tracing::warn!(error = client::chain(&error), "that an Argo CD is there could not be noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str, labels: Value, command: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "argocd", "labels": labels},
            "spec": {"replicas": 0, "template": {"spec": {"containers": [
                {"image": "quay.io/argoproj/argocd:v3.1.0", "command": [command]}]}}},
        })
    }

    #[test]
    fn argo_cd_is_known_by_its_labels_or_by_what_it_runs() {
        let read = |object: &Value| ArgoCd::read(&resource::STATEFUL_SETS, object);
        let labelled = workload("a", json!({"app.kubernetes.io/part-of": "argocd"}), "/usr/local/bin/argocd");
        let found = read(&labelled).unwrap();
        assert_eq!((found.to_string().as_str(), found.replicas), ("StatefulSet argocd/a", 0));
        let named = workload("b", json!({}), "/usr/local/bin/argocd-application-controller");
        assert!(read(&named).is_some());
        assert!(read(&workload("c", json!({}), "/manager")).is_none(), "another project's");
    }

    #[test]
    fn what_was_seen_is_followed() {
        let mut known = Known::default();
        let object = workload("a", json!({"app.kubernetes.io/part-of": "argocd"}), "x");
        known.take(0, &resource::STATEFUL_SETS, Event::Applied(object.clone()));
        known.take(0, &resource::STATEFUL_SETS, Event::Resynced(vec![Key::of(&object)]));
        known.take(1, &resource::DEPLOYMENTS, Event::Resynced(Vec::new()));
        assert_eq!((known.there.len(), known.listed.len(), known.noted), (1, 2, false));
        known.take(2, &resource::CONFIG_MAPS, Event::Applied(json!({})));
        known.take(0, &resource::STATEFUL_SETS, Event::Deleted(object));
        assert!(known.there.is_empty() && known.noted, "the note outlives what was noted");
        known.take(2, &resource::CONFIG_MAPS, Event::Resynced(Vec::new()));
        assert!(!known.noted);
    }
}
