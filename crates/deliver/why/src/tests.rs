//! Causes, on objects as an API shows them.

use objects::{Value, meta};
use serde_json::json;

use super::*;
use crate::facts::Question;

/// A cluster of recorded objects.
#[derive(Default)]
struct World {
    objects: Vec<Value>,
    logs: Vec<(&'static str, &'static str)>,
    forbidden: Vec<&'static str>,
}

fn world(objects: &[Value]) -> World {
    World { objects: objects.to_vec(), ..World::default() }
}

impl World {
    fn answer(&self, question: &Question) -> Answer {
        let is = |object: &Value, group: &str, kind: &str| {
            let version = object["apiVersion"].as_str().unwrap_or_default();
            meta::kind(object) == kind && version.split_once('/').map_or("", |(group, _)| group) == group
        };
        let namespace = |object: &Value| meta::namespace(object).unwrap_or_default().to_owned();
        match question {
            Question::Object(target) if self.forbidden.contains(&target.kind.as_str()) => {
                Answer::Failed("it is forbidden".to_owned())
            }
            Question::Object(target) if target.group == "example.org" => Answer::UnknownKind,
            Question::Object(target) => self
                .objects
                .iter()
                .find(|object| {
                    is(object, &target.group, &target.kind)
                        && meta::name(object) == target.name
                        && namespace(object) == target.namespace
                })
                .map_or(Answer::Absent, |object| Answer::Object(object.clone())),
            Question::List { group, kind, namespace: wanted } => Answer::List(
                self.objects
                    .iter()
                    .filter(|object| {
                        is(object, group, kind) && (wanted.is_empty() || namespace(object) == *wanted)
                    })
                    .cloned()
                    .collect(),
            ),
            Question::Events { kind, namespace: wanted, name } => Answer::List(
                self.objects
                    .iter()
                    .filter(|object| {
                        let about = &object["involvedObject"];
                        is(object, "", "Event")
                            && about["kind"] == kind.as_str()
                            && about["name"] == name.as_str()
                            && about["namespace"].as_str().unwrap_or_default() == wanted
                    })
                    .cloned()
                    .collect(),
            ),
            Question::Log { container, .. } => self
                .logs
                .iter()
                .find(|(name, _)| name == container)
                .map_or(Answer::Absent, |(_, text)| Answer::Text((*text).to_owned())),
        }
    }

    fn why(&self, group: &str, kind: &str, name: &str) -> Node {
        let namespace = if kind == "Application" { "argocd" } else { "shop" };
        let target = Target::new(group, kind, namespace, name);
        let mut facts = Facts::default();
        for _ in 0..20 {
            let tree = explain(&facts, &target);
            let questions = facts.take_questions();
            if questions.is_empty() {
                return tree;
            }
            for question in questions {
                let answer = self.answer(&question);
                facts.add(question, answer);
            }
        }
        panic!("it asks and asks");
    }
}

/// `subject: status` of each cause.
fn causes(tree: &Node) -> Vec<String> {
    tree.causes().iter().map(|node| format!("{}: {}", node.subject, node.status)).collect()
}

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": format!("{kind}-{name}"), "generation": 1}});
    for (field, value) in more.as_object().unwrap() {
        if field == "metadata" {
            for (field, value) in value.as_object().unwrap() {
                object["metadata"][field] = value.clone();
            }
        } else {
            object[field] = value.clone();
        }
    }
    object
}

fn owned(mut object: Value, owner: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([{"uid": owner, "controller": true}]);
    object
}

fn cluster_wide(mut object: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().remove("namespace");
    object
}

fn pod(name: &str, spec: Value, status: Value) -> Value {
    let mut full = json!({"nodeName": "node-1", "restartPolicy": "Always", "containers": [{"name": "main", "image": "ghcr.io/team/web:1"}]});
    for (field, value) in spec.as_object().unwrap() {
        full[field] = value.clone();
    }
    object("v1", "Pod", name, json!({"spec": full, "status": status, "metadata": {"labels": {"app": "web"}}}))
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"phase": "Pending", "containerStatuses": [
        {"name": "main", "state": {"waiting": {"reason": reason, "message": message}}}]})
}

