//! By what installations differ.

use serde_json::{Value, json};

/// What a person decides. The fields but the first are the chart's values, under the same names in camel case.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where the controllers run.
    pub namespace: String,
    /// The reference of the image; in a chart it may be left for its user to name.
    pub image: String,
    pub image_pull_policy: String,
    /// Names of Secrets.
    pub image_pull_secrets: Vec<String>,
    pub replicas: u32,
    /// Where Applications and what stands beside them live.
    pub applications_namespace: String,
    /// The only namespaces that repositories may deploy to; empty for the whole cluster.
    pub namespaces: Vec<String>,
    /// The ClusterRole that says what repositories may deploy; empty for one of our own that permits everything.
    pub deploy_role: String,
    /// Whether Rollouts are run too.
    pub rollouts: bool,
    /// Whether webhooks of repositories are taken.
    pub webhooks: bool,
    /// What is logged, in the words of `MAINSTAY_LOG`.
    pub log: String,
    /// As in a container.
    pub resources: Value,
    /// As in a Pod.
    pub node_selector: Value,
    pub tolerations: Value,
    pub network_policy: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: crate::NAME.to_owned(),
            image: String::new(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            replicas: 2,
            applications_namespace: "argocd".to_owned(),
            namespaces: Vec::new(),
            deploy_role: String::new(),
            rollouts: false,
            webhooks: true,
            log: "info".to_owned(),
            resources: json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}),
            node_selector: json!({}),
            tolerations: json!([]),
            network_policy: true,
        }
    }
}

/// What a value is, which decides how a template writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A number or a truth value.
    Scalar,
    /// A list of texts.
    Names,
    Structure,
}

/// One value of the chart.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    /// Its JSON schema without the description.
    pub(crate) schema: fn() -> Value,
}

/// A DNS label, as names of namespaces are.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

fn names() -> Value {
    json!({"type": "array", "uniqueItems": true, "items": {"type": "string", "pattern": LABEL}})
}

/// All of them, in the order of `values.yaml`.
pub(crate) const SETTINGS: [Setting; 14] = [
    Setting {
        name: "image",
        kind: Kind::Text,
        about: "The image, as in registry.example.org/mainstay:0.1.0. It has to be named: none is published yet.",
        schema: || json!({"type": "string"}),
    },
    Setting {
        name: "imagePullPolicy",
        kind: Kind::Text,
        about: "When the image is pulled.",
        schema: || json!({"type": "string", "enum": ["Always", "IfNotPresent", "Never"]}),
    },
    Setting {
        name: "imagePullSecrets",
        kind: Kind::Structure,
        about: "Secrets for pulling it, as in [{name: registry}].",
        schema: || {
            json!({"type": "array", "items": {"type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}}}})
        },
    },
    Setting {
        name: "replicas",
        kind: Kind::Scalar,
        about: "How many run. One of them leads; the others take over when it is gone.",
        schema: || json!({"type": "integer", "minimum": 0}),
    },
    Setting {
        name: "applicationsNamespace",
        kind: Kind::Text,
        about: "The namespace of Applications, AppProjects, and the Secrets and settings beside them.",
        schema: || json!({"type": "string", "pattern": LABEL}),
    },
    Setting {
        name: "namespaces",
        kind: Kind::Names,
        about: "The only namespaces that repositories may deploy to; empty for the whole cluster.",
        schema: names,
    },
    Setting {
        name: "deployRole",
        kind: Kind::Text,
        about: "The ClusterRole that says what repositories may deploy; empty for one of our own that permits everything.",
        schema: || json!({"type": "string"}),
    },
    Setting {
        name: "rollouts",
        kind: Kind::Scalar,
        about: "Whether Rollouts are run too. Not beside an Argo Rollouts, and not with a list of namespaces.",
        schema: || json!({"type": "boolean"}),
    },
    Setting {
        name: "webhooks",
        kind: Kind::Scalar,
        about: "Whether webhooks of repositories are taken, by a Service of their own, at /api/webhook.",
        schema: || json!({"type": "boolean"}),
    },
    Setting {
        name: "log",
        kind: Kind::Text,
        about: "What is logged: a level, or levels by module as in info,gitops=debug.",
        schema: || json!({"type": "string"}),
    },
    Setting {
        name: "resources",
        kind: Kind::Structure,
        about: "What a container asks for and is limited to.",
        schema: || json!({"type": "object"}),
    },
    Setting {
        name: "nodeSelector",
        kind: Kind::Structure,
        about: "The nodes it may run on.",
        schema: || json!({"type": "object", "additionalProperties": {"type": "string"}}),
    },
    Setting {
        name: "tolerations",
        kind: Kind::Structure,
        about: "The taints it tolerates.",
        schema: || json!({"type": "array", "items": {"type": "object"}}),
    },
    Setting {
        name: "networkPolicy",
        kind: Kind::Scalar,
        about: "Whether connections from outside are limited to health, metrics and webhooks.",
        schema: || json!({"type": "boolean"}),
    },
];

impl Settings {
    /// As a chart's values.
    pub(crate) fn values(&self) -> Value {
        let secrets: Vec<Value> = self.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
        json!({
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "imagePullSecrets": secrets,
            "replicas": self.replicas,
            "applicationsNamespace": self.applications_namespace,
            "namespaces": self.namespaces,
            "deployRole": self.deploy_role,
            "rollouts": self.rollouts,
            "webhooks": self.webhooks,
            "log": self.log,
            "resources": self.resources,
            "nodeSelector": self.node_selector,
            "tolerations": self.tolerations,
            "networkPolicy": self.network_policy,
        })
    }
}
