//! Which nodes need a Pod of a DaemonSet, and which Pods an update replaces.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use client::Key;
use jiff::Timestamp;
use objects::int_or_string::{Round, scaled};
use objects::meta;
use scheduling::{Cluster, choose};
use serde_json::{Value, json};

use crate::pods;

pub(super) const HASH_LABEL: &str = "controller-revision-hash";

/// The key that means "every set".
pub(super) fn every_set() -> Key {
    Key::cluster("")
}

/// Tells changes of nodes that matter to DaemonSets from heartbeats.
#[derive(Debug, Default)]
pub(super) struct NodeChanges(Mutex<HashMap<String, Value>>);

impl NodeChanges {
    pub(super) fn into_map(self) -> impl Fn(&Value) -> Vec<Key> + Send + Sync {
        move |node| {
            let matters = json!([
                node["metadata"]["labels"],
                node["spec"]["taints"],
                node["spec"]["unschedulable"],
                meta::uid(node),
                meta::is_deleting(node)
            ]);
            let mut known = self.0.lock().expect("no panic while held");
            let before = known.insert(meta::name(node).to_owned(), matters.clone());
            if before.as_ref() == Some(&matters) { Vec::new() } else { vec![every_set()] }
        }
    }
}

/// What to do with the set's Pods.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Names of nodes that need a Pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Value>,
    /// Pods that failed: deleted too, with their own event.
    pub(super) failed: Vec<Value>,
}

/// The taints every daemon Pod tolerates, as upstream adds them.
fn tolerations(template: &Value) -> Vec<Value> {
    let mut list = template["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let mut wanted = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if template["spec"]["hostNetwork"] == true {
        wanted.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    for (key, effect) in wanted {
        let toleration = json!({ "key": key, "operator": "Exists", "effect": effect });
        if !list.contains(&toleration) {
            list.push(toleration);
        }
    }
    list
}

/// The Pod for one node: bound to it by affinity, so that the scheduler counts its resources.
pub(super) fn pod(set: &Value, node: &str, hash: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = pods::from_template(template, set);
    pod["metadata"]["generateName"] = json!(format!("{}-", meta::name(set)));
    meta::set_label(&mut pod, HASH_LABEL, Some(hash));
    pod["spec"]["tolerations"] = Value::Array(tolerations(template));
    let field = json!([{ "key": "metadata.name", "operator": "In", "values": [node] }]);
    let required =
        &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"].as_array_mut().filter(|terms| !terms.is_empty()) {
        Some(terms) => terms.iter_mut().for_each(|term| term["matchFields"] = field.clone()),
        None => required["nodeSelectorTerms"] = json!([{ "matchFields": field }]),
    }
    pod
}

/// Whether a node should run a Pod of the set, asked of the scheduler's own rules on an otherwise empty node: what a Pod needs
/// of room is the scheduler's business later, but labels and taints decide whether it is wanted here at all.
fn wants(set: &Value, node: &Value) -> bool {
    let mut probe = pod(set, meta::name(node), "");
    for field in ["containers", "initContainers", "resources", "overhead", "topologySpreadConstraints"] {
        probe["spec"].as_object_mut().map(|spec| spec.remove(field));
    }
    if let Some(affinity) = probe["spec"]["affinity"].as_object_mut() {
        affinity.retain(|kind, _| kind == "nodeAffinity");
    }
    let mut cluster = Cluster::new();
    cluster.set_node(node);
    choose(&cluster, &probe, &[]).is_ok()
}

/// The node a Pod is on, or is meant for.
fn node_of(pod: &Value) -> Option<&str> {
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0")?
        .as_str()
}

fn by_node(members: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut map: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for pod in members {
        if let Some(node) = node_of(pod) {
            map.entry(node).or_default().push(pod);
        }
    }
    map
}

