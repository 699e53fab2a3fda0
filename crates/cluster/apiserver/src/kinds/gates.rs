//! Fields of features that upstream's release has, and has turned off: they are dropped without a word, as there.

use serde_json::{Map, Value};

use crate::catalog::Resource;

/// What is done with a field of such a feature: its parent and its name.
type Act<'a> = dyn FnMut(&mut Map<String, Value>, &str) + 'a;

/// Drops them from an object of a built-in kind, unless the object that it replaces has such fields already.
pub(super) fn drop(resource: &Resource, old: Option<&Value>, object: &mut Value) {
    if !uses(resource, object) {
        return;
    }
    let used = old.is_some_and(|old| uses(resource, &mut old.clone()));
    if !used {
        visit(resource, object, &mut |parent, field| {
            parent.remove(field);
        });
    }
}

fn uses(resource: &Resource, object: &mut Value) -> bool {
    let mut used = false;
    visit(resource, object, &mut |_, _| used = true);
    used
}

fn visit(resource: &Resource, object: &mut Value, act: &mut Act<'_>) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => of_pod(object.get_mut("spec"), act),
        ("", "podtemplates") => of_pod(object.pointer_mut("/template/spec"), act),
        ("", "replicationcontrollers") | ("batch", "jobs") | ("apps", _) => {
            of_pod(object.pointer_mut("/spec/template/spec"), act);
            if matches!(resource.plural.as_str(), "deployments" | "replicasets") {
                fields(object.get_mut("status"), &["terminatingReplicas"], act);
            }
            if resource.plural == "statefulsets" {
                fields(object.pointer_mut("/spec/updateStrategy/rollingUpdate"), &["maxUnavailable"], act);
            }
        }
        ("batch", "cronjobs") => of_pod(object.pointer_mut("/spec/jobTemplate/spec/template/spec"), act),
        ("autoscaling", "horizontalpodautoscalers") => {
            for direction in ["/spec/behavior/scaleUp", "/spec/behavior/scaleDown"] {
                fields(object.pointer_mut(direction), &["tolerance"], act);
            }
        }
        ("coordination.k8s.io", "leases") => {
            fields(object.get_mut("spec"), &["strategy", "preferredHolder"], act);
        }
        ("discovery.k8s.io", "endpointslices") => {
            for endpoint in items(object.get_mut("endpoints")) {
                field(endpoint, "deprecatedTopology", act);
            }
        }
        ("storage.k8s.io", "csidrivers") => {
            fields(object.get_mut("spec"), &["nodeAllocatableUpdatePeriodSeconds"], act);
        }
        _ => {}
    }
}

fn field(parent: &mut Map<String, Value>, field: &str, act: &mut Act<'_>) {
    if parent.contains_key(field) {
        act(parent, field);
    }
}

fn fields(parent: Option<&mut Value>, names: &[&str], act: &mut Act<'_>) {
    if let Some(parent) = parent.and_then(Value::as_object_mut) {
        names.iter().for_each(|name| field(parent, name, act));
    }
}

fn items(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn of_pod(spec: Option<&mut Value>, act: &mut Act<'_>) {
    let Some(spec) = spec.and_then(Value::as_object_mut) else { return };
    field(spec, "hostnameOverride", act);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec.get_mut(list)) {
            field(container, "restartPolicyRules", act);
            // Initial containers that go on running are a feature of their own.
            if list != "initContainers"
                || container.get("restartPolicy").is_some_and(|policy| policy != "Always")
            {
                field(container, "restartPolicy", act);
            }
            fields(container.get_mut("lifecycle"), &["stopSignal"], act);
        }
    }
    for volume in items(spec.get_mut("volumes")) {
        let sources = volume.get_mut("projected").and_then(|volume| volume.get_mut("sources"));
        for source in items(sources) {
            field(source, "clusterTrustBundle", act);
            field(source, "podCertificate", act);
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
        of_pod(Some(&mut spec), &mut |parent, field| {
            parent.remove(field);
        });
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
