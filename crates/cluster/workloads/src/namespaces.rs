//! Deletion of namespaces: everything in one is deleted before the namespace itself goes.
//!
//! What there is to delete comes from discovery, so custom resources are included. Pods go first and have to be gone before the
//! rest is touched: they may need their Secrets and Services to end well. What remains is told in the namespace's conditions.

use std::time::Duration;

use client::conditions::{self, Condition};
use client::controller::{Action, Controller};
use client::discovery::Served;
use client::dynamic::{DeleteOptions, ListOptions};
use client::resource::NAMESPACES;
use client::{Api, Client, Error, Key, Resources};
use jiff::Timestamp;
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const ACCOUNT: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["delete", "get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["namespaces/finalize", "namespaces/status"], "verbs": ["update"] },
        { "apiGroups": ["*"], "resources": ["*"], "verbs": ["delete", "deletecollection", "get", "list"] },
    ])
}

pub(crate) async fn run(client: Client, resources: Resources, shutdown: CancellationToken) {
    let this = Namespaces { namespaces: Api::new(&client, &NAMESPACES), client: client.clone(), resources };
    Controller::new("namespace", client)
        .primary(NAMESPACES)
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

#[derive(Clone)]
struct Namespaces {
    namespaces: Api,
    client: Client,
    resources: Resources,
}

/// How soon a namespace is looked at again whose content has not gone yet. Finalizers and pods take their own time, and no
/// watch covers everything that can be in a namespace.
const AGAIN: Duration = Duration::from_millis(300);
const AGAIN_LATER: Duration = Duration::from_secs(3);

/// What is left after a round of deletion.
#[derive(Debug, Default)]
struct Remaining {
    /// Objects by type.
    objects: Vec<(String, usize)>,
    /// Objects by finalizer.
    finalizers: std::collections::BTreeMap<String, usize>,
    /// What could not be asked or deleted.
    failures: Vec<String>,
}

impl Remaining {
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty()
    }
}

