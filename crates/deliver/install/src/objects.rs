//! The objects of an installation.

use serde_json::{Value, json};

use crate::source::{Source, each, is_set};
use crate::{NAME, PART_OF, PORT, Parts, WEBHOOK_PORT};

/// The label of definitions that an installation brought, and may therefore change.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Where the container keeps what it fetches. A directory of its own inside the volume, whose mode is its own too.
const DATA: &str = "/data";
/// The user and group of the container; no image needs to know them.
const USER: u32 = 65532;

/// An object, and when there is one.
pub(crate) struct Template {
    /// The file of the chart.
    pub(crate) file: &'static str,
    pub(crate) when: When,
    make: Make,
}

type Make = Box<dyn Fn(Source<'_>) -> Value>;

/// When an object is part of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    /// Settings that are neither false nor empty.
    pub(crate) set: &'static [&'static str],
    /// Settings that are.
    pub(crate) unset: &'static [&'static str],
    pub(crate) how: How,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Once,
    /// Once for each namespace that is deployed to.
    EachNamespace,
    /// Once, where the Applications have another namespace than the installation, and it is not there yet.
    NewNamespace,
}

const ALWAYS: When = When { set: &[], unset: &[], how: How::Once };

impl Template {
    fn new(file: &'static str, when: When, make: impl Fn(Source<'_>) -> Value + 'static) -> Self {
        Self { file, when, make: Box::new(make) }
    }

    /// The objects: none, one, or one for each namespace. What is empty is left out of them.
    pub(crate) fn made(&self, source: Source<'_>) -> Vec<Value> {
        let object = (self.make)(source);
        let Source::Values { values, namespace } = source else { return vec![object] };
        let When { set, unset, how } = self.when;
        if !set.iter().all(|setting| is_set(values, setting))
            || unset.iter().any(|setting| is_set(values, setting))
        {
            return Vec::new();
        }
        match how {
            How::Once => vec![without_empty(object)],
            How::NewNamespace if values["applicationsNamespace"] == namespace => Vec::new(),
            How::NewNamespace => vec![object],
            How::EachNamespace => {
                let names = values["namespaces"].as_array().into_iter().flatten().filter_map(Value::as_str);
                names.map(|name| in_namespace(&object, name)).collect()
            }
        }
    }
}

/// An object of a template that is repeated, for one of its namespaces.
fn in_namespace(object: &Value, namespace: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    object
}

/// Settings that are empty say nothing, where a field may be missing.
fn without_empty(mut object: Value) -> Value {
    let empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    if let Some(pod) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        pod.retain(|field, value| {
            !(["imagePullSecrets", "nodeSelector", "tolerations"].contains(&field.as_str()) && empty(value))
        });
        let containers = pod.get_mut("containers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.retain(|field, value| !(field == "resources" && empty(value)));
        }
    }
    object
}

fn labels(source: Source<'_>) -> Value {
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": source.name(), PART_OF: NAME})
}

fn selector(source: Source<'_>) -> Value {
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": source.name()})
}

/// A namespace in which only Pods run that ask for nothing special.
pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {PART_OF: NAME, "pod-security.kubernetes.io/enforce": "restricted"}},
    })
}

/// The definitions, marked as this installation's.
pub(crate) fn definitions(parts: &Parts) -> impl Iterator<Item = Value> {
    parts.definitions.iter().map(|definition| {
        let mut definition = definition.clone();
        definition["metadata"]["labels"][MANAGED_BY] = NAME.into();
        definition
    })
}

/// Everything else, in an order in which it can be created.
pub(crate) fn templates(parts: &Parts) -> Vec<Template> {
    let mut all = vec![
        Template::new("namespace.yaml", When { how: How::NewNamespace, ..ALWAYS }, applications_namespace),
        Template::new("serviceaccount.yaml", ALWAYS, service_account),
    ];
    all.extend(permissions(parts));
    let version = parts.version.clone();
    const WEBHOOKS: When = When { set: &["webhooks"], ..ALWAYS };
    const OPENED: When = When { set: &["networkPolicy", "webhooks"], ..ALWAYS };
    all.extend([
        Template::new("service.yaml", ALWAYS, service),
        Template::new("service.yaml", WEBHOOKS, webhooks_service),
        Template::new("networkpolicy.yaml", When { set: &["networkPolicy"], ..ALWAYS }, network_policy),
        Template::new("networkpolicy.yaml", OPENED, webhooks_policy),
        Template::new("poddisruptionbudget.yaml", ALWAYS, disruption_budget),
        Template::new("deployment.yaml", ALWAYS, move |source| deployment(source, &version)),
    ]);
    all
}

