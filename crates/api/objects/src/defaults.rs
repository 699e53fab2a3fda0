//! Upstream's defaults of the built-in kinds of Kubernetes 1.34 (`zz_generated.defaults.go` and what it calls).
//!
//! Only what the API's own defaulting does. What admission adds (service accounts, priorities, tolerations) and
//! what a registry allocates (cluster addresses, node ports, IP families) is the server's.

mod devices;
mod pod;
mod service;
mod workload;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::gvk::GroupVersionKind;

pub use pod::{image_pull_policy, template};

type Fields = Map<String, Value>;

/// Fills in the defaults of an object of a built-in kind; other objects stay as they are. Applying it twice is the
/// same as once.
pub fn apply(object: &mut Value) {
    let Some(gvk) = GroupVersionKind::of(object) else { return };
    let Some(fields) = object.as_object_mut() else { return };
    match gvk.group.as_str() {
        "" => core(&gvk.kind, fields),
        "apps" => workload::apps(&gvk.kind, fields),
        "batch" => workload::batch(&gvk.kind, fields),
        "autoscaling" => workload::autoscaling(&gvk, fields),
        "discovery.k8s.io" if gvk.kind == "EndpointSlice" => {
            each(fields, "ports", |port| {
                default(port, "name", json!(""));
                default(port, "protocol", json!("TCP"));
            });
        }
        "networking.k8s.io" => service::networking(&gvk.kind, fields),
        "rbac.authorization.k8s.io" => rbac(&gvk.kind, fields),
        "resource.k8s.io" => devices::resource(&gvk.kind, fields),
        "storage.k8s.io" => storage(&gvk.kind, fields),
        "scheduling.k8s.io" if gvk.kind == "PriorityClass" => {
            default(fields, "preemptionPolicy", json!("PreemptLowerPriority"));
        }
        "admissionregistration.k8s.io" => webhooks(&gvk.kind, fields),
        "apiextensions.k8s.io" if gvk.kind == "CustomResourceDefinition" => definition(fields),
        "apiregistration.k8s.io" if gvk.kind == "APIService" => {
            inside(fields, &["spec", "service"], |service| default(service, "port", json!(443)));
        }
        _ => {}
    }
}

/// Sets a field that is absent or null.
fn default(fields: &mut Fields, name: &str, value: Value) {
    if is_absent(fields, name) {
        fields.insert(name.to_owned(), value);
    }
}

fn is_absent(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_none_or(Value::is_null)
}

/// As [`default`], also over an empty string, for fields whose Go type is a plain string.
fn default_text(fields: &mut Fields, name: &str, value: &str) {
    if fields.get(name).is_none_or(|present| present.is_null() || present == "") {
        fields.insert(name.to_owned(), json!(value));
    }
}

/// Runs on the map at a path, if there is one.
fn inside(fields: &mut Fields, path: &[&str], run: impl FnOnce(&mut Fields)) {
    match path {
        [] => run(fields),
        [name, rest @ ..] => {
            if let Some(below) = fields.get_mut(*name).and_then(Value::as_object_mut) {
                inside(below, rest, run);
            }
        }
    }
}

/// The map at a name, made if absent. Something else at its place is left to validation: the closure does not run.
fn made(fields: &mut Fields, name: &str, run: impl FnOnce(&mut Fields)) {
    default(fields, name, json!({}));
    inside(fields, &[name], run);
}