impl Namespaces {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.find(key).await? else { return Ok(Action::Done) };
        let finalizers = || namespace["spec"]["finalizers"].as_array().into_iter().flatten();
        if !meta::is_deleting(&namespace) || !finalizers().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Action::Done);
        }
        let mut namespace = namespace.clone();
        if namespace["status"]["phase"] != "Terminating" {
            namespace["status"]["phase"] = json!("Terminating");
            namespace = self.namespaces.replace_status(&namespace).await?;
        }
        let (remaining, undiscovered) = self.empty(&key.name).await;
        let mut status = namespace["status"].clone();
        report(&mut status, &remaining, undiscovered.as_ref(), Timestamp::now());
        if status != namespace["status"] {
            namespace["status"] = status;
            namespace = self.namespaces.replace_status(&namespace).await?;
        }
        if let Some(error) = undiscovered {
            return Err(error);
        }
        if !remaining.is_empty() {
            let old = meta::deletion_timestamp(&namespace)
                .and_then(|time| time.parse::<Timestamp>().ok())
                .is_some_and(|time| Timestamp::now().duration_since(time).as_secs() > 30);
            return Ok(Action::RequeueAfter(if old { AGAIN_LATER } else { AGAIN }));
        }
        let kept: Vec<Value> =
            finalizers_of(&namespace).filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        namespace["spec"]["finalizers"] = Value::Array(kept);
        match self.namespaces.replace_subresource(key, "finalize", &namespace).await {
            Err(error) if error.is_not_found() => Ok(Action::Done),
            other => other.map(|_| Action::Done),
        }
    }

    /// One round over everything in the namespace; the error is discovery's.
    async fn empty(&self, namespace: &str) -> (Remaining, Option<Error>) {
        let mut remaining = Remaining::default();
        let catalog = match self.resources.catalog().await {
            Ok(catalog) => catalog,
            Err(error) => return (remaining, Some(error)),
        };
        let mut types: Vec<&Served> = catalog
            .preferred_types()
            .into_iter()
            .filter(|served| served.resource.namespaced && served.can("list") && served.can("delete"))
            .collect();
        // Events last: deleting other things still causes some.
        types.sort_by_key(|served| match (&*served.resource.group, &*served.resource.plural) {
            ("", "pods") => 0,
            (_, "events") => 2,
            _ => 1,
        });
        for served in types {
            self.empty_type(namespace, served, &mut remaining).await;
            let pods = served.resource == client::resource::PODS;
            if pods && !remaining.objects.is_empty() {
                break;
            }
        }
        (remaining, None)
    }

    async fn empty_type(&self, namespace: &str, served: &Served, remaining: &mut Remaining) {
        let api = Api::new(&self.client, &served.resource);
        if let Err(error) = self.empty_api(&api, namespace, served, remaining).await {
            // A type that went away meanwhile has no objects.
            if !error.is_not_found() {
                remaining.failures.push(format!("{}: {}", served.resource, error.message()));
            }
        }
    }

    async fn empty_api(
        &self,
        api: &Api,
        namespace: &str,
        served: &Served,
        remaining: &mut Remaining,
    ) -> Result<(), Error> {
        let metadata = ListOptions { metadata_only: true, ..ListOptions::default() };
        let found = api.list_all(Some(namespace), &metadata).await?.items;
        if found.iter().any(|object| !meta::is_deleting(object)) {
            let options = DeleteOptions::background();
            if served.can("deletecollection") {
                api.delete_collection(Some(namespace), &ListOptions::all(), &options).await?;
            } else {
                for object in found.iter().filter(|object| !meta::is_deleting(object)) {
                    api.delete_if_exists(&Key::of(object), &options).await?;
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let left = api.list_all(Some(namespace), &metadata).await?.items;
        if !left.is_empty() {
            remaining.objects.push((served.resource.to_string(), left.len()));
        }
        for finalizer in left.iter().flat_map(meta::finalizers) {
            *remaining.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
        Ok(())
    }
}

fn finalizers_of(namespace: &Value) -> impl Iterator<Item = &Value> {
    namespace["spec"]["finalizers"].as_array().into_iter().flatten()
}

/// The five conditions of a namespace that goes away, in upstream's words.
fn report(status: &mut Value, remaining: &Remaining, undiscovered: Option<&Error>, now: Timestamp) {
    let counted = |entries: &mut dyn Iterator<Item = String>| entries.collect::<Vec<_>>().join(", ");
    let objects = counted(
        &mut remaining.objects.iter().map(|(name, count)| format!("{name} has {count} resource instances")),
    );
    let finalizers = counted(
        &mut remaining.finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")),
    );
    let choose = |kind, bad: Option<String>, bad_reason, good_reason, good_message| match bad {
        Some(message) => Condition::new(kind, "True", bad_reason, message),
        None => Condition::new(kind, "False", good_reason, good_message),
    };
    let some = |condition: bool, text: String| condition.then_some(text);
    let list = [
        choose(
            "NamespaceDeletionDiscoveryFailure",
            undiscovered.map(Error::message),
            "DiscoveryFailed",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        choose(
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "GroupVersionParsingFailed",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        choose(
            "NamespaceDeletionContentFailure",
            some(
                !remaining.failures.is_empty(),
                format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    remaining.failures.len(),
                    remaining.failures.join(", ")
                ),
            ),
            "ContentDeletionFailed",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        choose(
            "NamespaceContentRemaining",
            some(!remaining.objects.is_empty(), format!("Some resources are remaining: {objects}")),
            "SomeResourcesRemain",
            "ContentRemoved",
            "All content successfully removed",
        ),
        choose(
            "NamespaceFinalizersRemaining",
            some(
                !remaining.finalizers.is_empty(),
                format!("Some content in the namespace has finalizers remaining: {finalizers}"),
            ),
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    for condition in list {
        conditions::set_plain(status, &condition, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_told() {
        let mut remaining = Remaining::default();
        remaining.objects.push(("pods".to_owned(), 2));
        remaining.finalizers.insert("example.com/x".to_owned(), 1);
        let mut status = json!({ "phase": "Terminating" });
        report(&mut status, &remaining, None, "2026-01-01T00:00:00Z".parse().unwrap());
        let message = |kind: &str| conditions::find(&status, kind).unwrap()["message"].clone();
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: pods has 2 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances"
        );
        assert!(!conditions::is_true(&status, "NamespaceDeletionContentFailure"));
        assert_eq!(status["conditions"].as_array().unwrap().len(), 5);
    }
}
