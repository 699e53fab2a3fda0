//! On a cluster that is somebody else's: the manifests of `install`, applied by real `kubectl`, and the controllers as
//! processes with the permissions that the manifests give them. `MAINSTAY_REFERENCE` names the kubeconfig of a real
//! kube-apiserver; without it the embedded API is that cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod helm;
mod place;
mod rollouts;
mod takeover;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use test_kit::eventually;

use crate::platform::Platform;
use place::{Controller, Place, SOON, URL};

/// Everything that the rules of the namespace of the Applications are for.
const SETS: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: teams, namespace: argocd}
spec:
  goTemplate: true
  # A cascade would wait for a garbage collector, which not every cluster of these tests has.
  syncPolicy: {preserveResourcesOnDeletion: true}
  generators: [{list: {elements: [{team: red}, {team: blue}]}}]
  template:
    metadata: {name: 'team-{{.team}}'}
    spec:
      project: default
      source: {repoURL: 'https://git.example.org/platform.git', path: shop, targetRevision: HEAD}
      destination: {server: 'https://kubernetes.default.svc', namespace: '{{.team}}'}
      syncPolicy: {automated: {prune: true}, syncOptions: [CreateNamespace=true]}
";

/// Nobody answers there.
const CHART: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: chart, namespace: argocd}
spec:
  project: default
  source: {repoURL: 'http://127.0.0.1:9/charts', chart: none, targetRevision: 1.0.0}
  destination: {server: 'https://kubernetes.default.svc', namespace: shop}
";

/// A controller that is killed leaves a standby that goes on; one that is stopped hands over at once. What the manifests
/// permit is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_leads_and_another_takes_over() {
    let place = Place::find().await;
    place.install_narrow(&[]);
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
    place.synced("team-blue", "two");
    place.apply(&SETS.replace(", {team: blue}", ""));
    eventually("the set deletes what it no longer generates", SOON, || {
        let all = place.kubectl(&["get", "applications", "--namespace=argocd", "--output=name"]);
        if all.contains("team-blue") { Err(all) } else { Ok(()) }
    });
    // What is done seldom has to be permitted too: a refresh of a set, an Event that is counted up, the credentials of a
    // chart repository.
    let refresh = "argocd.argoproj.io/application-set-refresh";
    place.kubectl(&["annotate", "applicationset", "teams", "--namespace=argocd", &format!("{refresh}=true")]);
    eventually("the set is refreshed", SOON, || {
        let set = place.kubectl(&["get", "applicationset", "teams", "--namespace=argocd", "--output=json"]);
        if set.contains(&format!("{refresh}\": \"true")) { Err(set) } else { Ok(()) }
    });
    for _ in 0..2 {
        place.mainstay_ok(&["app", "sync", "shop"]);
    }
    place.apply(CHART);
    eventually("the chart is asked for", SOON, || {
        let path = "jsonpath={.status.conditions[*].message}";
        let said = place.kubectl(&["get", "application", "chart", "--namespace=argocd", "--output", path]);
        if said.contains("127.0.0.1") { Ok(()) } else { Err(said) }
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

/// The hosts of repositories reach any of the processes by the Service: what one is told, whoever leads looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn webhooks_reach_whoever_leads() {
    const COUNTED: &str = r#"mainstay_webhooks_total{host="GitLab",status="200"}"#;
    let place = Place::find().await;
    place.install_narrow(&[]);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: argocd-secret, namespace: argocd}\n\
                  stringData: {webhook.gitlab.secret: pass-word}\n";
    place.apply(secret);
    let mut first = Controller::start(&place, &[]);
    first.is_ready("leads");
    let mut second = Controller::start(&place, &[]);
    second.is_ready("stands by");
    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");

    assert_eq!(second.push("anybody", URL), 400);
    let looked = || {
        let path = "jsonpath={.status.reconciledAt}";
        place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output", path])
    };
    let before = looked();
    // The status has whole seconds: one that is told at once may change nothing in it.
    eventually("whoever leads looks at what the standby was told", SOON, || {
        assert_eq!(second.push("pass-word", URL), 200);
        let now = looked();
        if now == before { Err(now) } else { Ok(()) }
    });
    assert!(!second.metrics().contains(COUNTED));

    assert_eq!(first.push("anybody", URL), 400);
    assert_eq!(first.push("pass-word", URL), 200);
    assert!(first.metrics().contains(&format!("{COUNTED} 1")), "{}", first.metrics());

    // What was a standby acts by itself once it leads.
    first.signal(Signal::SIGTERM);
    second.is_ready("leads");
    eventually("the new leader takes webhooks for itself", SOON, || {
        assert_eq!(second.push("pass-word", URL), 200);
        let metrics = second.metrics();
        if metrics.contains(COUNTED) { Ok(()) } else { Err(metrics) }
    });
    place.commit("two");
    place.synced("shop", "two");
    for controller in [&first, &second] {
        controller.was_never_refused();
    }
    second.signal(Signal::SIGTERM);
}

