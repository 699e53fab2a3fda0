//! Pods and pod templates.

use serde_json::{Value, json};

use super::{Fields, default, default_text, each, inside, made, text};

/// Fills in the defaults of a pod template's `spec` (the value of `spec`, not of `template`).
pub fn template(spec: &mut Fields) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default_text(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    service_account(spec);
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, |it| container(it, list));
    }
    each(spec, "volumes", volume);
}

/// The deprecated name of the field is kept equal, in both directions.
fn service_account(spec: &mut Fields) {
    let old = text(spec, "serviceAccount").to_owned();
    default_text_if(spec, "serviceAccountName", &old);
    let name = text(spec, "serviceAccountName").to_owned();
    if !name.is_empty() {
        spec.insert("serviceAccount".to_owned(), json!(name));
    }
}

fn default_text_if(fields: &mut Fields, name: &str, value: &str) {
    if !value.is_empty() {
        default_text(fields, name, value);
    }
}

/// Defaults that only a Pod has: templates leave them to the Pods made from them.
pub(super) fn of_a_pod(spec: &mut Fields) {
    template(spec);
    default(spec, "enableServiceLinks", json!(true));
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        each(spec, list, |container| {
            inside(container, &["resources"], requests_from_limits);
            if host_network {
                each(container, "ports", |port| {
                    let number = port.get("containerPort").cloned().unwrap_or_default();
                    if port.get("hostPort").and_then(Value::as_i64).unwrap_or_default() == 0 {
                        port.insert("hostPort".to_owned(), number);
                    }
                });
            }
        });
    }
}

fn requests_from_limits(resources: &mut Fields) {
    let limits = resources.get("limits").and_then(Value::as_object).cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    made(resources, "requests", |requests| {
        for (name, amount) in limits {
            default(requests, &name, amount);
        }
    });
}

/// `Always` for the tag `latest` or none, `IfNotPresent` for any other tag or a digest.
#[must_use]
pub fn image_pull_policy(image: &str) -> &'static str {
    let (image, digest) = image.split_once('@').map_or((image, false), |(image, _)| (image, true));
    // A colon before the last slash belongs to the registry's port.
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "")) if digest => "IfNotPresent",
        None | Some((_, "latest" | "")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn container(fields: &mut Fields, list: &str) {
    let policy = image_pull_policy(text(fields, "image"));
    default_text(fields, "imagePullPolicy", policy);
    default_text(fields, "terminationMessagePath", "/dev/termination-log");
    default_text(fields, "terminationMessagePolicy", "File");
    default(fields, "resources", json!({}));
    each(fields, "ports", |port| default_text(port, "protocol", "TCP"));
    each(fields, "env", |variable| {
        inside(variable, &["valueFrom"], value_source);
    });
    if list != "ephemeralContainers" {
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
            inside(fields, &[name], probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        inside(fields, &["lifecycle", hook, "httpGet"], http_get);
    }
}

fn value_source(source: &mut Fields) {
    inside(source, &["fieldRef"], |field| default_text(field, "apiVersion", "v1"));
    inside(source, &["resourceFieldRef"], |field| default(field, "divisor", json!("0")));
}

fn probe(fields: &mut Fields) {
    for (name, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if fields.get(name).and_then(Value::as_i64).unwrap_or_default() == 0 {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    inside(fields, &["httpGet"], http_get);
    inside(fields, &["grpc"], |grpc| default(grpc, "service", json!("")));
}

fn http_get(action: &mut Fields) {
    default_text(action, "path", "/");
    default_text(action, "scheme", "HTTP");
}

fn volume(fields: &mut Fields) {
    const MODE: u32 = 0o644;
    if !fields.iter().any(|(key, value)| key != "name" && !value.is_null()) {
        fields.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        inside(fields, &[source], |it| default(it, "defaultMode", json!(MODE)));
    }
    inside(fields, &["downwardAPI"], |it| each(it, "items", value_source));
    inside(fields, &["projected"], |projected| {
        each(projected, "sources", |source| {
            inside(source, &["downwardAPI"], |it| each(it, "items", value_source));
            inside(source, &["serviceAccountToken"], |it| default(it, "expirationSeconds", json!(3600)));
        });
    });
    inside(fields, &["hostPath"], |it| default(it, "type", json!("")));
    inside(fields, &["image"], |image| {
        let policy = image_pull_policy(text(image, "reference"));
        default_text(image, "pullPolicy", policy);
    });
    inside(fields, &["ephemeral", "volumeClaimTemplate", "spec"], |it| {
        default(it, "volumeMode", json!("Filesystem"));
    });
    inside(fields, &["iscsi"], |it| default_text(it, "iscsiInterface", "default"));
    inside(fields, &["rbd"], |it| {
        default_text(it, "pool", "rbd");
        default_text(it, "user", "admin");
        default_text(it, "keyring", "/etc/ceph/keyring");
    });
    inside(fields, &["azureDisk"], |it| {
        default(it, "cachingMode", json!("ReadWrite"));
        default(it, "kind", json!("Shared"));
        default(it, "fsType", json!("ext4"));
        default(it, "readOnly", json!(false));
    });
}
