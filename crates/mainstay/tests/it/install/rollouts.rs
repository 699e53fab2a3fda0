//! Rollouts, which are run where they are asked for and left alone where they are not.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use test_kit::eventually;

use super::place::{Controller, Place, SOON};

/// Four replicas, of which a fourth is the new ones at first, then a half.
const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  strategy:
    canary:
      maxSurge: 1
      maxUnavailable: 0
      steps: [{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {duration: 1s}}]
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

fn listed(place: &Place, kind: &str) -> Vec<Value> {
    let text = place.kubectl(&["get", kind, "--namespace=shop", "--output=json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Does what a controller of ReplicaSets and nodes would: as many Pods are available as are wanted. Returns how many are
/// wanted, by image; sets of none are left out.
fn replicas(place: &Place) -> Vec<(String, u64)> {
    let mut wanted = Vec::new();
    for set in listed(place, "replicasets.apps") {
        let replicas = set["spec"]["replicas"].as_u64().unwrap();
        if set["status"]["availableReplicas"].as_u64().unwrap_or(0) != replicas {
            let status = json!({"status": {
                "replicas": replicas, "fullyLabeledReplicas": replicas, "readyReplicas": replicas,
                "availableReplicas": replicas, "observedGeneration": set["metadata"]["generation"],
            }});
            let name = set["metadata"]["name"].as_str().unwrap();
            let patch = status.to_string();
            let of =
                ["patch", "replicaset", name, "--namespace=shop", "--subresource=status", "--type=merge"];
            place.kubectl(&[&of[..], &["--patch", &patch]].concat());
        }
        if replicas > 0 {
            let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
            wanted.push((image.as_str().unwrap().to_owned(), replicas));
        }
    }
    wanted.sort();
    wanted
}

/// Waits until the Rollout is in a phase, with so many replicas of each image.
fn reaches(place: &Place, phase: &str, expected: &[(&str, u64)]) {
    eventually(&format!("the Rollout is {phase} with {expected:?}"), SOON, || {
        let wanted = replicas(place);
        let path = "jsonpath={.status.phase}";
        let found = place.kubectl(&["get", "rollout", "web", "--namespace=shop", "--output", path]);
        let same = wanted.iter().map(|(image, count)| (image.as_str(), *count)).eq(expected.iter().copied());
        if same && found == phase { Ok(()) } else { Err((found, wanted)) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rollouts_are_run_where_they_are_asked_for() {
    let place = Place::find().await;
    place.install_narrow(&["--rollouts"]);
    place.namespaces(&["shop"]);
    let mut without = Controller::start(&place, &[]);
    without.is_ready("leads");
    place.apply(ROLLOUT);
    // What this controller does is done, and the Rollout is not a part of it.
    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");
    let alone = listed(&place, "rollouts.argoproj.io").remove(0);
    assert_eq!((&alone["status"], replicas(&place)), (&Value::Null, Vec::new()));
    without.signal(Signal::SIGTERM);

    let mut controller = Controller::start(&place, &["--rollouts"]);
    controller.is_ready("leads");
    reaches(&place, "Healthy", &[("web:1", 4)]);
    let of = ["patch", "rollout", "web", "--namespace=shop", "--type=merge", "--patch"];
    let patch = |more: &[&str], change: Value| {
        place.kubectl(&[&of[..], &[&change.to_string()], more].concat());
    };
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}});
    patch(&[], image);
    reaches(&place, "Paused", &[("web:1", 3), ("web:2", 1)]);
    // As `kubectl argo rollouts promote` does; the next step is half, and goes on by itself.
    patch(&["--subresource=status"], json!({"status": {"pauseConditions": null}}));
    reaches(&place, "Healthy", &[("web:2", 4)]);
    controller.was_never_refused();
    controller.signal(Signal::SIGTERM);
}
