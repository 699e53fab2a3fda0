//! Two controllers, of which one is another's: no Application is ever both's.

use serde_json::Value;
use test_kit::eventually;

use super::place::{Controller, Place, SOON};

/// As every way of installing Argo CD labels its controller. Nothing runs it here.
const ARGO_CD: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: argocd-application-controller
  namespace: argocd
  labels:
    app.kubernetes.io/component: application-controller
    app.kubernetes.io/name: argocd-application-controller
    app.kubernetes.io/part-of: argocd
spec:
  serviceName: argocd-application-controller
  selector: {matchLabels: {app.kubernetes.io/name: argocd-application-controller}}
  template:
    metadata: {labels: {app.kubernetes.io/name: argocd-application-controller}}
    spec: {containers: [{name: main, image: 'quay.io/argoproj/argocd:v3.1.0', args: [/usr/local/bin/argocd-application-controller]}]}
";

/// An Application without what its status and its every write change.
fn without_status(place: &Place, name: &str) -> String {
    let text = place.kubectl(&["get", "application", name, "--namespace=argocd", "--output=json"]);
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["resourceVersion", "generation", "managedFields"] {
        metadata.remove(field);
    }
    object.to_string()
}

fn controller_of(place: &Place, name: &str) -> String {
    let text = place.mainstay_ok(&["takeover", "status", "--output", "json"]);
    let status: Value = serde_json::from_str(&text).unwrap();
    let of = |one: &&Value| one["name"] == name;
    let found =
        status["applications"].as_array().unwrap().iter().find(of).expect("it is listed")["controller"]
            .clone();
    found.as_str().unwrap().to_owned()
}

fn touched(place: &Place, name: &str) -> bool {
    let path = "jsonpath={.status.reconciledAt}{.status.conditions}";
    !place.kubectl(&["get", "application", name, "--namespace=argocd", "--output", path]).is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn argo_cd_first_then_mainstay() {
    let place = Place::find().await;
    place.namespaces(&["shop", "web", "late"]);
    place.install(&["--scope", "namespaces=shop,web,late"]);
    place.apply(ARGO_CD);
    place.apply(&place.application("shop", "shop"));
    place.apply(&place.application("web", "web"));
    let before = without_status(&place, "shop");
    let mut controller = Controller::start(&place, &["--namespaces=shop,web,late"]);
    controller.is_ready("leads");
    eventually("Argo CD is seen", SOON, || {
        place.try_kubectl(&["get", "configmap", "mainstay-takeover", "--namespace=argocd"])
    });
    assert_eq!(controller_of(&place, "shop"), "argocd");

    let quick = ["--settle", "1", "--timeout", "60"];
    let taken = place.mainstay_ok(&[&["takeover", "take", "shop"], &quick[..]].concat());
    assert_eq!(taken, "argocd/shop taken\n");
    place.synced("shop", "one");
    assert_eq!(controller_of(&place, "shop"), "mainstay");
    let skip = r"jsonpath={.metadata.annotations.argocd\.argoproj\.io/skip-reconcile}";
    let skips = || place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output", skip]);
    assert_eq!(skips(), "true", "Argo CD leaves it alone");
    assert!(!touched(&place, "web"), "what was not taken is untouched");
    assert!(place.try_kubectl(&["get", "configmap", "settings", "--namespace=web"]).is_err());

    // It cannot be left to nobody.
    let refused = place.mainstay(&["uninstall", "--apply", "--yes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takeover return --all"));

    place.mainstay_ok(&[&["takeover", "return", "shop"], &quick[..]].concat());
    assert_eq!(without_status(&place, "shop"), before);
    assert_eq!(controller_of(&place, "shop"), "argocd");
    // Mainstay does nothing for it any more.
    place.commit("two");
    place.apply(&place.application("late", "late"));
    place.mainstay_ok(&[&["takeover", "take", "late"], &quick[..]].concat());
    place.synced("late", "two");
    let live = place.kubectl(&[
        "get",
        "configmap",
        "settings",
        "--namespace=shop",
        "--output=jsonpath={.data.value}",
    ]);
    assert_eq!(live, "one");

    // An Argo CD that goes is not a word of a person.
    place.kubectl(&["delete", "statefulset", "argocd-application-controller", "--namespace=argocd"]);
    assert_eq!(controller_of(&place, "web"), "argocd");
    let said = place.mainstay(&["takeover", "finish"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("--yes"));
    place.mainstay_ok(&["takeover", "finish", "--yes"]);
    place.synced("web", "two");
    place.synced("shop", "two");
    controller.was_never_refused();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mainstay_first_then_argo_cd() {
    let place = Place::find().await;
    place.install_narrow(&[]);
    let mut controller = Controller::start(&place, &[]);
    controller.is_ready("leads");
    place.apply(&place.application("shop", "shop"));
    place.synced("shop", "one");
    place.apply(ARGO_CD);
    eventually("Argo CD is seen", SOON, || {
        place.try_kubectl(&["get", "configmap", "mainstay-takeover", "--namespace=argocd"])
    });
    let before = place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output=json"]);
    place.commit("two");
    place.apply(&place.application("late", "late"));
    // The controller is still at work: what is taken follows the commit.
    place.mainstay_ok(&["takeover", "take", "late", "--settle", "1"]);
    place.synced("late", "two");
    let after = place.kubectl(&["get", "application", "shop", "--namespace=argocd", "--output=json"]);
    assert_eq!(after, before, "nobody wrote what Argo CD looks after now");
    controller.was_never_refused();
}
