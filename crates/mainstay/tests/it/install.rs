//! On a cluster that is somebody else's: the manifests of `install`, applied by real `kubectl`, and the controllers as
//! processes with the permissions that the manifests give them. `MAINSTAY_REFERENCE` names the kubeconfig of a real
//! kube-apiserver; without it the embedded API is that cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod helm;
mod place;
mod takeover;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_kit::eventually;

use place::{Controller, Place, SOON};

/// Everything that the rules of the namespace of the Applications are for.
const SETS: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd}
spec:
  goTemplate: true
  generators: [{list: {elements: [{team: red}, {team: blue}]}}]
  template:
    metadata: {name: 'team-{{.team}}'}
    spec:
      project: default
      source: {repoURL: 'https://git.example.org/platform.git', path: shop, targetRevision: HEAD}
      destination: {server: 'https://kubernetes.default.svc', namespace: '{{.team}}'}
      syncPolicy: {automated: {prune: true}, syncOptions: [CreateNamespace=true]}
";

/// A controller that is killed leaves a standby that goes on; one that is stopped hands over at once. What the manifests
/// permit is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_leads_and_another_takes_over() {
    let place = Place::find().await;
    place.install(&[]);
    let mut first = Controller::start(&place, &[]);
    first.is_ready("leads");
    let mut second = Controller::start(&place, &[]);
    second.is_ready("stands by");
    assert!(second.metrics().contains("leader_election_master_status{name=\"mainstay\"} 0"));

    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");
    assert!(first.metrics().contains("argocd_app_info{name=\"shop\""), "{}", first.metrics());

    let killed = Instant::now();
    first.signal(Signal::SIGKILL);
    place.commit("two");
    second.is_ready("leads");
    place.synced("shop", "two");
    // The lease lasts 15 s, and is asked for every 2 to 4.4 s.
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    eprintln!("the standby was at work {:?} after the leader was killed", killed.elapsed());

    let mut third = Controller::start(&place, &[]);
    third.is_ready("stands by");
    let stopped = Instant::now();
    second.signal(Signal::SIGTERM);
    third.is_ready("leads");
    assert!(stopped.elapsed() < Duration::from_secs(14), "the lease was given back: {:?}", stopped.elapsed());

    place.apply(SETS);
    place.synced("team-red", "two");
    place.kubectl(&["delete", "applicationset", "teams", "--namespace=argocd", "--wait=false"]);
    eventually("its Applications go with the set, or are orphaned by it", SOON, || {
        let sets = place.kubectl(&["get", "applicationsets", "--namespace=argocd", "--output=name"]);
        if sets.is_empty() { Ok(()) } else { Err(sets) }
    });
    for controller in [&first, &second, &third] {
        controller.was_never_refused();
    }
    third.signal(Signal::SIGTERM);

    let printed = place.mainstay_ok(&["uninstall"]);
    assert!(
        printed.contains("kind: Deployment") && !printed.contains("CustomResourceDefinition"),
        "{printed}"
    );
    place.mainstay_ok(&["uninstall", "--apply", "--yes"]);
    let left = place.kubectl(&[
        "get",
        "deployments,clusterroles,clusterrolebindings",
        "-A",
        "-l",
        "app.kubernetes.io/part-of=mainstay",
        "--output=name",
    ]);
    assert_eq!(left, "");
    let kept = place.kubectl(&["get", "applications", "--namespace=argocd", "--output=name"]);
    assert!(kept.contains("shop"), "Applications stay: {kept}");
}

/// A list of namespaces: the controller neither asks for nor touches anything elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_team_may_keep_it_to_its_namespaces() {
    let place = Place::find().await;
    for namespace in ["shop", "other"] {
        place.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    }
    place.install(&["--scope", "namespaces=shop"]);
    let mut controller = Controller::start(&place, &["--namespaces=shop"]);
    controller.is_ready("leads");
    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");
    place.apply(&place.application("elsewhere", "other"));
    eventually("it is told why nothing is deployed elsewhere", SOON, || {
        let path = "jsonpath={.status.operationState.message}{.status.operationState.syncResult.resources[*].message}\
                    {.status.conditions[*].message}";
        let said =
            place.kubectl(&["get", "application", "elsewhere", "--namespace=argocd", "--output", path]);
        if said.contains("is not managed") { Ok(()) } else { Err(said) }
    });
    assert!(place.try_kubectl(&["get", "configmap", "settings", "--namespace=other"]).is_err());
    controller.was_never_refused();
    controller.signal(Signal::SIGTERM);
}