pub(super) fn plan(set: &Value, nodes: &[Value], members: &[Value], hash: &str, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let on_node = by_node(members);
    for node in nodes {
        let name = meta::name(node);
        let here = on_node.get(name).map(Vec::as_slice).unwrap_or_default();
        let live: Vec<&Value> = here.iter().copied().filter(|pod| !meta::is_deleting(pod)).collect();
        if !wants(set, node) {
            plan.delete.extend(live.into_iter().cloned());
            continue;
        }
        let (failed, good): (Vec<&Value>, Vec<&Value>) =
            live.into_iter().partition(|pod| pods::is_finished(pod));
        if here.is_empty() {
            plan.create.push(name.to_owned());
        }
        plan.failed.extend(failed.into_iter().cloned());
        // Of several Pods on one node the oldest stays.
        let mut good = good;
        good.sort_by_key(|pod| (!pods::is_ready(pod), meta::created_at(pod), meta::name(pod).to_owned()));
        plan.delete.extend(good.into_iter().skip(1).cloned());
    }
    for (node, pods) in &on_node {
        if !nodes.iter().any(|known| meta::name(known) == *node) {
            plan.delete.extend(pods.iter().filter(|pod| !meta::is_deleting(pod)).map(|pod| (*pod).clone()));
        }
    }
    if plan.create.is_empty() && set["spec"]["updateStrategy"]["type"] != "OnDelete" {
        let replaced = update(set, nodes, &on_node, hash, now);
        plan.delete.extend(replaced.into_iter().filter(|pod| !plan_has(&plan, pod)).collect::<Vec<_>>());
    }
    plan
}

fn plan_has(plan: &Plan, pod: &Value) -> bool {
    plan.delete.iter().chain(&plan.failed).any(|other| meta::name(other) == meta::name(pod))
}

/// Pods of older revisions that may be replaced now. Only `maxUnavailable` is used; a surge of Pods on one node is not made.
fn update(
    set: &Value,
    nodes: &[Value],
    on_node: &BTreeMap<&str, Vec<&Value>>,
    hash: &str,
    now: Timestamp,
) -> Vec<Value> {
    let wanted: Vec<&str> = nodes.iter().filter(|node| wants(set, node)).map(meta::name).collect();
    let total = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
    let allowed = match &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] {
        Value::Null => 1,
        value => scaled(value, total, Round::Up).unwrap_or(1).max(1),
    };
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let available = |pod: &Value| !meta::is_deleting(pod) && pods::is_available(pod, min_ready, now);
    let mut unavailable = 0;
    let mut down = Vec::new();
    let mut up = Vec::new();
    for node in wanted {
        let here = on_node.get(node).map(Vec::as_slice).unwrap_or_default();
        if !here.iter().any(|pod| available(pod)) {
            unavailable += 1;
        }
        for pod in
            here.iter().filter(|pod| !meta::is_deleting(pod) && meta::label(pod, HASH_LABEL) != Some(hash))
        {
            if available(pod) { up.push((*pod).clone()) } else { down.push((*pod).clone()) }
        }
    }
    let room = usize::try_from(allowed - unavailable).unwrap_or(0);
    // What is down anyway is replaced at no cost.
    down.into_iter().chain(up.into_iter().take(room)).collect()
}

