//! What a ReplicaSet needs, from its Pods.

use client::conditions::{self, Condition};
use jiff::Timestamp;
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use crate::pods;

/// At most this many pods are made or deleted in one pass, as upstream's burst.
const BURST: usize = 500;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: usize,
    pub(super) delete: Vec<Value>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.create == 0 && self.delete.is_empty()
    }
}

/// Compares the active pods with what the set wants.
pub(super) fn plan(set: &Value, mut active: Vec<Value>) -> Plan {
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    if active.len() <= wanted {
        return Plan { create: (wanted - active.len()).min(BURST), delete: Vec::new() };
    }
    pods::sort_for_deletion(&mut active);
    active.truncate((active.len() - wanted).min(BURST));
    Plan { create: 0, delete: active }
}

/// The status after a pass. `failure` is the reason and message of what could not be made or deleted.
pub(super) fn status(
    set: &Value,
    active: &[Value],
    failure: Option<(&str, String)>,
    now: Timestamp,
) -> Value {
    let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let template_labels =
        LabelSelector::from_map(set["spec"]["template"]["metadata"].get("labels").unwrap_or(&Value::Null));
    let count = |what: &dyn Fn(&Value) -> bool| active.iter().filter(|pod| what(pod)).count();
    let mut status = set["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["replicas"] = json!(active.len());
    let counts = [
        ("fullyLabeledReplicas", count(&|pod| template_labels.matches_object(pod))),
        ("readyReplicas", count(&pods::is_ready)),
        ("availableReplicas", count(&|pod| pods::is_available(pod, min_ready, now))),
    ];
    for (field, count) in counts {
        crate::set_count(&mut status, field, count);
    }
    status["observedGeneration"] = json!(meta::generation(set));
    match failure {
        Some((reason, message)) => {
            conditions::set_plain(
                &mut status,
                &Condition::new("ReplicaFailure", "True", reason, message),
                now,
            );
        }
        None => conditions::remove(&mut status, "ReplicaFailure"),
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;

    fn set(replicas: i64) -> Value {
        json!({ "metadata": { "name": "web", "uid": "1", "generation": 3 },
            "spec": { "replicas": replicas, "minReadySeconds": 10,
                "template": { "metadata": { "labels": { "app": "web" } } } } })
    }

    #[test]
    fn makes_what_is_missing_and_deletes_what_is_too_much() {
        let pods = || vec![pod("a", Some(60)), pod("b", None), pod("c", Some(60))];
        assert_eq!(plan(&set(5), pods()).create, 2);
        assert_eq!(plan(&set(3), pods()), Plan::default());
        let names = |plan: Plan| plan.delete.iter().map(|p| meta::name(p).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(plan(&set(2), pods())), ["b"]);
        assert_eq!(plan(&set(0), pods()).delete.len(), 3);
        assert_eq!(plan(&set(2000), Vec::new()).create, BURST);
    }

    #[test]
    fn status_counts_and_reports() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let mut labelled = pod("a", Some(60));
        labelled["metadata"]["labels"] = json!({ "app": "web", "x": "y" });
        let pods = [labelled, pod("b", Some(5)), pod("c", None)];
        let status = super::status(&set(3), &pods, Some(("FailedCreate", "quota".to_owned())), now);
        assert_eq!(status["replicas"], 3);
        assert_eq!(status["fullyLabeledReplicas"], 1);
        assert_eq!(status["readyReplicas"], 2);
        assert_eq!(status["availableReplicas"], 1);
        assert_eq!(status["observedGeneration"], 3);
        assert_eq!(status["conditions"][0]["reason"], "FailedCreate");
        let mut later = set(3);
        later["status"] = status;
        let status = super::status(&later, &[], None, now);
        assert_eq!(status, json!({ "replicas": 0, "observedGeneration": 3 }));
    }
}
