//! What is particular to some kinds when they are written: upstream calls it their strategy.

mod certificate;
mod definition;
mod gates;
mod namespace;
mod service;

use objects::meta;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use crate::catalog::{Origin, Resource};
use crate::cleanup;
use crate::core::Call;
use crate::quota;
use crate::write::Outcome;

/// Built-in kinds whose specification has a generation.
const GENERATIONS: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "replicationcontrollers"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("", "podtemplates"),
    ("discovery.k8s.io", "endpointslices"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
];

/// Kinds whose status is part of what a client creates.
const STATUS_WITH_CREATE: &[(&str, &str)] = &[("", "nodes")];

fn listed(list: &[(&str, &str)], resource: &Resource) -> bool {
    list.iter().any(|(group, plural)| resource.is(group, plural))
}

pub(crate) fn has_generation(resource: &Resource) -> bool {
    match resource.origin {
        Origin::Custom(_) => true,
        Origin::Builtin(_) => listed(GENERATIONS, resource),
    }
}

/// Whether an update changes what a controller acts on.
pub(crate) fn spec_changed(resource: &Resource, old: &Value, new: &Value) -> bool {
    match resource.origin {
        // Its controller copies annotations to its ReplicaSets.
        Origin::Builtin(_) if resource.is("apps", "deployments") => {
            old["spec"] != new["spec"] || old["metadata"]["annotations"] != new["metadata"]["annotations"]
        }
        Origin::Builtin(_) if old.get("spec").is_some() || new.get("spec").is_some() => {
            old.get("spec") != new.get("spec")
        }
        Origin::Builtin(_) | Origin::Custom(_) => {
            let with_status = resource.has_subresource("status");
            let relevant = |object: &Value| -> Vec<(String, Value)> {
                let fields = object.as_object().into_iter().flatten();
                fields
                    .filter(|(name, _)| *name != "metadata" && !(with_status && *name == "status"))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            };
            relevant(old) != relevant(new)
        }
    }
}

/// Five random characters after the prefix, of an alphabet without vowels and look-alikes.
pub(crate) fn generate_name(object: &mut Value) {
    const LONGEST_PREFIX: usize = 58;
    let prefix: String =
        meta::generate_name(object).unwrap_or_default().chars().take(LONGEST_PREFIX).collect();
    let name = format!("{prefix}{}", random_suffix());
    meta::set(object, "name", name.into());
}

pub(crate) fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = [0_u8; 5];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Names need to differ, not to be secret.
        bytes.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..5]);
    }
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}

/// What belongs to reading the object: other spellings of its fields.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    complete_owners(object);
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "secrets") => merge_string_data(object),
        ("apps", "daemonsets") => {
            meta::set_annotation(object, "deprecated.daemonset.template.generation", Some("1"));
        }
        ("discovery.k8s.io", "endpointslices") => write_conditions(object),
        _ => {}
    }
}

/// Upstream's type has these fields of an owner even when they are empty, which validation then refuses.
fn complete_owners(object: &mut Value) {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    for owner in owners.into_iter().flatten().filter_map(Value::as_object_mut) {
        for field in ["apiVersion", "kind", "name", "uid"] {
            owner.entry(field).or_insert_with(|| "".into());
        }
    }
}

/// Upstream's type writes the conditions of an endpoint even when there are none.
fn write_conditions(slice: &mut Value) {
    for endpoint in slice.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        if endpoint.is_object() && endpoint["conditions"].is_null() {
            endpoint["conditions"] = json!({});
        }
    }
}

/// Clears what a client may not set and sets what is the server's.
pub(crate) fn prepare_create(call: &Call, object: &mut Value) {
    let resource = &call.resource;
    gates::drop(resource, None, object);
    if resource.has_subresource("status") && !listed(STATUS_WITH_CREATE, resource) {
        match resource.origin {
            Origin::Builtin(_) => object["status"] = json!({}),
            Origin::Custom(_) => {
                if let Some(fields) = object.as_object_mut() {
                    fields.remove("status");
                }
            }
        }
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("resource.k8s.io", "resourceslices") => drop_gated(object),
        ("", "pods") => object["status"] = json!({"phase": "Pending"}),
        ("", "persistentvolumeclaims") => {
            gates::data_sources(object);
            object["status"] = json!({"phase": "Pending"});
        }
        ("", "persistentvolumes") => object["status"] = json!({"phase": "Pending"}),
        ("", "namespaces") => namespace::prepare(object),
        ("batch", "jobs") => select_own_pods(object),
        ("certificates.k8s.io", "certificatesigningrequests") => certificate::prepare(call, object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::prepare(call, None, object),
        _ => {}
    }
}

/// Before defaults: keeps the part that the path does not speak of as it was.
pub(crate) fn prepare_update(call: &Call, old: &Value, new: &mut Value) {
    let resource = &call.resource;
    complete_owners(new);
    gates::drop(resource, Some(old), new);
    match call.info.subresource.as_str() {
        "status" => {
            keep_all_but_status(resource, old, new);
            if resource.is("certificates.k8s.io", "certificatesigningrequests") {
                let conditions = new.pointer_mut("/status/conditions");
                conditions.into_iter().for_each(|conditions| certificate::date(call, old, conditions));
            }
        }
        "finalize" => namespace::keep_all_but_finalizers(old, new),
        "approval" => certificate::keep_all_but_decisions(call, old, new),
        // Binding sets the node and says so in a condition.
        "binding" => {}
        _ => {
            if resource.has_subresource("status") {
                copy(old, new, "status");
            }
        }
    }
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") if call.info.subresource != "finalize" => {
            if let Some(finalizers) = old["spec"].get("finalizers") {
                new["spec"]["finalizers"] = finalizers.clone();
            }
        }
        ("", "secrets") => merge_string_data(new),
        ("resource.k8s.io", "resourceslices") => drop_gated(new),
        ("discovery.k8s.io", "endpointslices") => write_conditions(new),
        ("", "services") if call.info.subresource.is_empty() => service::adapt(old, new),
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::prepare(call, Some(old), new),
        _ => {}
    }
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => {
            if let Some(fields) = to.as_object_mut() {
                fields.remove(field);
            }
        }
    }
}