/// A leader that is refused its lease stops in time, says so, and leads again when it gets it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_cannot_renew_writes_nothing_any_more() {
    let place = Place::find().await;
    place.namespaces(&["shop"]);
    place.install(&["--scope", "namespaces=shop"]);
    let mut controller = Controller::start(&place, &["--namespaces=shop"]);
    controller.is_ready("leads");
    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");
    let binding =
        place.kubectl(&["get", "rolebinding", "mainstay-lease", "--namespace=mainstay", "--output=yaml"]);
    place.kubectl(&["delete", "rolebinding", "mainstay-lease", "--namespace=mainstay"]);
    let cut = Instant::now();
    eventually("it steps down", SOON, || {
        let said = controller.said();
        if said.contains("this process leads no more") { Ok(()) } else { Err(said) }
    });
    // It may renew once more until the API has noticed; then it has 10 s, and others would begin after 15.
    assert!(cut.elapsed() < Duration::from_secs(14), "{:?}", cut.elapsed());
    place.commit("two");
    let before = place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output=json"]);
    eventually("it is not ready", SOON, || controller.is_not_ready());
    assert!(controller.metrics().contains("leader_election_master_status{name=\"mainstay\"} 0"));
    let after = place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output=json"]);
    assert_eq!(before, after);
    let mut binding: serde_json::Value = yaml::from_str(&binding).unwrap();
    binding["metadata"].as_object_mut().unwrap().retain(|field, _| field == "name" || field == "namespace");
    place.apply(&yaml::to_string(&binding));
    controller.is_ready("leads");
    place.synced("shop", "two");
    controller.signal(Signal::SIGTERM);
}

/// The image that the documentation describes, and the Deployment of the manifests, in containers: as a user that is not
/// root, on a root that cannot be written, by the service account of the Pod. The cluster is the embedded one; what is
/// installed looks after the Applications of another namespace than the cluster's own controller.
#[test]
fn the_deployment_runs() {
    let platform = Platform::up(&["--bare"]);
    let mainstay = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(arguments)
            .env("KUBECONFIG", platform.kubeconfig())
            .output()
            .expect("start mainstay");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let data = platform.data_dir();
    let image = ["image", "pack", env!("CARGO_BIN_EXE_mainstay"), "--tag", "localhost/mainstay:test"];
    let user = ["--user", "65532:65532", "--data-dir", data.to_str().unwrap()];
    mainstay(&[&image[..], &user[..]].concat());
    let team = ["--argocd-namespace", "team"];
    mainstay(&[&["install", "--image", "localhost/mainstay:test", "--apply"], &team[..]].concat());
    let available = |object: &serde_json::Value| object["status"]["availableReplicas"].to_string();
    platform.wait_for(SOON, &["deployment", "mainstay", "--namespace=mainstay"], available, "2");
    let holder = || {
        let path = "jsonpath={.spec.holderIdentity}";
        platform.kubectl(&["get", "lease", "mainstay", "--namespace=mainstay", "--output", path])
    };
    let leader = holder();
    let pod = leader.split('_').next().unwrap();
    platform.kubectl(&["delete", "pod", pod, "--namespace=mainstay", "--wait=false"]);
    eventually("another one leads", SOON, || {
        let now = holder();
        if now != leader && !now.is_empty() { Ok(()) } else { Err(now) }
    });
    // Narrowed later, nothing of the wider role stays.
    mainstay(
        &[&["install", "--image", "localhost/mainstay:test", "--apply", "--deploy-role", "edit"], &team[..]]
            .concat(),
    );
    let path = "jsonpath={.roleRef.name}";
    assert_eq!(platform.kubectl(&["get", "clusterrolebinding", "mainstay-deploy", "--output", path]), "edit");
    assert!(platform.try_kubectl(&["get", "clusterrole", "mainstay-deploy"]).is_err());
    // The installed controller is at work: it made the project that Argo CD would.
    platform.kubectl(&["get", "appproject", "default", "--namespace=team"]);
    mainstay(&[&["uninstall", "--apply", "--yes"], &team[..]].concat());
    eventually("its namespace goes", SOON, || {
        match platform.try_kubectl(&["get", "namespace", "mainstay"]) {
            Ok(there) => Err(there),
            Err(_) => Ok(()),
        }
    });
}

/// A list of namespaces: the controller neither asks for nor touches anything elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_team_may_keep_it_to_its_namespaces() {
    let place = Place::find().await;
    place.namespaces(&["shop", "other"]);
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