fn event(kind: &str, name: &str, reason: &str, message: &str, field: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.{reason}"), "namespace": "shop"},
        "type": "Warning", "reason": reason, "message": message, "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"kind": kind, "name": name, "namespace": "shop", "fieldPath": field}})
}

fn node_ready(status: &str) -> Value {
    cluster_wide(object(
        "v1",
        "Node",
        "node-1",
        json!({"status": {"conditions": [
        {"type": "Ready", "status": status, "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}]}}),
    ))
}

fn deployment(available: i64) -> Value {
    let condition = json!({"type": "Available", "status": if available > 0 { "True" } else { "False" },
        "reason": "MinimumReplicasUnavailable", "message": "Deployment does not have minimum availability."});
    object(
        "apps/v1",
        "Deployment",
        "web",
        json!({
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "web"}}}},
        "status": {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "availableReplicas": available, "conditions": [condition]}}),
    )
}

/// The Deployment's ReplicaSets: an old one and the one of now.
fn replica_sets(status: &Value) -> [Value; 2] {
    let set = |name: &str, revision: &str, status: &Value| {
        let more = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": revision}}, "status": status});
        owned(object("apps/v1", "ReplicaSet", name, more), "Deployment-web")
    };
    [set("web-old", "1", &json!({})), set("web-new", "2", status)]
}

/// A Deployment whose Pod is this one.
fn deployed(pod: Value) -> World {
    let [old, new] = replica_sets(&json!({}));
    world(&[deployment(0), old, new, owned(pod, "ReplicaSet-web-new"), node_ready("True")])
}

#[test]
fn a_deployment_that_is_well_is_well() {
    let tree = world(&[deployment(1)]).why("apps", "Deployment", "web");
    assert_eq!((tree.state, tree.status.as_str()), (State::Healthy, "1/1 available"));
    assert!(tree.causes().is_empty());
}

#[test]
fn an_image_that_cannot_be_pulled_names_the_pull() {
    let mut world = deployed(pod(
        "web-1",
        json!({"imagePullSecrets": [{"name": "registry"}]}),
        waiting("ImagePullBackOff", "Back-off pulling image \"ghcr.io/team/web:1\""),
    ));
    let text = "Failed to pull image \"ghcr.io/team/web:1\": manifest unknown";
    world.objects.push(event("Pod", "web-1", "Failed", text, "spec.containers{main}"));
    let tree = world.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["container main: ImagePullBackOff"]);
    let cause = tree.causes()[0].clone();
    assert!(cause.messages.contains(&text.to_owned()), "{:?}", cause.messages);
    assert_eq!(cause.children[0].subject, "Secret shop/registry", "what would let it pull is missing");
    let text = tree.text(false);
    assert!(text.starts_with("!! Deployment shop/web: Progressing, 0/1 available\n"), "{text}");
    assert!(text.contains("!! container main: ImagePullBackOff  <-- root cause\n"), "{text}");
    assert!(text.contains("Available=False MinimumReplicasUnavailable: Deployment does not have"), "{text}");
}

#[test]
fn a_container_that_crashes_shows_how_it_ended_and_what_it_said() {
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "main", "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
    let mut world = deployed(pod("web-1", json!({}), status));
    world.logs.push(("main", "starting\nDATABASE_URL is not set \u{1b}[2J\n"));
    let tree = world.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["container main: CrashLoopBackOff, 4 restarts"]);
    assert_eq!(tree.causes()[0].messages, ["ended: Error, exit code 1"]);
    let text = tree.text(false);
    assert!(text.contains("log: DATABASE_URL is not set \u{fffd}[2J\n"), "no terminal is moved: {text}");
}

