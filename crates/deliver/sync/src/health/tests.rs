use serde_json::json;

use super::HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};
use super::*;
use crate::ResourceKey;

fn of(object: Value) -> Option<HealthStatus> {
    assess(&object).map(|health| health.status)
}

fn with_conditions(api_version: &str, kind: &str, conditions: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 2},
           "status": {"conditions": conditions}})
}

#[test]
fn deployments() {
    let deployment = |spec: Value, status: Value| {
        of(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "generation": 3},
                  "spec": spec, "status": status}))
    };
    let done = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    assert_eq!(deployment(json!({"replicas": 2}), done.clone()), Some(Healthy));
    assert_eq!(deployment(json!({"replicas": 2, "paused": true}), done), Some(Suspended));
    assert_eq!(deployment(json!({"replicas": 2}), json!({"observedGeneration": 2})), Some(Progressing));
    assert_eq!(deployment(json!({"replicas": 0}), json!({"observedGeneration": 3})), Some(Healthy));
    for status in [
        json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
        json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}),
        json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
    ] {
        assert_eq!(deployment(json!({"replicas": 2}), status), Some(Progressing));
    }
    let stuck = json!({"observedGeneration": 3,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
    assert_eq!(deployment(json!({"replicas": 2}), stuck), Some(Degraded));
    let beta = json!({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "x"}});
    assert_eq!(of(beta), Some(Unknown), "a version without a check is an error");
}

#[test]
fn stateful_sets_and_daemon_sets() {
    let set = |kind: &str, spec: Value, status: Value| {
        of(json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x", "generation": 1},
                  "spec": spec, "status": status}))
    };
    assert_eq!(set("StatefulSet", json!({"replicas": 1}), json!({})), Some(Progressing));
    assert_eq!(
        set("StatefulSet", json!({"replicas": 1}), json!({"observedGeneration": 1})),
        Some(Progressing)
    );
    let rolling = json!({"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    let status =
        |updated: i64| json!({"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": updated});
    assert_eq!(set("StatefulSet", rolling.clone(), status(0)), Some(Progressing));
    assert_eq!(set("StatefulSet", rolling, status(1)), Some(Healthy));
    let plain = json!({"replicas": 0, "updateStrategy": {"type": "RollingUpdate"}});
    let revisions = json!({"observedGeneration": 1, "updateRevision": "b", "currentRevision": "a"});
    assert_eq!(set("StatefulSet", plain, revisions), Some(Progressing));
    let daemons = |updated: i64, available: i64| {
        json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": updated,
               "numberAvailable": available})
    };
    assert_eq!(set("DaemonSet", json!({}), daemons(1, 2)), Some(Progressing));
    assert_eq!(set("DaemonSet", json!({}), daemons(2, 1)), Some(Progressing));
    assert_eq!(set("DaemonSet", json!({}), daemons(2, 2)), Some(Healthy));
    assert_eq!(
        set("DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), daemons(0, 0)),
        Some(Healthy)
    );
}

#[test]
fn small_kinds() {
    let check = |object: Value, expected| assert_eq!(of(object.clone()), expected, "{object}");
    let ingress =
        |status: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "status": status});
    check(ingress(json!({})), Some(Progressing));
    check(ingress(json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}})), Some(Healthy));
    let service = |kind: &str| json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": kind}});
    check(service("ClusterIP"), Some(Healthy));
    check(service("LoadBalancer"), Some(Progressing));
    for (phase, expected) in
        [("Lost", Degraded), ("Pending", Progressing), ("Bound", Healthy), ("Odd", Unknown)]
    {
        check(
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": phase}}),
            Some(expected),
        );
    }
    check(json!({"apiVersion": "v1", "kind": "ConfigMap"}), None);
    check(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}), None);
    check(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        Some(Progressing),
    );
}

