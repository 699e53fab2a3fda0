//! The roles that every cluster has, from a table.

use objects::meta;
use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("roles.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// The objects of the table, with the resource each is stored under, and what else upstream has from the start.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    let mut objects: Vec<(&'static str, Value)> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", name, rest @ ..] => {
                objects.push(("rbac.authorization.k8s.io/clusterroles", cluster_role(name, rest)));
            }
            ["bind", role, subjects] => {
                objects.push(("rbac.authorization.k8s.io/clusterrolebindings", binding(role, subjects)));
            }
            rule => {
                let role = objects.last_mut().map(|(_, role)| &mut role["rules"]);
                if let (Some(Value::Array(rules)), Some(rule)) = (role, self::rule(rule)) {
                    rules.push(rule);
                }
            }
        }
    }
    objects.push((
        "rbac.authorization.k8s.io/roles",
        json!({"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "extension-apiserver-authentication-reader", "namespace": "kube-system", "labels": labels()},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": READ,
                "resourceNames": ["extension-apiserver-authentication"]}]}),
    ));
    objects
}

fn labels() -> Value {
    json!({"kubernetes.io/bootstrapping": "rbac-defaults"})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": labels(), "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn cluster_role(name: &str, rest: &[&str]) -> Value {
    let mut role = json!({"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": metadata(name), "rules": []});
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if *word == "aggregates" {
            let mut wanted = Map::new();
            let label = format!("{GROUP}/aggregate-to-{}", words.next().copied().unwrap_or_default());
            wanted.insert(label, "true".into());
            role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": wanted}]});
        } else {
            meta::set_label(&mut role, &format!("{GROUP}/{word}"), Some("true"));
        }
    }
    role
}

fn binding(role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> =
        subjects.split(',').map(|group| json!({"kind": "Group", "apiGroup": GROUP, "name": group})).collect();
    json!({"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata(role),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects})
}

fn rule(words: &[&'static str]) -> Option<Value> {
    let list = |text: &'static str| text.split(',').collect::<Vec<_>>();
    let verbs = |text: &'static str| {
        let expand = |verb: &'static str| match verb {
            "read" => READ.to_vec(),
            "write" => WRITE.to_vec(),
            other => vec![other],
        };
        let mut verbs: Vec<&str> = text.split(',').flat_map(expand).collect();
        verbs.sort_unstable();
        verbs
    };
    match words {
        ["url", urls, given] => Some(json!({"nonResourceURLs": list(urls), "verbs": verbs(given)})),
        [groups, resources, given] => {
            let groups: Vec<&str> =
                groups.split(',').map(|group| if group == "-" { "" } else { group }).collect();
            Some(json!({"apiGroups": groups, "resources": list(resources), "verbs": verbs(given)}))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let all = all();
        let named = |name: &str| {
            let found =
                all.iter().find(|(_, object)| meta::name(object) == name && object["kind"] == "ClusterRole");
            found.unwrap_or_else(|| panic!("no role {name}")).1.clone()
        };
        let rules = TABLE.lines().filter(|line| line.starts_with(' ')).count();
        let read: usize = all
            .iter()
            .filter(|(_, object)| object["kind"] == "ClusterRole")
            .map(|(_, role)| role["rules"].as_array().unwrap().len())
            .sum();
        assert_eq!(read, rules);
        let selector = &named("edit")["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"];
        assert_eq!(selector, &json!({"rbac.authorization.k8s.io/aggregate-to-edit": "true"}));
        assert_eq!(
            named("view")["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"],
            "true"
        );
        assert_eq!(named("system:node")["rules"][2]["verbs"], json!(["get", "list", "watch"]));
    }
}