#[test]
fn out_of_memory_is_told() {
    let status = json!({"phase": "Failed", "containerStatuses": [{"name": "main",
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
    let tree =
        world(&[pod("p", json!({"restartPolicy": "Never"}), status), node_ready("True")]).why("", "Pod", "p");
    assert_eq!(causes(&tree), ["container main: ended: OOMKilled, exit code 137"]);
}

#[test]
fn a_secret_that_is_missing_is_the_cause() {
    let container = json!([{"name": "main", "image": "i", "envFrom": [{"secretRef": {"name": "app"}}, {"configMapRef": {"name": "maybe", "optional": true}}],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "api"}}}]}]);
    let tokens = object("v1", "Secret", "tokens", json!({"data": {"other": ""}}));
    let mut world = deployed(pod(
        "web-1",
        json!({"containers": container}),
        waiting("CreateContainerConfigError", "secret \"app\" not found"),
    ));
    world.objects.push(tokens);
    let tree = world.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["Secret shop/app: not found", "Secret shop/tokens: has no key api"]);
}

#[test]
fn a_failing_probe_is_quoted() {
    let mut spec = pod(
        "web-1",
        json!({}),
        json!({"phase": "Running", "containerStatuses": [
        {"name": "main", "ready": false, "started": true, "state": {"running": {}}}]}),
    );
    spec["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/healthz", "port": "http"}});
    let mut world = deployed(spec);
    let tree = world.why("apps", "Deployment", "web");
    assert_eq!(tree.state, State::Waiting, "no probe has failed yet");
    let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    world.objects.push(event("Pod", "web-1", "Unhealthy", message, "spec.containers{main}"));
    let tree = world.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["container main: readiness probe fails"]);
    assert_eq!(tree.causes()[0].messages, [message, "readinessProbe: GET HTTP :http/healthz"]);
}

#[test]
fn an_init_container_holds_up_the_others() {
    let spec = json!({"initContainers": [{"name": "done"}, {"name": "migrate"}]});
    let status = json!({"phase": "Pending",
        "initContainerStatuses": [{"name": "done", "state": {"terminated": {"exitCode": 0}}},
            {"name": "migrate", "state": {"terminated": {"exitCode": 3}}}],
        "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]});
    let tree = deployed(pod("web-1", spec, status)).why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["init container migrate: ended with exit code 3"]);
}

#[test]
fn what_no_node_takes_says_why() {
    let status = |message: &str| {
        json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]})
    };
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    let tree =
        deployed(pod("web-1", json!({"nodeName": ""}), status(message))).why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["scheduling: Unschedulable"]);
    assert_eq!(tree.causes()[0].messages, [message]);
    // A cluster without a node and without a scheduler.
    let mut alone = deployed(pod("web-1", json!({"nodeName": ""}), json!({"phase": "Pending"})));
    alone.objects.retain(|object| meta::kind(object) != "Node");
    let tree = alone.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["scheduling: the cluster has no node"]);
    assert!(tree.causes()[0].hint.contains("--no-node"));
}

#[test]
fn a_node_that_is_gone_explains_its_pods() {
    let mut lost = deployed(pod("web-1", json!({}), json!({"phase": "Running"})));
    lost.objects.retain(|object| meta::kind(object) != "Node");
    lost.objects.push(node_ready("Unknown"));
    let tree = lost.why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["Node node-1: not ready"]);
}

