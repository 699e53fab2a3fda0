//! Fields of features that upstream's release has, and has turned off: they are dropped without a word, as there.

use serde_json::{Map, Value};

use crate::catalog::Resource;

/// Drops them from an object of a built-in kind.
pub(super) fn drop(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => of_pod(object.get_mut("spec")),
        ("", "podtemplates") => of_pod(object.pointer_mut("/template/spec")),
        ("", "replicationcontrollers") | ("batch", "jobs") | ("apps", _) => {
            of_pod(object.pointer_mut("/spec/template/spec"));
            if resource.plural == "statefulsets" {
                remove(object.pointer_mut("/spec/updateStrategy/rollingUpdate"), &["maxUnavailable"]);
            }
        }
        ("batch", "cronjobs") => of_pod(object.pointer_mut("/spec/jobTemplate/spec/template/spec")),
        ("autoscaling", "horizontalpodautoscalers") => {
            for direction in ["/spec/behavior/scaleUp", "/spec/behavior/scaleDown"] {
                remove(object.pointer_mut(direction), &["tolerance"]);
            }
        }
        ("coordination.k8s.io", "leases") => {
            remove(object.get_mut("spec"), &["strategy", "preferredHolder"]);
        }
        ("discovery.k8s.io", "endpointslices") => {
            items(object.get_mut("endpoints")).for_each(|endpoint| {
                endpoint.remove("deprecatedTopology");
            });
        }
        ("storage.k8s.io", "csidrivers") => {
            remove(object.get_mut("spec"), &["nodeAllocatableUpdatePeriodSeconds"]);
        }
        _ => {}
    }
}

fn remove(parent: Option<&mut Value>, fields: &[&str]) {
    if let Some(parent) = parent.and_then(Value::as_object_mut) {
        fields.iter().for_each(|field| {
            parent.remove(*field);
        });
    }
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn of_pod(spec: Option<&mut Value>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else { return };
    spec.remove("hostnameOverride");
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec.get_mut(list)) {
            container.remove("restartPolicyRules");
            // Initial containers that go on running are a feature of their own.
            if list != "initContainers"
                || container.get("restartPolicy").is_some_and(|policy| policy != "Always")
            {
                container.remove("restartPolicy");
            }
            remove(container.get_mut("lifecycle"), &["stopSignal"]);
        }
    }
    for volume in items(spec.get_mut("volumes")) {
        let sources = volume.get_mut("projected").and_then(|volume| volume.get_mut("sources"));
        for source in items(sources) {
            source.remove("clusterTrustBundle");
            source.remove("podCertificate");
        }
    }
}

/// A claim says where its data comes from in two fields, of which older clients know one.
pub(super) fn data_sources(claim: &mut Value) {
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let known = |source: &Value| {
        matches!(
            (&*text(source, "apiGroup"), &*text(source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    // Data of other namespaces is a feature that is off.
    if spec.get("dataSourceRef").is_some_and(|reference| !text(reference, "namespace").is_empty()) {
        spec.remove("dataSourceRef");
    }
    if spec.get("dataSource").is_some_and(|source| !known(source)) {
        spec.remove("dataSource");
    }
    for (from, to) in [("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")] {
        if let Some(source) = spec.get(from).filter(|_| !spec.contains_key(to)).cloned() {
            spec.insert(to.to_owned(), source);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_keeps_what_is_on() {
        let mut spec = json!({
            "containers": [{"name": "c", "restartPolicy": "Always", "lifecycle": {"stopSignal": "SIGTERM"}}],
            "initContainers": [{"restartPolicy": "Always"}, {"restartPolicy": "Never"}],
            "volumes": [{"projected": {"sources": [{"secret": {}, "podCertificate": {}}]}}],
        });
        of_pod(Some(&mut spec));
        assert_eq!(
            spec,
            json!({
                "containers": [{"name": "c", "lifecycle": {}}],
                "initContainers": [{"restartPolicy": "Always"}, {}],
                "volumes": [{"projected": {"sources": [{"secret": {}}]}}],
            })
        );
    }

    #[test]
    fn a_claim_says_twice_where_its_data_is() {
        let source = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let mut claim = json!({"spec": {"dataSource": source}});
        data_sources(&mut claim);
        assert_eq!(claim["spec"]["dataSourceRef"], source);
        let mut claim = json!({"spec": {"dataSource": {"kind": "Pod"}, "dataSourceRef": {"namespace": "x"}}});
        data_sources(&mut claim);
        assert_eq!(claim, json!({"spec": {}}));
    }
}