pub(super) fn status(
    set: &Value,
    nodes: &[Value],
    members: &[Value],
    hash: &str,
    collisions: i64,
    now: Timestamp,
) -> Value {
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let on_node = by_node(members);
    let (mut desired, mut current, mut misscheduled, mut ready, mut available, mut updated) =
        (0, 0, 0, 0, 0, 0);
    for node in nodes {
        let here = on_node.get(meta::name(node)).map(Vec::as_slice).unwrap_or_default();
        let oldest = here.iter().min_by_key(|pod| (!pods::is_ready(pod), meta::created_at(pod)));
        if !wants(set, node) {
            misscheduled += usize::from(oldest.is_some());
            continue;
        }
        desired += 1;
        if let Some(pod) = oldest {
            current += 1;
            ready += usize::from(pods::is_ready(pod));
            available += usize::from(pods::is_available(pod, min_ready, now));
            updated += usize::from(meta::label(pod, HASH_LABEL) == Some(hash));
        }
    }
    // These four are always written: they have no "omitempty" upstream.
    let mut status = json!({
        "observedGeneration": meta::generation(set),
        "currentNumberScheduled": current,
        "desiredNumberScheduled": desired,
        "numberMisscheduled": misscheduled,
        "numberReady": ready,
    });
    if let Some(conditions) = set["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    if collisions > 0 {
        status["collisionCount"] = json!(collisions);
    }
    crate::set_count(&mut status, "updatedNumberScheduled", updated);
    crate::set_count(&mut status, "numberAvailable", available);
    crate::set_count(&mut status, "numberUnavailable", desired - available);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod as running;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    fn set(extra: Value) -> Value {
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": { "name": "agent", "namespace": "a", "uid": "d", "generation": 1 },
            "spec": { "selector": { "matchLabels": { "app": "agent" } },
                "template": { "metadata": { "labels": { "app": "agent" } },
                    "spec": { "nodeSelector": { "os": "linux" },
                        "containers": [{ "resources": { "requests": { "cpu": "64" } } }] } } },
        });
        objects::patch::merge(&mut set, &extra);
        set
    }

    fn node(name: &str, os: &str) -> Value {
        json!({ "metadata": { "name": name, "labels": { "os": os } },
            "spec": { "taints": [{ "key": "node.kubernetes.io/not-ready", "effect": "NoExecute" }] } })
    }

    fn member(name: &str, node: &str, hash: &str, ready: bool) -> Value {
        let mut pod = running(name, ready.then_some(60));
        pod["spec"]["nodeName"] = json!(node);
        meta::set_label(&mut pod, HASH_LABEL, Some(hash));
        pod
    }

    fn names(pods: &[Value]) -> Vec<&str> {
        pods.iter().map(meta::name).collect()
    }

    #[test]
    fn every_suitable_node_gets_one() {
        let nodes = [node("n1", "linux"), node("n2", "other"), node("n3", "linux")];
        let members =
            [member("p1", "n1", "h", true), member("p2", "n2", "h", true), member("p4", "n9", "h", true)];
        let plan = plan(&set(json!({})), &nodes, &members, "h", now());
        assert_eq!(plan.create, ["n3"]);
        assert_eq!(names(&plan.delete), ["p2", "p4"]);
        let status = status(&set(json!({})), &nodes, &members, "h", 0, now());
        assert_eq!(status["desiredNumberScheduled"], 2);
        assert_eq!(status["currentNumberScheduled"], 1);
        assert_eq!(status["numberMisscheduled"], 1);
        assert_eq!(status["numberUnavailable"], 1);
    }

    #[test]
    fn a_pod_is_bound_to_its_node_and_tolerates_what_daemons_do() {
        let pod = pod(&set(json!({})), "n1", "h");
        assert_eq!(node_of(&pod), Some("n1"));
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 6);
        assert_eq!(pod["spec"]["nodeSelector"], json!({ "os": "linux" }));
    }

    #[test]
    fn failed_pods_and_doubles_go() {
        let mut failed = member("failed", "n1", "h", false);
        failed["status"]["phase"] = json!("Failed");
        let members = [failed, member("a", "n2", "h", true), member("b", "n2", "h", false)];
        let nodes = [node("n1", "linux"), node("n2", "linux")];
        let plan = plan(&set(json!({})), &nodes, &members, "h", now());
        assert_eq!((names(&plan.failed), names(&plan.delete)), (vec!["failed"], vec!["b"]));
        assert!(plan.create.is_empty());
    }

    #[test]
    fn updates_replace_as_many_as_may_be_down() {
        let nodes: Vec<Value> = (1..=3).map(|n| node(&format!("n{n}"), "linux")).collect();
        let old: Vec<Value> =
            (1..=3).map(|n| member(&format!("p{n}"), &format!("n{n}"), "old", true)).collect();
        let plan_of = |set: &Value, members: &[Value]| {
            names(&plan(set, &nodes, members, "new", now()).delete)
                .iter()
                .map(|n| (*n).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(plan_of(&set(json!({})), &old), ["p1"]);
        let two =
            set(json!({ "spec": { "updateStrategy": { "rollingUpdate": { "maxUnavailable": "50%" } } } }));
        assert_eq!(plan_of(&two, &old), ["p1", "p2"]);
        let starting = [member("p1", "n1", "new", false), old[1].clone(), old[2].clone()];
        assert_eq!(plan_of(&set(json!({})), &starting), Vec::<String>::new());
        let broken = [member("p1", "n1", "old", false), old[1].clone(), old[2].clone()];
        assert_eq!(plan_of(&set(json!({})), &broken), ["p1"]);
        let manual = set(json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } }));
        assert_eq!(plan_of(&manual, &old), Vec::<String>::new());
    }

    #[test]
    fn heartbeats_concern_nobody() {
        let map = NodeChanges::default().into_map();
        let mut node = node("n1", "linux");
        assert_eq!(map(&node), [every_set()]);
        node["status"] = json!({ "conditions": [] });
        assert_eq!(map(&node), []);
        node["spec"]["unschedulable"] = json!(true);
        assert_eq!(map(&node), [every_set()]);
    }
}