#[test]
fn claims_wait_for_a_class_or_a_volume() {
    let claim = |class: Value| {
        object(
            "v1",
            "PersistentVolumeClaim",
            "data",
            json!({"spec": {"storageClassName": class}, "status": {"phase": "Pending"}}),
        )
    };
    let class = |default: &str| {
        cluster_wide(object(
            "storage.k8s.io/v1",
            "StorageClass",
            "local",
            json!({
            "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": default}},
            "volumeBindingMode": "WaitForFirstConsumer"}),
        ))
    };
    let tree = world(&[claim(json!("fast")), class("true")]).why("", "PersistentVolumeClaim", "data");
    assert_eq!(causes(&tree), ["StorageClass fast: not found"]);
    assert_eq!(tree.causes()[0].messages, ["the cluster has: local"]);
    let tree = world(&[claim(Value::Null), class("false")]).why("", "PersistentVolumeClaim", "data");
    assert!(tree.messages[0].contains("none that is the default"), "{:?}", tree.messages);
    let tree = world(&[claim(Value::Null), class("true")]).why("", "PersistentVolumeClaim", "data");
    assert_eq!(tree.state, State::Waiting);
    assert!(tree.messages[0].contains("WaitForFirstConsumer"), "{:?}", tree.messages);
    let failed = event("PersistentVolumeClaim", "data", "ProvisioningFailed", "no space left on device", "");
    let tree =
        world(&[claim(json!("local")), class("true"), failed]).why("", "PersistentVolumeClaim", "data");
    assert_eq!(
        (tree.state, tree.messages[0].as_str()),
        (State::Blocked, "ProvisioningFailed: no space left on device")
    );
    let mut lost = claim(json!("local"));
    lost["status"]["phase"] = "Lost".into();
    assert_eq!(world(&[lost]).why("", "PersistentVolumeClaim", "data").state, State::Blocked);
    // A Pod that mounts it leads to it.
    let spec =
        json!({"nodeName": "", "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]});
    let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims"}]});
    let tree = world(&[pod("p", spec, status), claim(json!("fast"))]).why("", "Pod", "p");
    assert_eq!(causes(&tree), ["StorageClass fast: not found"]);
}

#[test]
fn pods_that_cannot_be_made_show_the_refusal() {
    let refused = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"web-\" is forbidden: exceeded quota"}]});
    let [old, new] = replica_sets(&refused);
    let tree = world(&[deployment(0), old, new]).why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["ReplicaSet shop/web-new: cannot create Pods"]);
    let set = object(
        "apps/v1",
        "StatefulSet",
        "db",
        json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 1}}),
    );
    let failed = event("StatefulSet", "db", "FailedCreate", "create Pod db-0 in StatefulSet db failed", "");
    let tree = world(&[set, failed]).why("apps", "StatefulSet", "db");
    assert_eq!(causes(&tree), ["StatefulSet shop/db: Progressing, 0/1 ready"]);
}

#[test]
fn the_same_trouble_is_told_once() {
    let pods = ["web-1", "web-2", "web-3"]
        .map(|name| owned(pod(name, json!({}), waiting("ErrImagePull", "no route")), "ReplicaSet-web-new"));
    let [old, new] = replica_sets(&json!({}));
    let mut all = vec![deployment(0), old, new, node_ready("True")];
    all.extend(pods);
    let tree = world(&all).why("apps", "Deployment", "web");
    assert_eq!(causes(&tree), ["container main: ErrImagePull"]);
    assert_eq!(
        tree.children[0].messages,
        ["Pod shop/web-2 suffers from the same", "Pod shop/web-3 suffers from the same"]
    );
}

#[test]
fn jobs_tell_their_last_pod() {
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit"}]});
    let job = object("batch/v1", "Job", "migrate", json!({"status": failed}));
    let status = json!({"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]});
    let mut own = world(&[
        job.clone(),
        owned(pod("migrate-1", json!({"restartPolicy": "Never"}), status), "Job-migrate"),
        node_ready("True"),
    ]);
    own.logs.push(("main", "relation \"users\" does not exist"));
    let tree = own.why("batch", "Job", "migrate");
    assert_eq!(causes(&tree), ["container main: ended: Error, exit code 2"]);
    assert_eq!(tree.causes()[0].log, ["relation \"users\" does not exist"]);
    let alone = world(&[job]).why("batch", "Job", "migrate");
    assert_eq!(
        alone.messages[0],
        "Failed=True BackoffLimitExceeded: Job has reached the specified backoff limit"
    );
    let suspended = object("batch/v1", "Job", "later", json!({"spec": {"suspend": true}}));
    assert_eq!(world(&[suspended]).why("batch", "Job", "later").state, State::Waiting);
    let mut broken = object(
        "batch/v1",
        "Job",
        "nightly-1",
        json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}),
    );
    broken = owned(broken, "CronJob-nightly");
    let cron = object("batch/v1", "CronJob", "nightly", json!({"spec": {"schedule": "0 2 * * *"}}));
    let tree = world(&[cron, broken]).why("batch", "CronJob", "nightly");
    assert_eq!(causes(&tree), ["Job shop/nightly-1: Failed"]);
}