/// Kept for ever: it holds what people wrote.
fn applications_namespace(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": source.of("applicationsNamespace"), "annotations": {"helm.sh/resource-policy": "keep"}},
    })
}

fn service_account(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": source.name(), "namespace": source.namespace(), "labels": labels(source)},
    })
}

/// Where a role is: everywhere, in the installation's namespace, in the Applications', or in each that is deployed to.
#[derive(Debug, Clone, Copy)]
enum Where {
    Cluster,
    Own,
    Applications,
    Each,
}

fn role(source: Source<'_>, place: Where, suffix: &str, rules: &Value) -> Value {
    let kind = if matches!(place, Where::Cluster) { "ClusterRole" } else { "Role" };
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata(source, place, suffix),
        "rules": rules,
    });
    for rule in role["rules"].as_array_mut().into_iter().flatten() {
        if rule["resourceNames"] == NAMES_OF_NAMESPACES {
            rule["resourceNames"] = source.of("namespaces");
        } else if rule["resourceNames"] == NAME_OF_LEASE {
            rule["resourceNames"] = json!([source.name()]);
        }
    }
    role
}

/// Stand for the namespaces that are deployed to, and for the lease, in a rule.
const NAMES_OF_NAMESPACES: &str = "namespaces";
const NAME_OF_LEASE: &str = "lease";

fn binding(source: Source<'_>, place: Where, suffix: &str, to: (&str, Value)) -> Value {
    let kind = if matches!(place, Where::Cluster) { "ClusterRoleBinding" } else { "RoleBinding" };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata(source, place, suffix),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": to.0, "name": to.1},
        "subjects": [{"kind": "ServiceAccount", "name": source.name(), "namespace": source.namespace()}],
    })
}

fn metadata(source: Source<'_>, place: Where, suffix: &str) -> Value {
    let mut metadata = json!({"name": format!("{}{suffix}", source.name()), "labels": labels(source)});
    match place {
        Where::Cluster => {}
        Where::Own => metadata["namespace"] = source.namespace().into(),
        Where::Applications => metadata["namespace"] = source.of("applicationsNamespace"),
        Where::Each => metadata["namespace"] = each().into(),
    }
    metadata
}

/// A role and its binding.
fn granted(
    file: &'static str,
    when: When,
    place: Where,
    suffix: &'static str,
    rules: Value,
) -> [Template; 2] {
    let kind = if matches!(place, Where::Cluster) { "ClusterRole" } else { "Role" };
    [
        Template::new(file, when, move |source| role(source, place, suffix, &rules)),
        Template::new(file, when, move |source| {
            binding(source, place, suffix, (kind, format!("{}{suffix}", source.name()).into()))
        }),
    ]
}

fn permissions(parts: &Parts) -> Vec<Template> {
    const FILE: &str = "rbac.yaml";
    /// What repositories may deploy, which is the part to narrow.
    const DEPLOY: &str = "deploy-rbac.yaml";
    let rules = &parts.rules;
    let join = |lists: &[&Value]| {
        Value::Array(lists.iter().filter_map(|list| list.as_array()).flatten().cloned().collect())
    };
    // Namespaces are followed wherever anything is deployed.
    let every = json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}]);
    let some = json!([{"apiGroups": [""], "resources": ["namespaces"], "resourceNames": NAMES_OF_NAMESPACES, "verbs": ["get"]}]);
    // A lease that is not there yet has no name to be granted by.
    let lease = json!([
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": NAME_OF_LEASE, "verbs": ["get", "update"]},
    ]);
    let whole = join(&[&rules.cluster, &rules.argo_cd, &every]);
    let narrow = join(&[&rules.cluster, &some]);
    const NARROW: When = When { set: &["namespaces"], ..ALWAYS };
    const WHOLE: When = When { unset: &["namespaces"], ..ALWAYS };
    const ROLLOUTS: When = When { set: &["rollouts"], ..ALWAYS };
    const OWN_ROLE: &[&str] = &["deployRole"];
    let anywhere = When { unset: &["namespaces", "deployRole"], ..ALWAYS };
    let each = When { how: How::EachNamespace, ..ALWAYS };
    let named = |place| {
        move |source: Source<'_>| binding(source, place, "-deploy", ("ClusterRole", source.of("deployRole")))
    };
    let mut all = Vec::new();
    all.extend(granted(FILE, ALWAYS, Where::Own, "-lease", lease));
    all.extend(granted(FILE, ALWAYS, Where::Applications, "-applications", rules.applications.clone()));
    all.extend(granted(FILE, WHOLE, Where::Cluster, "", whole));
    all.extend(granted(FILE, NARROW, Where::Cluster, "", narrow));
    all.extend(granted(FILE, NARROW, Where::Applications, "-argocd", rules.argo_cd.clone()));
    all.extend(granted(FILE, ROLLOUTS, Where::Cluster, "-rollouts", rules.rollouts.clone()));
    all.extend(granted(DEPLOY, anywhere, Where::Cluster, "-deploy", rules.deploy.clone()));
    let own = When { unset: OWN_ROLE, ..each };
    all.extend(granted(DEPLOY, own, Where::Each, "-deploy", rules.deploy_namespaced.clone()));
    all.push(Template::new(DEPLOY, When { set: OWN_ROLE, ..WHOLE }, named(Where::Cluster)));
    all.push(Template::new(DEPLOY, When { set: OWN_ROLE, ..each }, named(Where::Each)));
    all
}

