//! Roles and their bindings.

use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::names::Form;
use super::selector;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether a rule or binding is one of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Namespace,
    Cluster,
}

pub(super) fn role(scope: Scope, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    for rule in root.get("rules").items() {
        self::rule(scope, &rule, problems);
    }
    let aggregation = root.get("aggregationRule");
    if scope == Scope::Namespace || !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.get("clusterRoleSelectors");
    if selectors.list().is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        selectors.required(detail, problems);
    }
    for selector in selectors.items() {
        if !selector::label_selector(&selector, problems) {
            selector.invalid_shown("null".to_owned(), "invalid label selector.", problems);
        }
    }
}

fn rule(scope: Scope, rule: &Field<'_, '_>, problems: &mut Problems) {
    if rule.get("verbs").list().is_empty() {
        rule.get("verbs").required("verbs must contain at least one value", problems);
    }
    let none = |field: &str| rule.get(field).list().is_empty();
    let urls = rule.get("nonResourceURLs");
    if !urls.list().is_empty() {
        if scope == Scope::Namespace {
            urls.invalid("namespaced rules cannot apply to non-resource URLs", problems);
        }
        if !["apiGroups", "resources", "resourceNames"].into_iter().all(none) {
            urls.invalid("rules cannot apply to both regular resources and non-resource URLs", problems);
        }
        return;
    }
    if none("apiGroups") {
        rule.get("apiGroups").required("resource rules must supply at least one api group", problems);
    }
    if none("resources") {
        rule.get("resources").required("resource rules must supply at least one resource", problems);
    }
}

pub(super) fn binding(scope: Scope, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let role = root.get("roleRef");
    let (group, kind) = (role.get("apiGroup"), role.get("kind"));
    if group.is_set() && group.text() != GROUP {
        group.not_supported(&[GROUP], problems);
    }
    let kinds: &[&str] = if scope == Scope::Namespace { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&kind.text()) {
        kind.with(&kind.text().into()).not_supported(kinds, problems);
    }
    role.get("name").needs_name(Form::Segment, problems);
    for subject in root.get("subjects").items() {
        self::subject(scope, &subject, problems);
    }
    if old.is_some_and(|old| old["roleRef"] != *role.value()) {
        let shown = format!(
            "{{\"APIGroup\":{:?},\"Kind\":{:?},\"Name\":{:?}}}",
            group.text(),
            kind.text(),
            role.get("name").text()
        );
        role.invalid_shown(shown, "cannot change roleRef", problems);
    }
}

fn subject(scope: Scope, subject: &Field<'_, '_>, problems: &mut Problems) {
    let (name, group, kind) = (subject.get("name"), subject.get("apiGroup"), subject.get("kind"));
    name.need(problems);
    match kind.text() {
        "ServiceAccount" => {
            name.name_if_given(Form::Subdomain, problems);
            if !group.text().is_empty() {
                group.not_supported(&[""], problems);
            }
            if scope == Scope::Cluster {
                subject.get("namespace").need(problems);
            }
        }
        "User" | "Group" => {
            if group.is_set() && group.text() != GROUP {
                group.not_supported(&[GROUP], problems);
            }
        }
        other => kind.with(&other.into()).not_supported(&["ServiceAccount", "User", "Group"], problems),
    }
}