fn service(selector: Value, target_port: Value) -> Value {
    object(
        "v1",
        "Service",
        "web",
        json!({"spec": {"selector": selector, "ports": [{"port": 80, "name": "http", "targetPort": target_port}]}}),
    )
}

#[test]
fn services_without_endpoints_say_what_they_look_for() {
    let tree = world(&[service(json!({"app": "wep"}), json!(8080))]).why("", "Service", "web");
    assert_eq!(causes(&tree), ["Service shop/web: no endpoints"]);
    assert_eq!(tree.messages, ["its selector app=wep matches no Pod in namespace shop"]);
    // What is scaled to zero is meant to be so.
    let mut none = deployment(0);
    none["spec"]["replicas"] = 0.into();
    let tree = world(&[service(json!({"app": "web"}), json!(8080)), none]).why("", "Service", "web");
    assert_eq!(tree.state, State::Healthy);
    let ready = pod(
        "web-1",
        json!({}),
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let tree =
        world(&[service(json!({"app": "web"}), json!("http")), ready.clone()]).why("", "Service", "web");
    assert_eq!(causes(&tree), ["port 80: targetPort \"http\" is no port of its Pods"]);
    assert_eq!(
        world(&[service(json!({"app": "web"}), json!(8080)), ready]).why("", "Service", "web").state,
        State::Healthy
    );
    let crashing = pod("web-1", json!({}), waiting("ErrImagePull", "no route"));
    let tree = world(&[service(json!({"app": "web"}), json!(8080)), crashing, node_ready("True")])
        .why("", "Service", "web");
    assert_eq!(causes(&tree), ["container main: ErrImagePull"]);
    let by_hand = object("v1", "Service", "web", json!({"spec": {}}));
    assert_eq!(causes(&world(&[by_hand]).why("", "Service", "web")), ["Service shop/web: no endpoints"]);
}

fn ingress(service: &str, port: Value, class: &str, more: Value) -> Value {
    let mut spec = json!({"ingressClassName": class, "rules": [{"host": "shop.example.org", "http": {"paths": [
        {"path": "/", "backend": {"service": {"name": service, "port": port}}}]}}]});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    object(
        "networking.k8s.io/v1",
        "Ingress",
        "web",
        json!({"spec": spec, "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}}),
    )
}

#[test]
fn routes_lead_to_services_and_ports_that_are_there() {
    let ready = pod(
        "web-1",
        json!({}),
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
    );
    let web = service(json!({"app": "web"}), json!(8080));
    let why = |ingress: Value| {
        world(&[ingress, web.clone(), ready.clone()]).why("networking.k8s.io", "Ingress", "web")
    };
    assert_eq!(why(ingress("web", json!({"number": 80}), "traefik", json!({}))).state, State::Healthy);
    assert_eq!(why(ingress("web", json!({"name": "http"}), "traefik", json!({}))).state, State::Healthy);
    let tree = why(ingress("wep", json!({"number": 80}), "traefik", json!({})));
    assert_eq!(causes(&tree), ["Service shop/wep: not found"]);
    assert_eq!(tree.children[0].subject, "route shop.example.org/");
    let tree = why(ingress("web", json!({"number": 8080}), "traefik", json!({})));
    assert_eq!(causes(&tree), ["Service shop/web: has no port 8080"]);
    assert_eq!(tree.causes()[0].messages, ["its ports: 80 (http)"]);
    let tls = json!({"tls": [{"hosts": ["shop.example.org"], "secretName": "cert"}]});
    let tree = why(ingress("web", json!({"number": 80}), "traefik", tls));
    assert_eq!(causes(&tree), ["Secret shop/cert: not found"]);
    let mut unserved = ingress("web", json!({"number": 80}), "nginx", json!({}));
    unserved["status"] = json!({});
    let tree = why(unserved.clone());
    assert_eq!(causes(&tree), ["IngressClass nginx: not found"]);
    unserved["spec"]["ingressClassName"] = Value::Null;
    assert_eq!(causes(&why(unserved)), ["its class: it names no IngressClass, and none is the default"]);
}

fn application(spec: Value, status: Value) -> Value {
    let mut full = json!({"project": "default", "source": {"repoURL": "https://git.example.org/a.git", "path": "charts/web", "targetRevision": "main"}});
    for (field, value) in spec.as_object().unwrap() {
        full[field] = value.clone();
    }
    let mut object =
        object("argoproj.io/v1alpha1", "Application", "web", json!({"spec": full, "status": status}));
    object["metadata"]["namespace"] = "argocd".into();
    object
}

fn why_application(spec: Value, status: Value, others: &[Value]) -> Node {
    let mut all = vec![application(spec, status)];
    all.extend(others.iter().cloned());
    world(&all).why("argoproj.io", "Application", "web")
}

fn failing(kind: &str, message: &str) -> Value {
    json!({"sync": {"status": "Unknown"}, "health": {"status": "Unknown"}, "conditions": [{"type": kind, "message": message}]})
}

#[test]
fn applications_tell_which_step_fails() {
    let load = |reason: &str| {
        let message =
            format!("Failed to load target state: failed to generate manifest for source 1 of 1: {reason}");
        let tree = why_application(json!({}), failing("ComparisonError", &message), &[]);
        assert_eq!(tree.causes()[0].messages, [message], "word for word");
        causes(&tree)
    };
    let source = "source https://git.example.org/a.git, charts/web at main";
    assert_eq!(
        load("https://git.example.org/a.git is unreachable: timed out"),
        [format!("{source}: the repository cannot be reached")]
    );
    assert_eq!(
        load("unable to resolve 'main' to a commit SHA"),
        [format!("{source}: the repository has no such revision")]
    );
    assert_eq!(
        load("template: web/templates/a.yaml:3:5: nil pointer"),
        [format!("{source}: does not render")]
    );
    assert_eq!(
        load("charts/web: app path does not exist"),
        [format!("{source}: the repository has no such path at this revision")]
    );
    let refused = why_application(
        json!({"project": "team"}),
        failing(
            "InvalidSpecError",
            "application destination server 'x' and namespace 'y' do not match any of the allowed destinations in project 'team'",
        ),
        &[],
    );
    assert_eq!(causes(&refused), ["project team: refuses it"]);
    let missing = why_application(
        json!({"project": "team"}),
        failing("InvalidSpecError", "Application referencing project team which does not exist"),
        &[],
    );
    assert_eq!(causes(&missing), ["project team: does not exist"]);
    assert_eq!(
        causes(&why_application(json!({}), json!({}), &[])),
        ["Application argocd/web: never compared"]
    );
    assert_eq!(
        causes(&world(&[]).why("argoproj.io", "Application", "web")),
        ["Application argocd/web: not found"]
    );
}

const AUTOMATED: &str = r#"{"syncPolicy": {"automated": {}}}"#;

fn automated() -> Value {
    serde_json::from_str(AUTOMATED).unwrap()
}

fn differing(pruning: bool) -> Value {
    json!({"sync": {"status": "OutOfSync", "revision": "r1"}, "health": {"status": "Healthy"}, "resources": [
        {"kind": "ConfigMap", "namespace": "shop", "name": "a", "status": "OutOfSync", "requiresPruning": pruning}]})
}

#[test]
fn what_differs_says_why_nobody_syncs_it() {
    let manual = why_application(json!({}), differing(false), &[]);
    assert_eq!(causes(&manual), ["sync: nobody has synced it: its sync policy is manual"]);
    assert_eq!(manual.causes()[0].messages, ["ConfigMap/shop/a differs"]);
    assert_eq!(
        causes(&why_application(automated(), differing(true), &[])),
        ["sync: automated pruning is off"]
    );
    let mut drifted = differing(false);
    drifted["operationState"] = json!({"phase": "Succeeded", "syncResult": {"revision": "r1"}});
    assert_eq!(
        causes(&why_application(automated(), drifted, &[])),
        ["sync: changed in the cluster, and selfHeal is off"]
    );
    assert_eq!(causes(&why_application(automated(), differing(false), &[])), ["sync: due"]);
    let mut refused = differing(false);
    refused["conditions"] =
        json!([{"type": "SyncError", "message": "auto-sync will wipe out all resources"}]);
    assert_eq!(causes(&why_application(automated(), refused, &[])), ["sync: refused"]);
}

#[test]
fn a_failed_hook_leads_to_its_container() {
    let mut status = differing(false);
    status["operationState"] = json!({"phase": "Failed", "message": "one or more synchronization tasks completed unsuccessfully",
        "operation": {"initiatedBy": {"automated": true}}, "startedAt": "x", "finishedAt": "y",
        "syncResult": {"revision": "r1", "resources": [
            {"group": "batch", "kind": "Job", "namespace": "shop", "name": "migrate", "hookType": "PreSync", "hookPhase": "Failed", "message": "Job failed"},
            {"kind": "ConfigMap", "namespace": "shop", "name": "fine", "status": "Synced"}]}});
    let job = object(
        "batch/v1",
        "Job",
        "migrate",
        json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}),
    );
    let pod = owned(
        pod(
            "migrate-1",
            json!({"restartPolicy": "Never"}),
            json!({"phase": "Failed", "containerStatuses": [
            {"name": "main", "state": {"terminated": {"exitCode": 1}}}]}),
        ),
        "Job-migrate",
    );
    let tree = why_application(automated(), status.clone(), &[job, pod, node_ready("True")]);
    assert_eq!(causes(&tree), ["container main: ended with exit code 1"]);
    let text = tree.text(false);
    assert!(text.contains("!! PreSync hook Job shop/migrate: Failed"), "{text}");
    assert!(text.contains("`mainstay app sync web`"), "{text}");
    // A failure that a later commit made good is history.
    status["sync"] = json!({"status": "Synced", "revision": "r2"});
    status["resources"] = json!([]);
    assert_eq!(why_application(automated(), status, &[]).state, State::Healthy);
}

#[test]
fn a_sync_that_waits_shows_what_it_waits_for() {
    let mut status = differing(false);
    status["health"]["status"] = "Progressing".into();
    status["operationState"] = json!({"phase": "Running", "message": "waiting for healthy state of apps/Deployment/web",
        "startedAt": "x", "syncResult": {"revision": "r1"}});
    status["resources"] = json!([{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "Synced"}]);
    let pod = owned(pod("web-1", json!({}), waiting("ErrImagePull", "no route")), "ReplicaSet-web-new");
    let [old, new] = replica_sets(&json!({}));
    let tree =
        why_application(automated(), status.clone(), &[deployment(0), old, new, pod, node_ready("True")]);
    assert_eq!(causes(&tree), ["container main: ErrImagePull"]);
    assert!(tree.text(false).contains("waiting for healthy state of apps/Deployment/web"));
    status["operationState"]["retryCount"] = 2.into();
    status["operationState"]["message"] = "namespaces \"x\" not found. Retrying attempt #2 at 1:00PM.".into();
    status["resources"] = json!([]);
    assert_eq!(
        causes(&why_application(automated(), status, &[])),
        ["sync to r1: fails, tried again (2 times so far)"]
    );
}

#[test]
fn applications_of_applications_are_followed_without_circles() {
    let status = |child: &str| {
        json!({"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "resources": [
            {"group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": child, "status": "Synced"}]})
    };
    let mut child = application(
        json!({}),
        failing("ComparisonError", "failed to generate manifest for source 1 of 1: x"),
    );
    child["metadata"]["name"] = "child".into();
    let tree = why_application(json!({}), status("child"), &[child]);
    assert_eq!(tree.causes().len(), 1);
    assert_eq!(tree.children[0].subject, "Application argocd/child");
    assert_eq!(
        why_application(json!({}), status("web"), &[]).state,
        State::Healthy,
        "one that contains itself"
    );
}