fn service(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("{}-metrics", source.name()), "namespace": source.namespace(), "labels": labels(source)},
        "spec": {
            "selector": selector(source),
            "ports": [{"name": "metrics", "port": PORT, "protocol": "TCP", "targetPort": "metrics"}],
        },
    })
}

/// What an Ingress leads to. Every replica takes webhooks, whoever leads.
fn webhooks_service(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("{}-webhooks", source.name()), "namespace": source.namespace(), "labels": labels(source)},
        "spec": {
            "selector": selector(source),
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": WEBHOOK_PORT}],
        },
    })
}

/// Hosts of repositories are outside, and so may be what leads to the Service; who sent what is told by signatures.
fn webhooks_policy(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": format!("{}-webhooks", source.name()), "namespace": source.namespace(), "labels": labels(source)},
        "spec": {
            "podSelector": {"matchLabels": selector(source)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": WEBHOOK_PORT, "protocol": "TCP"}]}],
        },
    })
}

/// Nobody needs to connect but for health and metrics, and for webhooks where they are taken; whom the controllers connect to is what repositories name.
fn network_policy(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": source.name(), "namespace": source.namespace(), "labels": labels(source)},
        "spec": {
            "podSelector": {"matchLabels": selector(source)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": "metrics", "protocol": "TCP"}]}],
        },
    })
}

fn disruption_budget(source: Source<'_>) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": source.name(), "namespace": source.namespace(), "labels": labels(source)},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(source)}},
    })
}

fn deployment(source: Source<'_>, version: &str) -> Value {
    let mut all = labels(source);
    all["app.kubernetes.io/version"] = version.into();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": source.name(), "namespace": source.namespace(), "labels": all},
        "spec": {
            "replicas": source.of("replicas"),
            "selector": {"matchLabels": selector(source)},
            "template": {"metadata": {"labels": labels(source)}, "spec": pod(source)},
        },
    })
}

fn pod(source: Source<'_>) -> Value {
    json!({
        "serviceAccountName": source.name(),
        "imagePullSecrets": source.of("imagePullSecrets"),
        "nodeSelector": source.of("nodeSelector"),
        "tolerations": source.of("tolerations"),
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": selector(source)},
            },
        }]}},
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(source)],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    })
}

fn container(source: Source<'_>) -> Value {
    let get = |path: &str| json!({"path": path, "port": "metrics"});
    let mut arguments = vec![
        "controller".to_owned(),
        format!("--listen=0.0.0.0:{PORT}"),
        format!("--data-dir={DATA}/{NAME}"),
        format!("--lease={}", source.name()),
        source.text("--argocd-namespace=", "applicationsNamespace"),
        source.text("--namespaces=", "namespaces"),
        source.text("--rollouts=", "rollouts"),
    ];
    arguments.extend(source.entry_if("webhooks", format!("--webhooks=0.0.0.0:{WEBHOOK_PORT}")));
    json!({
        "name": "controller",
        "image": source.of("image"),
        "imagePullPolicy": source.of("imagePullPolicy"),
        "args": arguments,
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "MAINSTAY_LOG", "value": source.of("log")},
        ],
        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
        "livenessProbe": {"httpGet": get("/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {"httpGet": get("/readyz"), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "resources": source.of("resources"),
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": DATA}, {"name": "tmp", "mountPath": "/tmp"}],
    })
}
