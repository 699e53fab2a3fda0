//! The settings in `argocd-cm` that the controller keeps.

use objects::selector::LabelSelector;
use objects::{GroupVersionKind, Value};
use sync::health::{Check, Checks};
use sync::{IgnoreRules, Tracking, glob};

/// What the settings say, as far as anything here depends on it. What cannot be read is said in the log and left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ArgoSettings {
    /// Projects that add to those whose labels match.
    pub(crate) global_projects: Vec<(String, LabelSelector)>,
    /// Whether syncs are to act as the service accounts that projects name.
    pub(crate) impersonation: bool,
    /// Which kinds are managed at all.
    pub(crate) kinds: Kinds,
    /// Rules as in an Application's `ignoreDifferences`, for all of them.
    pub(crate) ignore: Vec<Value>,
    /// How well objects of some kinds do.
    pub(crate) checks: Checks,
    /// How objects are marked as an application's.
    pub(crate) tracking: Tracking,
    /// The largest body of a webhook, in bytes.
    pub(crate) webhook_limit: WebhookLimit,
    /// Settings that would change what is managed or rendered and are not followed: `key: value`.
    pub(crate) unfollowed: Vec<String>,
}

/// `webhook.maxPayloadSizeMB`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebhookLimit(pub(crate) usize);

const MEBIBYTE: usize = 1 << 20;

impl Default for WebhookLimit {
    fn default() -> Self {
        Self(50 * MEBIBYTE)
    }
}

impl WebhookLimit {
    fn read(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::default();
        }
        let bytes = text.parse::<usize>().ok().and_then(|mebibytes| mebibytes.checked_mul(MEBIBYTE));
        bytes.filter(|bytes| *bytes > 0).map_or_else(
            || {
                tracing::warn!(key = "webhook.maxPayloadSizeMB", "a setting of argocd-cm cannot be read");
                Self::default()
            },
            Self,
        )
    }
}

/// `resource.inclusions` and `resource.exclusions`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Kinds {
    included: Vec<Filter>,
    excluded: Vec<Filter>,
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    groups: Vec<String>,
    kinds: Vec<String>,
    clusters: Vec<String>,
}

impl Filter {
    fn read(entry: &Value) -> Self {
        let list = |field: &str| {
            let entries = entry[field].as_array().into_iter().flatten();
            entries.filter_map(|entry| Some(entry.as_str()?.to_owned())).collect()
        };
        Self { groups: list("apiGroups"), kinds: list("kinds"), clusters: list("clusters") }
    }

    /// Groups and clusters are globs; an empty list is all.
    fn matches(&self, group: &str, kind: &str, server: &str) -> bool {
        let any = |list: &[String], text: &str| {
            list.is_empty() || list.iter().any(|pattern| glob::matches(pattern, text))
        };
        let kinds = self.kinds.is_empty() || self.kinds.iter().any(|known| known == "*" || known == kind);
        kinds && any(&self.groups, group) && any(&self.clusters, server)
    }
}

impl Kinds {
    /// Whether objects of a kind are left alone on a cluster.
    pub(crate) fn exclude(&self, group: &str, kind: &str, server: &str) -> bool {
        // Upstream's own list cannot be taken back.
        let never = matches!(group, "events.k8s.io" | "metrics.k8s.io")
            || (group.is_empty() && kind == "Event")
            || (group == "coordination.k8s.io" && kind == "Lease");
        let one = |filters: &[Filter]| filters.iter().any(|filter| filter.matches(group, kind, server));
        never || !(self.included.is_empty() || one(&self.included)) || one(&self.excluded)
    }

    pub(crate) fn exclude_of(&self, gvk: &GroupVersionKind, server: &str) -> bool {
        self.exclude(&gvk.group, &gvk.kind, server)
    }
}

impl ArgoSettings {
    pub(super) fn read(map: &Value) -> Self {
        let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
        let list = |key: &str| {
            let value = parsed(key, text(key));
            value.as_array().cloned().unwrap_or_default()
        };
        let globals = list("globalProjects").into_iter().filter_map(|entry| {
            let selector = LabelSelector::from_object(&entry["labelSelector"]).ok()?;
            Some((entry["projectName"].as_str()?.to_owned(), selector))
        });
        let filters = |key: &str| list(key).iter().map(Filter::read).collect();
        Self {
            global_projects: globals.collect(),
            impersonation: text("application.sync.impersonation.enabled") == "true",
            kinds: Kinds {
                included: filters("resource.inclusions"),
                excluded: filters("resource.exclusions"),
            },
            ignore: ignored(map),
            checks: checks(map),
            tracking: Tracking::read(map),
            webhook_limit: WebhookLimit::read(text("webhook.maxPayloadSizeMB")),
            unfollowed: unfollowed(map),
        }
    }
}

/// What a team that comes from Argo CD would otherwise miss without a word. Settings of its web pages, its logins and
/// its pace are none of this: nothing that is applied depends on them.
fn unfollowed(map: &Value) -> Vec<String> {
    const KEYS: [(&str, &[&str]); 6] = [
        ("application.resourceTrackingMethod", &["annotation", "annotation+label", "label"]),
        ("kustomize.buildOptions", &["--enable-helm"]),
        ("kustomize.enable", &["true"]),
        ("helm.enable", &["true"]),
        ("helm.valuesFileSchemes", &["https, http", "http, https", "https,http", "http,https"]),
        ("resource.respectRBAC", &["false"]),
    ];
    let data = &map["data"];
    let unfollowed = KEYS.iter().filter_map(|(key, followed)| {
        let value = data[*key].as_str().map(str::trim).filter(|value| !value.is_empty())?;
        (!followed.contains(&value)).then(|| format!("{key}: {value}"))
    });
    unfollowed.collect()
}

