use serde_json::json;

use super::*;

const HERE: ClusterName<'_> =
    ClusterName { server: "https://kubernetes.default.svc", name: "in-cluster", project: "" };

fn project(spec: Value) -> Project {
    Project::read(&json!({"metadata": {"name": "team"}, "spec": spec}))
}

#[test]
fn sources() {
    let check = |patterns: &[&str], url: &str, expected: bool| {
        assert_eq!(
            project(json!({"sourceRepos": patterns})).permits_source(url),
            expected,
            "{patterns:?} {url}"
        );
    };
    check(&[], "https://example.org/a", false);
    check(&["*"], "https://example.org/a/b", true);
    check(&["https://example.org/Team/a.git"], "https://EXAMPLE.org/team/a", true);
    check(&["https://example.org/*"], "https://example.org/a/b", false);
    check(&["https://example.org/**"], "https://example.org/a/b", true);
    check(&["git@example.org:team/a"], "ssh://git@example.org/team/a.git", true);
    check(&["*", "!https://example.org/secret"], "https://example.org/secret.git", false);
    check(&["*", "!https://example.org/secret"], "https://example.org/open", true);
    check(&["!https://example.org/secret"], "https://example.org/open", true);
}

#[test]
fn destinations() {
    let check = |patterns: Value, cluster: ClusterName<'_>, namespace: &str, expected: bool| {
        let permitted = project(json!({"destinations": patterns})).permits_destination(cluster, namespace);
        assert_eq!(permitted, expected, "{patterns} {cluster:?} {namespace}");
    };
    let stage = ClusterName { server: "https://stage:6443", name: "stage", project: "" };
    check(json!([]), HERE, "shop", false);
    check(json!([{"server": "*", "namespace": "*"}]), stage, "shop", true);
    check(
        json!([{"server": "https://kubernetes.default.svc", "namespace": "shop-*"}]),
        HERE,
        "shop-dev",
        true,
    );
    check(json!([{"server": "https://kubernetes.default.svc", "namespace": "shop-*"}]), HERE, "shop", false);
    check(json!([{"server": "https://kubernetes.default.svc", "namespace": "*"}]), stage, "shop", false);
    check(json!([{"name": "st*", "namespace": "shop"}]), stage, "shop", true);
    let but = json!([{"server": "*", "namespace": "*"}, {"server": "*", "namespace": "!kube-system"}]);
    check(but.clone(), HERE, "shop", true);
    check(but, HERE, "kube-system", false);
    let not_stage =
        json!([{"server": "*", "namespace": "*"}, {"server": "!https://stage:6443", "namespace": "*"}]);
    check(not_stage.clone(), HERE, "shop", true);
    check(not_stage, stage, "shop", false);
}

#[test]
fn only_clusters_of_the_project() {
    let project = project(
        json!({"destinations": [{"server": "*", "namespace": "*"}], "permitOnlyProjectScopedClusters": true}),
    );
    assert!(!project.permits_destination(HERE, "shop"));
    assert!(project.permits_destination(ClusterName { project: "team", ..HERE }, "shop"));
}

#[test]
fn kinds_are_listed() {
    let open = project(json!({}));
    assert!(open.permits_kind("apps", "Deployment", "web", true), "no list: every namespaced kind");
    assert!(!open.permits_kind("", "Namespace", "web", false), "no list: no cluster-scoped kind");
    let listed = project(json!({
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        "clusterResourceBlacklist": [{"group": "", "kind": "Namespace", "name": "kube-*"}],
        "namespaceResourceWhitelist": [{"group": "apps", "kind": "*"}, {"group": "", "kind": "Con*"}],
        "namespaceResourceBlacklist": [{"group": "apps", "kind": "DaemonSet"}],
    }));
    assert!(listed.permits_kind("", "Namespace", "web", false));
    assert!(!listed.permits_kind("", "Namespace", "kube-system", false));
    assert!(listed.permits_kind("apps", "Deployment", "web", true));
    assert!(!listed.permits_kind("apps", "DaemonSet", "web", true));
    assert!(listed.permits_kind("", "ConfigMap", "web", true));
    assert!(!listed.permits_kind("", "Secret", "web", true));
    let none = project(json!({"namespaceResourceWhitelist": []}));
    assert!(!none.permits_kind("", "ConfigMap", "web", true), "an empty list permits nothing");
}

#[test]
fn refusals_have_upstreams_words() {
    let project = project(json!({
        "destinations": [{"server": "*", "namespace": "shop"}],
        "namespaceResourceBlacklist": [{"group": "rbac.authorization.k8s.io", "kind": "*"}],
    }));
    let refuses = |key: ResourceKey, namespaced| project.refuses(HERE, &key, namespaced);
    let role = ResourceKey::new("rbac.authorization.k8s.io", "Role", "shop", "r");
    assert_eq!(
        refuses(role, true).unwrap(),
        "resource rbac.authorization.k8s.io:Role is not permitted in project team"
    );
    let elsewhere = ResourceKey::new("", "ConfigMap", "other", "c");
    assert_eq!(refuses(elsewhere, true).unwrap(), "namespace other is not permitted in project 'team'");
    let namespace = ResourceKey::new("", "Namespace", "", "shop");
    assert_eq!(refuses(namespace, false).unwrap(), "resource :Namespace is not permitted in project team");
    assert_eq!(refuses(ResourceKey::new("", "ConfigMap", "shop", "c"), true), None);
}

#[test]
fn orphans_are_what_nobody_manages() {
    let orphan = |spec: Value, key: ResourceKey| project(spec).may_be_orphan(&key);
    let map = |name: &str| ResourceKey::new("", "ConfigMap", "shop", name);
    assert!(!project(json!({})).watches_orphans());
    let quiet = project(json!({"orphanedResources": {}}));
    assert!(quiet.watches_orphans() && !quiet.warns_of_orphans());
    let warn = json!({"orphanedResources": {"warn": true, "ignore": [{"kind": "ConfigMap", "name": "b*"}, {"group": "apps"}]}});
    assert!(orphan(warn.clone(), map("a")));
    assert!(!orphan(warn.clone(), map("b1")));
    assert!(!orphan(warn.clone(), map("kube-root-ca.crt")));
    assert!(!orphan(warn.clone(), ResourceKey::new("apps", "Deployment", "shop", "web")));
    assert!(!orphan(warn, ResourceKey::new("", "Namespace", "", "shop")));
}

#[test]
fn global_projects_add_to_lists() {
    let own = json!({"metadata": {"name": "team"}, "spec": {"sourceRepos": ["https://a"]}});
    let global = json!({"spec": {"sourceRepos": ["https://b"], "namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}]}});
    let project = Project::read(&with_global(own, &[&global]));
    assert!(project.permits_source("https://a") && project.permits_source("https://b"));
    assert!(!project.permits_kind("", "Secret", "s", true));
    assert!(project.permits_kind("", "ConfigMap", "s", true), "no list stays no list");
}

#[test]
fn signatures_are_not_checked_and_that_is_told() {
    assert_eq!(project(json!({"signatureKeys": []})).unsupported(), None);
    assert_eq!(project(json!({"signatureKeys": [{"keyID": "A"}]})).unsupported(), Some("spec.signatureKeys"));
}
