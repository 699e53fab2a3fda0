use serde_json::json;

use super::*;

fn defaulted(mut object: Value) -> Value {
    apply(&mut object);
    let once = object.clone();
    apply(&mut object);
    assert_eq!(object, once, "defaulting twice is not the same as once");
    object
}

/// What a real API server stores for the smallest useful Deployment.
#[test]
fn deployment() {
    let object = defaulted(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "image": "nginx",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "readinessProbe": {"httpGet": {"port": 80}}}],
                "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "e"}]}}},
    }));
    assert_eq!(
        object["spec"],
        json!({
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
                "serviceAccount": "sa", "serviceAccountName": "sa",
                "containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "env": [{"name": "N", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}}],
                "volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
            }},
        })
    );
}

#[test]
fn a_pod_requests_what_it_limits_and_a_template_does_not() {
    let container = json!({"name": "c", "image": "a:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m"}}});
    let pod =
        defaulted(json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container.clone()]}}));
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "500m", "memory": "1Gi"})
    );
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
    let set = defaulted(
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"template": {"spec": {"containers": [container]}}}}),
    );
    assert_eq!(
        set["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"],
        json!({"cpu": "500m"})
    );
    assert_eq!(set["spec"]["template"]["spec"].get("enableServiceLinks"), None);
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("r:5000/nginx", "Always"),
        ("r:5000/nginx:2", "IfNotPresent"),
        ("nginx@sha256:ab", "IfNotPresent"),
        ("nginx:latest@sha256:ab", "Always"),
    ] {
        assert_eq!(image_pull_policy(image), policy, "{image}");
    }
}

#[test]
fn service_types() {
    let service =
        |spec: Value| defaulted(json!({"apiVersion": "v1", "kind": "Service", "spec": spec}))["spec"].clone();
    assert_eq!(
        service(json!({"ports": [{"port": 80}]})),
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]})
    );
    let balancer = service(
        json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 1, "targetPort": "http"}]}),
    );
    assert_eq!(balancer["externalTrafficPolicy"], "Cluster");
    assert_eq!(balancer["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    assert_eq!(balancer["ports"][0]["targetPort"], "http");
    let reached = |kind: &str| {
        let status = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "a"}]}});
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "spec": {"type": kind}, "status": status});
        defaulted(service)["status"]["loadBalancer"]["ingress"].clone()
    };
    assert_eq!(reached("LoadBalancer"), json!([{"ip": "10.0.0.1", "ipMode": "VIP"}, {"hostname": "a"}]));
    assert_eq!(reached("ClusterIP")[0].get("ipMode"), None);
    assert_eq!(
        service(json!({"type": "ExternalName", "externalName": "a"})).get("internalTrafficPolicy"),
        None
    );
}

#[test]
fn other_kinds() {
    let get = |object: Value, path: &str| defaulted(object).pointer(path).cloned().unwrap_or_default();
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}});
    assert_eq!(get(job.clone(), "/spec/completions"), 1);
    assert_eq!(get(job.clone(), "/spec/backoffLimit"), 6);
    assert_eq!(get(job, "/metadata/labels/a"), "b");
    let queue = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": 3}});
    assert_eq!(get(queue, "/spec/completions"), Value::Null);
    assert_eq!(get(json!({"apiVersion": "v1", "kind": "Secret"}), "/type"), "Opaque");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {}});
    assert_eq!(get(claim, "/spec/volumeMode"), "Filesystem");
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": {"kind": "Role"},
        "subjects": [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b"}]});
    assert_eq!(get(binding.clone(), "/roleRef/apiGroup"), "rbac.authorization.k8s.io");
    assert_eq!(get(binding, "/subjects/1/apiGroup"), Value::Null);
    let policy =
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"egress": [{}]}});
    assert_eq!(get(policy, "/spec/policyTypes"), json!(["Ingress", "Egress"]));
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 3}});
    assert_eq!(get(scaler, "/spec/metrics/0/resource/target/averageUtilization"), 80);
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"volumeClaimTemplates": [{"spec": {}}]}});
    assert_eq!(get(set.clone(), "/spec/volumeClaimTemplates/0/kind"), "PersistentVolumeClaim");
    assert_eq!(get(set, "/spec/updateStrategy/rollingUpdate/partition"), 0);
}

#[test]
fn malformed_objects_are_left_to_validation() {
    for object in [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": "text"}),
        json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": "x", "volumes": [1, null]}}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": {}, "sessionAffinityConfig": 1}, "status": 3}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": []}),
        json!({"kind": "Pod"}),
        json!([]),
    ] {
        defaulted(object);
    }
}