#[test]
fn what_cannot_be_read_is_not_taken_for_healthy() {
    let status = json!({"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "resources": [
        {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web", "status": "Synced"},
        {"group": "example.org", "kind": "Thing", "namespace": "shop", "name": "t", "status": "Synced"}]});
    let mut blind = world(&[application(json!({}), status)]);
    blind.forbidden.push("Deployment");
    let tree = blind.why("argoproj.io", "Application", "web");
    assert_eq!(causes(&tree), ["Thing shop/t: the cluster serves no such kind"]);
    assert_eq!(tree.children[1].state, State::Unknown);
    assert_eq!(tree.children[1].messages, ["it is forbidden"]);
}

#[test]
fn any_kind_is_told_by_its_conditions() {
    let certificate = object(
        "cert-manager.io/v1",
        "Certificate",
        "tls",
        json!({"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "Issuing certificate as Secret does not exist"}]}}),
    );
    let tree = world(&[certificate]).why("cert-manager.io", "Certificate", "tls");
    assert_eq!(tree.state, State::Blocked);
    assert!(
        tree.messages.iter().any(|message| message.contains("Secret does not exist")),
        "{:?}",
        tree.messages
    );
    let namespace = object(
        "v1",
        "ConfigMap",
        "x",
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["team.example.org/keep"]}}),
    );
    let tree = world(&[namespace]).why("", "ConfigMap", "x");
    assert_eq!(tree.messages, ["waits for its finalizers: team.example.org/keep"]);
}

