//! Rendered texts to documents, hooks and their order.

mod skim;

use crate::error::Error;
use skim::{Glimpse, Skim};

/// One document of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template it came from, such as `gateway/templates/service.yaml`.
    pub source: String,
    /// One YAML document as the template wrote it, comments included.
    pub text: String,
    /// `kind`, empty if there is none.
    pub kind: String,
    /// `metadata.name`, empty if there is none.
    pub name: String,
    /// What the document says about when it runs, if it is a hook.
    pub hook: Option<HookInfo>,
}

/// The annotations of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookInfo {
    /// Such as `pre-install`.
    pub events: Vec<String>,
    pub weight: i64,
    pub delete_policies: Vec<String>,
}

impl HookInfo {
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.events.iter().any(|event| event == "test")
    }
}

/// The order in which Helm installs kinds; others come after these.
const INSTALL_ORDER: &[&str] = &[
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

const EVENTS: &[&str] = &[
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
];

/// The documents of all texts: manifests, then hooks, each in the order in which they are installed.
pub(crate) fn sort(texts: &[(String, String)]) -> Result<(Vec<Manifest>, Vec<Manifest>), Error> {
    let (mut manifests, mut hooks) = (Vec::new(), Vec::new());
    let mut paths: Vec<&(String, String)> = texts.iter().collect();
    paths.sort();
    for (path, text) in paths {
        let base = path.rsplit('/').next().unwrap_or_default();
        if base.starts_with('_') || text.trim().is_empty() {
            continue;
        }
        for document in split(text) {
            sort_document(path, document, &mut manifests, &mut hooks)?;
        }
    }
    for list in [&mut manifests, &mut hooks] {
        list.sort_by(|a: &Manifest, b: &Manifest| order(&a.kind, &b.kind));
    }
    Ok((manifests, hooks))
}

fn order(a: &str, b: &str) -> std::cmp::Ordering {
    let place = |kind: &str| INSTALL_ORDER.iter().position(|known| *known == kind);
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Documents are apart where a line begins with `---`; that line may go on with text of the next document.
pub(crate) fn split(text: &str) -> Vec<&str> {
    // As the expression (?:^|\s*\n)---\s* splits, with the blanks of Go's \s.
    const BLANKS: [char; 5] = ['\t', '\n', '\x0C', '\r', ' '];
    let mut rest = text.trim_start();
    let mut parts = Vec::new();
    if let Some(after) = rest.strip_prefix("---") {
        rest = after.trim_start_matches(BLANKS);
    }
    let separators = memchr::memmem::Finder::new("\n---");
    while let Some(at) = separators.find(rest.as_bytes()) {
        parts.push(rest[..at].trim_end_matches(BLANKS));
        // Blanks belong to the separator, so one that follows at once lacks the line break before it.
        rest = rest[at + 4..].trim_start_matches(BLANKS);
    }
    parts.push(rest);
    parts.into_iter().filter(|part| !part.trim().is_empty()).map(str::trim_start).collect()
}

/// What Helm looks at in a document.
struct Head {
    kind: String,
    name: String,
    annotations: Vec<(String, String)>,
}

fn sort_document(
    path: &str,
    document: &str,
    manifests: &mut Vec<Manifest>,
    hooks: &mut Vec<Manifest>,
) -> Result<(), Error> {
    let failed = |error: String| Error::Render(format!("YAML parse error on {path}: {error}"));
    let value = yaml::from_str_with(document, &mut Skim::default(), yaml::Duplicates::LastWins)
        .map_err(|error| failed(format!("error converting YAML to JSON: {error}")))?;
    let head = read_head(&value).map_err(failed)?;
    let mut manifest = Manifest {
        source: path.to_owned(),
        text: document.to_owned(),
        kind: head.kind,
        name: head.name,
        hook: None,
    };
    let annotation =
        |name: &str| head.annotations.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Some(events) = annotation("helm.sh/hook") else {
        manifests.push(manifest);
        return Ok(());
    };
    let words =
        |text: &str| -> Vec<String> { text.split(',').map(|word| word.trim().to_lowercase()).collect() };
    let mut events = words(events);
    for event in &mut events {
        if event == "test-success" {
            "test".clone_into(event);
        }
        // A hook of a kind that Helm does not know is left out altogether.
        if !EVENTS.contains(&event.as_str()) {
            return Ok(());
        }
    }
    manifest.hook = Some(HookInfo {
        events,
        weight: annotation("helm.sh/hook-weight").and_then(|weight| weight.parse().ok()).unwrap_or(0),
        delete_policies: annotation("helm.sh/hook-delete-policy").map(words).unwrap_or_default(),
    });
    hooks.push(manifest);
    Ok(())
}

fn mismatch(found: &'static str, path: &str, wanted: &str) -> String {
    let target = if path.is_empty() { "Go value".to_owned() } else { format!("Go struct field {path}") };
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into {target} of type {wanted}"
    )
}

/// A scalar as text where Go's struct has a string.
fn text(value: Option<&Glimpse>, path: &str) -> Result<String, String> {
    match value {
        None | Some(Glimpse::Null) => Ok(String::new()),
        Some(Glimpse::Text(text)) => Ok(text.clone()),
        Some(Glimpse::Bool(value)) => Ok(value.to_string()),
        Some(Glimpse::Number(number)) => Ok(number.to_string()),
        Some(other) => Err(mismatch(other.json_name(), path, "string")),
    }
}

fn read_head(value: &Glimpse) -> Result<Head, String> {
    let mut head = Head { kind: String::new(), name: String::new(), annotations: Vec::new() };
    let object = match value {
        Glimpse::Null => return Ok(head),
        Glimpse::Map(object) => object,
        other => return Err(mismatch(other.json_name(), "", "util.SimpleHead")),
    };
    text(object.get("apiVersion"), "SimpleHead.apiVersion")?;
    head.kind = text(object.get("kind"), "SimpleHead.kind")?;
    let metadata = match object.get("metadata") {
        None | Some(Glimpse::Null) => return Ok(head),
        Some(Glimpse::Map(metadata)) => metadata,
        Some(other) => {
            let wanted = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \"json:\\\"annotations\\\"\" }";
            return Err(mismatch(other.json_name(), "SimpleHead.metadata", wanted));
        }
    };
    head.name = text(metadata.get("name"), ".metadata.name")?;
    match metadata.get("annotations") {
        None | Some(Glimpse::Null) => {}
        Some(Glimpse::Map(annotations)) => {
            if let Some(unfit) = annotations.unfit {
                return Err(mismatch(unfit, ".metadata.annotations", "string"));
            }
            head.annotations = annotations
                .known
                .iter()
                .filter(|(key, _)| key.starts_with("helm.sh/"))
                .map(|(key, value)| Ok(((*key).to_owned(), text(Some(value), ".metadata.annotations")?)))
                .collect::<Result<_, String>>()?;
        }
        Some(other) => {
            return Err(mismatch(other.json_name(), ".metadata.annotations", "map[string]string"));
        }
    }
    Ok(head)
}