#[test]
fn conditions_decide() {
    let check = |api_version: &str, kind: &str, conditions: Value, expected| {
        let object = with_conditions(api_version, kind, conditions);
        assert_eq!(of(object.clone()), Some(expected), "{object}");
    };
    let is = |kind: &str, status: &str| json!([{"type": kind, "status": status}]);
    check("batch/v1", "Job", json!([]), Progressing);
    check("batch/v1", "Job", is("Failed", "False"), Degraded);
    check("batch/v1", "Job", is("Suspended", "True"), Suspended);
    check("batch/v1", "Job", is("Suspended", "False"), Healthy);
    check("batch/v1", "Job", is("Complete", "True"), Healthy);
    let hpa = "autoscaling/v2";
    check(hpa, "HorizontalPodAutoscaler", json!([]), Progressing);
    check(hpa, "HorizontalPodAutoscaler", is("AbleToScale", "True"), Healthy);
    check(
        hpa,
        "HorizontalPodAutoscaler",
        json!([{"type": "AbleToScale", "status": "True"},
               {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"}]),
        Degraded,
    );
    let crd = "apiextensions.k8s.io/v1";
    check(crd, "CustomResourceDefinition", json!([]), Progressing);
    check(crd, "CustomResourceDefinition", is("Established", "True"), Healthy);
    check(crd, "CustomResourceDefinition", is("NamesAccepted", "False"), Degraded);
    let issuer = "cert-manager.io/v1";
    check(issuer, "Issuer", is("Ready", "False"), Degraded);
    check(issuer, "ClusterIssuer", is("Ready", "True"), Healthy);
    check(issuer, "Certificate", json!([]), Progressing);
    check(
        issuer,
        "Certificate",
        json!([{"type": "Ready", "status": "False"}, {"type": "Issuing", "status": "True"}]),
        Progressing,
    );
    check("bitnami.com/v1alpha1", "SealedSecret", is("Synced", "True"), Healthy);
    check("policy/v1", "PodDisruptionBudget", is("DisruptionAllowed", "False"), Degraded);
    check("gateway.networking.k8s.io/v1", "Gateway", is("Programmed", "False"), Progressing);
    check("argoproj.io/v1alpha1", "ApplicationSet", is("ErrorOccurred", "True"), Degraded);
}

#[test]
fn rollouts_tell_their_phase() {
    let rollout = |observed: Value, phase: &str| {
        of(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"generation": 4},
                  "status": {"observedGeneration": observed, "phase": phase}}))
    };
    assert_eq!(rollout(json!("3"), "Healthy"), Some(Progressing));
    assert_eq!(rollout(json!("4"), "Healthy"), Some(Healthy));
    assert_eq!(rollout(json!(4), "Paused"), Some(Suspended));
    assert_eq!(rollout(json!("4"), "Degraded"), Some(Degraded));
    assert_eq!(rollout(json!("4"), "Progressing"), Some(Progressing));
}

#[test]
fn pods() {
    let pod = |policy: &str, status: Value| {
        of(json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": policy}, "status": status}))
    };
    let waiting = |reason: &str| {
        json!({"phase": "Pending",
               "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "because"}}}]})
    };
    for reason in ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"] {
        assert_eq!(pod("Always", waiting(reason)), Some(Degraded), "{reason}");
        assert_eq!(pod("Never", waiting(reason)), Some(Progressing), "{reason}");
    }
    assert_eq!(pod("Always", waiting("ContainerCreating")), Some(Progressing));
    assert_eq!(pod("Never", json!({"phase": "Succeeded"})), Some(Healthy));
    assert_eq!(pod("Never", json!({"phase": "Running"})), Some(Progressing));
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(pod("Always", ready), Some(Healthy));
    let crashed =
        json!({"phase": "Running", "containerStatuses": [{"lastState": {"terminated": {"exitCode": 1}}}]});
    assert_eq!(pod("Always", crashed), Some(Degraded));
    let failed = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"restartPolicy": "Never"},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]}});
    assert_eq!(assess(&failed).unwrap().message, "container \"c\" failed with exit code 3");
}

#[test]
fn the_worst_resource_decides() {
    let key = |name: &str| ResourceKey::new("apps", "Deployment", "shop", name);
    let health = |status| Contribution::Health(Health::new(status, ""));
    let check = |resources: &[(&str, Contribution)], expected, message: &str| {
        let keys: Vec<_> = resources.iter().map(|(name, _)| key(name)).collect();
        let result = aggregate(keys.iter().zip(resources.iter().map(|(_, contribution)| contribution)));
        assert_eq!((result.status, result.message.as_str()), (expected, message));
    };
    check(&[], Healthy, "");
    check(&[("a", Contribution::Missing)], Missing, "");
    check(&[("a", Contribution::Missing), ("b", Contribution::Exists)], Healthy, "");
    check(&[("a", health(Healthy)), ("b", health(Suspended))], Suspended, "Caused by apps/Deployment:shop/b");
    check(
        &[("a", health(Progressing)), ("b", health(Degraded)), ("c", health(Progressing))],
        Degraded,
        "Caused by apps/Deployment:shop/b",
    );
    let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| (name, health(Degraded))).into();
    check(
        &many,
        Degraded,
        "Caused by apps/Deployment:shop/a, apps/Deployment:shop/b, apps/Deployment:shop/c and 2 more",
    );
}

#[test]
fn itself_children_and_hooks_do_not_count() {
    let this = ResourceKey::new("argoproj.io", "Application", "argocd", "root");
    let application = |name: &str| {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
               "metadata": {"name": name, "namespace": "argocd"}})
    };
    let broken = Health::new(Unknown, "");
    let of = |live: &Value| contribution(None, Some(live), Some(&broken), &this);
    assert_eq!(of(&application("root")), Contribution::Exists);
    assert_eq!(of(&application("child")), Contribution::Exists);
    let hook = json!({"kind": "Job", "metadata": {"annotations": {"argocd.argoproj.io/hook": "PreSync"}}});
    assert_eq!(of(&hook), Contribution::None);
    let ignored = json!({"kind": "Job", "metadata": {"annotations": {"argocd.argoproj.io/ignore-healthcheck": "true"}}});
    assert_eq!(of(&ignored), Contribution::Exists);
    assert_eq!(of(&json!({"kind": "Job", "metadata": {}})), Contribution::Health(broken.clone()));
}