/// A status write changes the status, and in built-in kinds also annotations and such; a custom resource's metadata
/// stays whole.
fn keep_all_but_status(resource: &Resource, old: &Value, new: &mut Value) {
    let status = new.get("status").cloned();
    let metadata = new["metadata"].clone();
    *new = old.clone();
    match status {
        Some(status) => new["status"] = status,
        None => copy(&Value::Null, new, "status"),
    }
    if let Origin::Builtin(_) = resource.origin {
        let labels = new["metadata"].get("labels").cloned();
        new["metadata"] = metadata;
        if !matches!(resource.plural.as_str(), "nodes" | "pods") {
            meta::set(new, "labels", labels.unwrap_or(Value::Null));
        }
        // Said once, when the Pod was made; older clients do not know it.
        if resource.is("", "pods") && new["status"]["qosClass"].as_str().is_none_or(str::is_empty) {
            copy(&old["status"], &mut new["status"], "qosClass");
        }
    } else if let Some(fields) = metadata.get("managedFields") {
        meta::set(new, "managedFields", fields.clone());
    }
}

/// Fields of a ResourceSlice behind feature gates that are off in 1.34: upstream drops them.
fn drop_gated(slice: &mut Value) {
    const OF_DEVICES: [&str; 9] = [
        "taints",
        "consumesCounters",
        "nodeName",
        "nodeSelector",
        "allNodes",
        "bindsToNode",
        "bindingConditions",
        "bindingFailureConditions",
        "allowMultipleAllocations",
    ];
    let Some(spec) = slice.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.remove("sharedCounters");
    spec.remove("perDeviceNodeSelection");
    let devices = spec.get_mut("devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten().filter_map(Value::as_object_mut) {
        device.retain(|name, _| !OF_DEVICES.contains(&name.as_str()));
    }
}

/// A Job without a selector of its own selects the Pods that carry its uid. Labels and a selector that are given stay:
/// validation tells what is wrong with them.
fn select_own_pods(job: &mut Value) {
    if job["spec"]["manualSelector"] == true || !job["spec"].is_object() {
        return;
    }
    let (name, uid) = (meta::name(job).to_owned(), meta::uid(job).to_owned());
    let spec = &mut job["spec"];
    if !spec["template"].is_object() {
        spec["template"] = json!({});
    }
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        if meta::label(&spec["template"], label).is_none() {
            meta::set_label(&mut spec["template"], label, Some(value));
        }
    }
    let labels = &mut spec["selector"]["matchLabels"];
    if labels.get("batch.kubernetes.io/controller-uid").is_none() {
        labels["batch.kubernetes.io/controller-uid"] = uid.into();
    }
}

/// `stringData` is write-only: its values go into `data`, encoded.
fn merge_string_data(object: &mut Value) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let Some(fields) = object.as_object_mut() else { return };
    let Some(plain) = fields.remove("stringData") else { return };
    let Some(plain) = plain.as_object().filter(|plain| !plain.is_empty()) else { return };
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if !data.is_object() {
        *data = json!({});
    }
    for (key, value) in plain {
        if let Some(text) = value.as_str() {
            data[key] = STANDARD.encode(text).into();
        }
    }
}

/// What else has to be there once the object is. Failures are logged: the write itself is done.
pub(crate) async fn after_write(call: &Call, object: &Value, outcome: Outcome) {
    quota::settle(call, object, outcome).await;
    if outcome == Outcome::Created && call.resource.is("", "namespaces") {
        namespace::furnish(&call.core, meta::name(object)).await;
    }
    if outcome == Outcome::Updated && call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
        cleanup::begin(&call.core, object);
    }
}

pub(crate) use namespace::furnish as furnish_namespace;