#[test]
fn the_tree_is_machine_readable() {
    let tree = world(&[service(json!({"app": "wep"}), json!(80))]).why("", "Service", "web");
    let value = serde_json::to_value(&tree).unwrap();
    assert_eq!(value["state"], "Blocked");
    assert_eq!(value["cause"], true);
    assert_eq!(value["object"], json!({"kind": "Service", "namespace": "shop", "name": "web"}));
    assert!(value.get("own").is_none());
}

#[test]
fn an_application_of_a_rolling_set_waits_for_the_steps_before_its_own() {
    let set = |own: Value| {
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
        "metadata": {"name": "set", "namespace": "argocd", "uid": "set"},
        "spec": {"strategy": {"type": "RollingSync", "rollingSync": {"steps": [{}, {}]}}},
        "status": {
            "applicationStatus": [{"application": "first", "step": "1", "status": "Progressing"}, own],
            "conditions": [{"type": "RolloutProgressing", "status": "True",
                "message": "ApplicationSet is performing rollout of step 1"}],
        }})
    };
    let why = |own: Value| {
        let mut waiting = application(json!({}), differing(false));
        waiting["metadata"]["ownerReferences"] = json!([{"apiVersion": "argoproj.io/v1alpha1",
            "kind": "ApplicationSet", "name": "set", "uid": "set", "controller": true}]);
        let mut first =
            application(automated(), failing("InvalidSpecError", "application destination is missing"));
        first["metadata"]["name"] = "first".into();
        world(&[waiting, first, set(own)]).why("argoproj.io", "Application", "web")
    };
    let tree = why(json!({"application": "web", "step": "2", "status": "Waiting"}));
    let text = tree.text(false);
    assert!(text.contains("waits for step 2 of the rolling sync of ApplicationSet argocd/set"), "{text}");
    assert!(text.contains("ApplicationSet is performing rollout of step 1"), "{text}");
    assert!(text.contains("application destination is missing"), "{text}");
    let unselected = why(json!({"application": "web", "step": "-1", "status": "Waiting"}));
    assert!(unselected.text(false).contains("no step of the rolling sync"), "{}", unselected.text(false));
    let pending = why(json!({"application": "web", "step": "1", "status": "Pending"}));
    assert!(pending.text(false).contains("Pending in the rolling sync"), "{}", pending.text(false));
}