fn parsed(key: &str, text: &str) -> Value {
    yaml::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(key, error = %error, "a setting of argocd-cm cannot be read");
        Value::Null
    })
}

/// `resource.customizations.ignoreDifferences.GROUP_KIND`, `….all`, and the same in the one map that was before them.
fn ignored(map: &Value) -> Vec<Value> {
    const EACH: &str = "resource.customizations.ignoreDifferences.";
    let mut rules = Vec::new();
    for (key, text) in map["data"].as_object().into_iter().flatten() {
        let Some(of) = key.strip_prefix(EACH) else { continue };
        let (group, kind) = match of {
            "all" => ("*", "*"),
            of => of.rsplit_once('_').unwrap_or(("", of)),
        };
        rules.extend(rule(key, group, kind, text.as_str().unwrap_or_default()));
    }
    let one = "resource.customizations";
    let customizations = parsed(one, map["data"][one].as_str().unwrap_or_default());
    for (of, customization) in customizations.as_object().into_iter().flatten() {
        let (group, kind) = of.split_once('/').unwrap_or(("", of));
        if let Some(text) = customization["ignoreDifferences"].as_str() {
            rules.extend(rule(one, group, kind, text));
        }
    }
    rules
}

/// `resource.customizations.health.GROUP_KIND`, and `health.lua` in the one map that was before it.
fn checks(map: &Value) -> Checks {
    const EACH: &str = "resource.customizations.health.";
    let check = |group: &str, kind: &str, script: &str| Check {
        group: group.to_owned(),
        kind: kind.to_owned(),
        script: script.to_owned(),
    };
    let mut checks = Vec::new();
    for (key, text) in map["data"].as_object().into_iter().flatten() {
        let Some(of) = key.strip_prefix(EACH) else { continue };
        let (group, kind) = of.rsplit_once('_').unwrap_or(("", of));
        checks.push(check(group, kind, text.as_str().unwrap_or_default()));
    }
    let one = "resource.customizations";
    let customizations = parsed(one, map["data"][one].as_str().unwrap_or_default());
    for (of, customization) in customizations.as_object().into_iter().flatten() {
        let (group, kind) = of.split_once('/').unwrap_or(("", of));
        if let Some(script) = customization["health.lua"].as_str() {
            checks.push(check(group, kind, script));
        }
    }
    Checks::new(checks)
}

fn rule(key: &str, group: &str, kind: &str, text: &str) -> Option<Value> {
    let mut rule = parsed(key, text);
    let fields = rule.as_object_mut()?;
    fields.insert("group".to_owned(), group.into());
    fields.insert("kind".to_owned(), kind.into());
    match IgnoreRules::parse(&Value::Array(vec![rule.clone()])) {
        Ok(_) => Some(rule),
        Err(error) => {
            tracing::warn!(key, error = %error, "a setting of argocd-cm cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(data: Value) -> ArgoSettings {
        ArgoSettings::read(&json!({"data": data}))
    }

    #[test]
    fn kinds_are_included_and_excluded() {
        let kinds = settings(json!({
            "resource.inclusions": "- apiGroups: ['', '*.example.org']\n- kinds: [Deployment]",
            "resource.exclusions": "- apiGroups: ['']\n  kinds: [Endpoints]\n- kinds: ['*']\n  clusters: ['https://far*']",
        }))
        .kinds;
        let near = "https://near";
        for (group, kind, server, excluded) in [
            ("", "ConfigMap", near, false),
            ("", "Endpoints", near, true),
            ("a.example.org", "Anything", near, false),
            ("apps", "Deployment", near, false),
            ("apps", "DaemonSet", near, true),
            ("", "ConfigMap", "https://far:6443", true),
            ("", "Event", near, true),
        ] {
            assert_eq!(kinds.exclude(group, kind, server), excluded, "{group} {kind} {server}");
        }
        assert!(!Kinds::default().exclude("apps", "DaemonSet", near));
    }

    #[test]
    fn what_is_not_followed_is_named() {
        let unfollowed = settings(json!({
            "application.resourceTrackingMethod": "by heart",
            "kustomize.buildOptions": "--enable-helm",
            "resource.respectRBAC": "strict",
            "url": "https://argocd.example.org",
        }))
        .unfollowed;
        assert_eq!(
            unfollowed,
            ["application.resourceTrackingMethod: by heart", "resource.respectRBAC: strict"]
        );
        let usual = json!({"application.resourceTrackingMethod": "annotation", "kustomize.buildOptions": ""});
        assert!(settings(usual).unfollowed.is_empty());
    }

    #[test]
    fn the_largest_webhook_is_read() {
        let limit = |text: &str| settings(json!({"webhook.maxPayloadSizeMB": text})).webhook_limit.0;
        assert_eq!((limit("1"), limit(""), limit("no"), limit("0")), (1 << 20, 50 << 20, 50 << 20, 50 << 20));
    }

    #[test]
    fn ignored_fields_come_from_both_forms() {
        let ignore = settings(json!({
            "resource.customizations.ignoreDifferences.all": "jsonPointers: [/metadata/labels/a]",
            "resource.customizations.ignoreDifferences.apps_Deployment": "jqPathExpressions: ['.spec.replicas']",
            "resource.customizations.ignoreDifferences.Service": "jsonPointers: [no pointer]",
            "resource.customizations": "apps/StatefulSet:\n  ignoreDifferences: |\n    jsonPointers: [/spec/replicas]\n",
        }))
        .ignore;
        let of =
            |rule: &Value| format!("{} {}", rule["group"].as_str().unwrap(), rule["kind"].as_str().unwrap());
        assert_eq!(ignore.iter().map(of).collect::<Vec<_>>(), ["* *", "apps Deployment", "apps StatefulSet"]);
    }
}
