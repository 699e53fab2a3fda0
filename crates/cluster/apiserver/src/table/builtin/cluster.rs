//! Nodes, namespaces, accounts, roles, and other things of the cluster as a whole.

use jiff::Timestamp;
use objects::meta;
use serde_json::Value;

use super::{
    AGE, NAME, Printer, at, created, integer, items, joined, name, number, or_none, string, text, wide,
};

pub(super) fn core(plural: &str) -> Option<Printer> {
    Some(match plural {
        "nodes" => Printer {
            columns: const {
                &[
                    NAME,
                    text("Status"),
                    text("Roles"),
                    AGE,
                    text("Version"),
                    wide("Internal-IP"),
                    wide("External-IP"),
                    wide("OS-Image"),
                    wide("Kernel-Version"),
                    wide("Container-Runtime"),
                ]
            },
            cells: node,
        },
        "namespaces" => Printer {
            columns: const { &[NAME, text("Status"), AGE] },
            cells: |object, now| {
                vec![name(object), string(object, "/status/phase").into(), created(object, now)]
            },
        },
        "serviceaccounts" => Printer {
            columns: const { &[NAME, number("Secrets"), AGE] },
            cells: |object, now| {
                vec![name(object), items(object, "/secrets").len().into(), created(object, now)]
            },
        },
        "resourcequotas" => {
            Printer { columns: const { &[NAME, text("Request"), text("Limit"), AGE] }, cells: quota }
        }
        _ => return None,
    })
}

pub(super) fn printer(group: &str, plural: &str) -> Option<Printer> {
    Some(match (group, plural) {
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => Printer {
            columns: const { &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")] },
            cells: binding,
        },
        ("coordination.k8s.io", "leases") => Printer {
            columns: const { &[NAME, text("Holder"), AGE] },
            cells: |object, now| {
                vec![name(object), string(object, "/spec/holderIdentity").into(), created(object, now)]
            },
        },
        ("scheduling.k8s.io", "priorityclasses") => Printer {
            columns: const { &[NAME, number("Value"), text("Global-Default"), AGE, text("PreemptionPolicy")] },
            cells: |object, now| {
                let global = at(object, "/globalDefault").as_bool().unwrap_or(false);
                let policy = string(object, "/preemptionPolicy").into();
                vec![
                    name(object),
                    integer(object, "/value").into(),
                    global.into(),
                    created(object, now),
                    policy,
                ]
            },
        },
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => Printer {
            columns: const { &[NAME, number("Webhooks"), AGE] },
            cells: |object, now| {
                vec![name(object), items(object, "/webhooks").len().into(), created(object, now)]
            },
        },
        ("apiregistration.k8s.io", "apiservices") => Printer {
            columns: const { &[NAME, text("Service"), text("Available"), AGE] },
            cells: |object, now| {
                let service = at(object, "/spec/service");
                let service = if service.is_object() {
                    format!("{}/{}", string(service, "/namespace"), string(service, "/name"))
                } else {
                    "Local".to_owned()
                };
                let available = items(object, "/status/conditions")
                    .iter()
                    .find(|condition| condition["type"] == "Available");
                let available =
                    available.and_then(|condition| condition["status"].as_str()).unwrap_or("Unknown");
                vec![name(object), service.into(), available.into(), created(object, now)]
            },
        },
        ("certificates.k8s.io", "certificatesigningrequests") => Printer {
            columns: const {
                &[
                    NAME,
                    AGE,
                    text("SignerName"),
                    text("Requestor"),
                    text("RequestedDuration"),
                    text("Condition"),
                ]
            },
            cells: |object, now| {
                let conditions = items(object, "/status/conditions")
                    .iter()
                    .filter_map(|condition| condition["type"].as_str());
                let mut state = joined(conditions);
                if state.is_empty() {
                    "Pending".clone_into(&mut state);
                }
                if !string(object, "/status/certificate").is_empty() {
                    state.push_str(",Issued");
                }
                let duration = at(object, "/spec/expirationSeconds").as_i64();
                vec![
                    name(object),
                    created(object, now),
                    string(object, "/spec/signerName").into(),
                    string(object, "/spec/username").into(),
                    duration.map_or("<none>".into(), |seconds| crate::table::human_duration(seconds).into()),
                    state.into(),
                ]
            },
        },
        _ => return None,
    })
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(object, "/status/conditions").iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready.map(|condition| &condition["status"]) {
        Some(status) if status == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(object, "/spec/unschedulable") == true {
        status.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in meta::labels(object).into_iter().flatten() {
        if let Some(role) = label.strip_prefix("node-role.kubernetes.io/") {
            roles.push(role);
        } else if label == "kubernetes.io/role" {
            roles.extend(value.as_str());
        }
    }
    let address = |kind: &str| {
        let found = items(object, "/status/addresses").iter().find(|address| address["type"] == kind);
        or_none(found.and_then(|address| address["address"].as_str()).unwrap_or_default())
    };
    let info = |field: &str| {
        let value = string(object, &format!("/status/nodeInfo/{field}"));
        if value.is_empty() { Value::from("<unknown>") } else { value.into() }
    };
    vec![
        name(object),
        status.into(),
        or_none(&roles.join(",")),
        created(object, now),
        string(object, "/status/nodeInfo/kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let list = items(object, "/subjects").iter().filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = list
            .map(|subject| match subject["namespace"].as_str() {
                Some(namespace) if kind == "ServiceAccount" => {
                    format!("{namespace}/{}", string(subject, "/name"))
                }
                _ => string(subject, "/name").to_owned(),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let role = format!("{}/{}", string(object, "/roleRef/kind"), string(object, "/roleRef/name"));
    vec![
        name(object),
        role.into(),
        created(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in at(object, "/status/hard").as_object().into_iter().flatten() {
        let used = at(object, "/status/used")[resource].as_str().unwrap_or("0").to_owned();
        let entry = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits") { limits.push(entry) } else { requests.push(entry) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), created(object, now)]
}