/// Runs on each map of a list.
fn each(fields: &mut Fields, name: &str, mut run: impl FnMut(&mut Fields)) {
    let items = fields.get_mut(name).and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        run(item);
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn core(kind: &str, fields: &mut Fields) {
    match kind {
        "Pod" => inside(fields, &["spec"], pod::of_a_pod),
        "PodTemplate" => inside(fields, &["template", "spec"], template),
        "ReplicationController" => workload::replication_controller(fields),
        "Service" => service::service(fields),
        "Endpoints" => each(fields, "subsets", |subset| {
            each(subset, "ports", |port| default(port, "protocol", json!("TCP")));
        }),
        "Secret" => default_text(fields, "type", "Opaque"),
        "PersistentVolumeClaim" => claim(fields),
        "PersistentVolume" => {
            inside(fields, &["spec"], |spec| {
                default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
                default(spec, "volumeMode", json!("Filesystem"));
                inside(spec, &["hostPath"], |host_path| default(host_path, "type", json!("")));
            });
            made(fields, "status", |status| default_text(status, "phase", "Pending"));
        }
        "Namespace" => {
            let name =
                fields.get("metadata").and_then(|metadata| metadata.get("name")?.as_str().map(str::to_owned));
            if let Some(name) = name {
                made(fields, "metadata", |metadata| {
                    made(metadata, "labels", |labels| {
                        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
                    });
                });
            }
            made(fields, "status", |status| default_text(status, "phase", "Active"));
        }
        "Node" => inside(fields, &["status"], |status| {
            if let Some(capacity) = status.get("capacity").cloned() {
                default(status, "allocatable", capacity);
            }
        }),
        "LimitRange" => inside(fields, &["spec"], |spec| each(spec, "limits", limit_range)),
        _ => {}
    }
}

/// The limits of a container default to its maximum, its requests to the limits or the minimum.
fn limit_range(item: &mut Fields) {
    if text(item, "type") != "Container" {
        return;
    }
    for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        let source = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        if source.is_empty() && is_absent(item, to) {
            continue;
        }
        made(item, to, |target| {
            for (name, amount) in source {
                default(target, &name, amount);
            }
        });
    }
}

/// Defaults of a PersistentVolumeClaim, also of one in a StatefulSet's templates.
fn claim(fields: &mut Fields) {
    inside(fields, &["spec"], |spec| default(spec, "volumeMode", json!("Filesystem")));
    made(fields, "status", |status| default_text(status, "phase", "Pending"));
}

fn rbac(kind: &str, fields: &mut Fields) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if !matches!(kind, "RoleBinding" | "ClusterRoleBinding") {
        return;
    }
    inside(fields, &["roleRef"], |role| default_text(role, "apiGroup", GROUP));
    each(fields, "subjects", |subject| {
        if matches!(text(subject, "kind"), "User" | "Group") {
            default_text(subject, "apiGroup", GROUP);
        }
    });
}

fn storage(kind: &str, fields: &mut Fields) {
    match kind {
        "StorageClass" => {
            default(fields, "reclaimPolicy", json!("Delete"));
            default(fields, "volumeBindingMode", json!("Immediate"));
        }
        "CSIDriver" => inside(fields, &["spec"], |spec| {
            default(spec, "attachRequired", json!(true));
            default(spec, "podInfoOnMount", json!(false));
            default(spec, "storageCapacity", json!(false));
            default(spec, "fsGroupPolicy", json!("ReadWriteOnceWithFSType"));
            default(spec, "requiresRepublish", json!(false));
            default(spec, "seLinuxMount", json!(false));
            default(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }),
        _ => {}
    }
}

fn webhooks(kind: &str, fields: &mut Fields) {
    let mutating = kind == "MutatingWebhookConfiguration";
    if !mutating && kind != "ValidatingWebhookConfiguration" {
        return;
    }
    each(fields, "webhooks", |webhook| {
        default(webhook, "failurePolicy", json!("Fail"));
        default(webhook, "matchPolicy", json!("Equivalent"));
        default(webhook, "namespaceSelector", json!({}));
        default(webhook, "objectSelector", json!({}));
        default(webhook, "timeoutSeconds", json!(10));
        if mutating {
            default(webhook, "reinvocationPolicy", json!("Never"));
        }
        each(webhook, "rules", |rule| default(rule, "scope", json!("*")));
        inside(webhook, &["clientConfig", "service"], |service| default(service, "port", json!(443)));
    });
}

fn definition(fields: &mut Fields) {
    inside(fields, &["spec"], |spec| {
        made(spec, "conversion", |conversion| {
            default_text(conversion, "strategy", "None");
            inside(conversion, &["webhook", "clientConfig", "service"], |service| {
                default(service, "port", json!(443));
            });
        });
        inside(spec, &["names"], |names| {
            let kind = text(names, "kind").to_owned();
            if !kind.is_empty() {
                default_text(names, "singular", &kind.to_lowercase());
                default_text(names, "listKind", &format!("{kind}List"));
            }
        });
    });
}
