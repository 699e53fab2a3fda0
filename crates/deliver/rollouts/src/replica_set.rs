//! ReplicaSets of a Rollout: how they are read, recognised and made.

use objects::meta::{self, OwnerReference};
use serde_json::{Map, Value, json};

use crate::counts::Side;
use crate::hash::template_hash;
use crate::spec::Spec;

/// The label that carries the template's hash, on ReplicaSets and Pods.
pub(crate) const HASH_LABEL: &str = "rollouts-pod-template-hash";

pub(crate) const REVISION: &str = "rollout.argoproj.io/revision";
pub(crate) const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
pub(crate) const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";

/// Annotations of a Rollout that are not its ReplicaSets'.
const OWN_ANNOTATIONS: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    "rollout.argoproj.io/workload-generation",
];

/// What the plan needs to know of a ReplicaSet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplicaSet {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) revision: i64,
    pub(crate) created: String,
    pub(crate) side: Side,
    /// Pods that exist, and that are ready.
    pub(crate) replicas: i64,
    pub(crate) ready: i64,
    /// The message of a `ReplicaFailure` condition: Pods could not be made.
    pub(crate) failure: Option<String>,
    pub(crate) annotations: Map<String, Value>,
    template: Value,
}

impl ReplicaSet {
    pub(crate) fn read(object: &Value) -> Self {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let failure = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True")
            .map(|condition| condition["message"].as_str().unwrap_or_default().to_owned());
        let mut template = object["spec"]["template"].clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
        Self {
            name: meta::name(object).to_owned(),
            hash: meta::label(object, HASH_LABEL).unwrap_or_default().to_owned(),
            revision: meta::annotation(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0),
            created: meta::creation_timestamp(object).unwrap_or_default().to_owned(),
            side: Side { spec: number("/spec/replicas"), available: number("/status/availableReplicas") },
            replicas: number("/status/replicas"),
            ready: number("/status/readyReplicas"),
            failure,
            annotations: meta::annotations(object).cloned().unwrap_or_default(),
            template: normal_template(&template),
        }
    }

    /// Whether it was made of this template.
    pub(crate) fn is_of(&self, template: &Value) -> bool {
        self.template == normal_template(template)
    }
}

/// A template as the API would store it, without what says nothing: the defaults of Pods are filled in for ReplicaSets,
/// and a Rollout, being a custom resource, has them not.
fn normal_template(template: &Value) -> Value {
    let mut set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"template": template}});
    objects::defaults::apply(&mut set);
    let mut template = set["spec"]["template"].take();
    without_nulls(&mut template);
    template
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The ReplicaSet of the Rollout's template, to be created without Pods.
pub(crate) fn make(rollout: &Value, spec: &Spec, revision: i64, collisions: Option<u32>) -> Value {
    let hash = template_hash(&spec.template, collisions);
    let hash_label = |labels: &Value| {
        let mut labels = labels.as_object().cloned().unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), hash.as_str().into());
        Value::Object(labels)
    };
    let mut annotations: Map<String, Value> = meta::annotations(rollout)
        .into_iter()
        .flatten()
        .filter(|(name, _)| !OWN_ANNOTATIONS.contains(&name.as_str()) && !name.starts_with("notified."))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    annotations.insert(REVISION.to_owned(), revision.to_string().into());
    annotations.insert(DESIRED_REPLICAS.to_owned(), spec.bounds.replicas.to_string().into());
    let mut template = spec.template.clone();
    without_nulls(&mut template);
    template["metadata"]["labels"] = hash_label(&template["metadata"]["labels"]);
    let mut selector = spec.selector.clone();
    selector["matchLabels"] = hash_label(&selector["matchLabels"]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", meta::name(rollout)),
            "namespace": meta::namespace(rollout),
            "labels": hash_label(&spec.template["metadata"]["labels"]),
            "annotations": annotations,
            "ownerReferences": [OwnerReference::controller(rollout).to_value()],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout() -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {
                "name": "gateway", "namespace": "gateway", "uid": "u",
                "annotations": {"team": "a", REVISION: "3", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
            },
            "spec": {
                "replicas": 2, "strategy": {"canary": {}}, "selector": {"matchLabels": {"app": "g"}},
                "template": {
                    "metadata": {"creationTimestamp": null, "labels": {"app": "g"}},
                    "spec": {"containers": [{"name": "c", "image": "i:1"}]},
                },
            },
        })
    }

    #[test]
    fn is_made_and_recognised() {
        let rollout = rollout();
        let spec = Spec::parse(&rollout).unwrap();
        let made = make(&rollout, &spec, 4, None);
        let hash = template_hash(&spec.template, None);
        assert_eq!(meta::name(&made), format!("gateway-{hash}"));
        for pointer in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            assert_eq!(made.pointer(pointer).unwrap(), &json!({"app": "g", HASH_LABEL: hash}), "{pointer}");
        }
        assert_eq!(
            made["metadata"]["annotations"],
            json!({"team": "a", REVISION: "4", DESIRED_REPLICAS: "2"})
        );
        assert_eq!(made["spec"]["replicas"], 0);

        // The server fills in defaults; the template is recognised all the same.
        let mut stored = made;
        objects::defaults::apply(&mut stored);
        assert_ne!(stored["spec"]["template"]["spec"], spec.template["spec"]);
        let read = ReplicaSet::read(&stored);
        assert!(read.is_of(&spec.template));
        assert_eq!((read.revision, read.hash), (4, hash));
        let mut other = spec.template.clone();
        other["spec"]["containers"][0]["image"] = "i:2".into();
        assert!(!ReplicaSet::read(&stored).is_of(&other));
    }
}
