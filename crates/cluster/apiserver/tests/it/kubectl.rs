//! The real kubectl, over TLS.

use crate::server::{Listening, Server};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}]}
";

async fn with_cluster(run: impl FnOnce(&Listening) + Send + 'static) {
    let server = Server::start().await;
    let cluster = server.listen().await;
    tokio::task::spawn_blocking(move || run(&cluster)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_applied_changed_and_deleted() {
    with_cluster(|cluster| {
        assert!(cluster.run(&["version"]).contains("Server Version: v1.34"));
        let applied = cluster.run_with(&["apply", "-f", "-"], DEPLOYMENT);
        assert!(applied.contains("deployment.apps/web created"), "{applied}");
        let applied = cluster.run_with(&["apply", "-f", "-"], DEPLOYMENT);
        assert!(applied.contains("deployment.apps/web unchanged"), "{applied}");
        let applied =
            cluster.run_with(&["apply", "-f", "-"], &DEPLOYMENT.replace("replicas: 2", "replicas: 3"));
        assert!(applied.contains("deployment.apps/web configured"), "{applied}");
        assert!(cluster.run(&["get", "deployment", "web", "-o", "yaml"]).contains("replicas: 3"));
        cluster.run(&["scale", "deployment", "web", "--replicas=1"]);
        cluster.run(&["label", "deployment", "web", "tier=front"]);
        cluster.run(&["annotate", "deployment", "web", "note=x"]);
        cluster.run(&["set", "image", "deployment/web", "web=nginx:2"]);
        cluster.run(&["rollout", "restart", "deployment", "web"]);
        cluster.run(&["patch", "deployment", "web", "-p", r#"{"spec":{"paused":true}}"#]);
        cluster.run(&[
            "patch",
            "deployment",
            "web",
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/spec/paused"}]"#,
        ]);
        let refused = cluster.fail_with(&["apply", "--server-side", "-f", "-"], DEPLOYMENT);
        assert!(
            refused.contains(r#"conflicts with "kubectl" with subresource "scale" using apps/v1"#),
            "{refused}"
        );
        let applied =
            cluster.run_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], DEPLOYMENT);
        assert!(applied.contains("serverside-applied"), "{applied}");
        cluster.run_with(&["diff", "-f", "-"], DEPLOYMENT);
        cluster.run_with(&["replace", "-f", "-"], DEPLOYMENT);
        cluster.run(&["describe", "deployment", "web"]);
        cluster.run(&["delete", "deployment", "web"]);
        assert!(cluster.fail_with(&["get", "deployment", "web"], "").contains("NotFound"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named() {
    with_cluster(|cluster| {
        let unknown = DEPLOYMENT.replace("replicas: 2", "replicaz: 2");
        let refused = cluster.fail_with(&["apply", "-f", "-"], &unknown);
        assert!(refused.contains(r#"unknown field "spec.replicaz""#), "{refused}");
        let mismatch = DEPLOYMENT.replace("labels: {app: web}", "labels: {app: other}");
        let refused = cluster.fail_with(&["apply", "-f", "-"], &mismatch);
        assert!(refused.contains("`selector` does not match template `labels`"), "{refused}");
        let elsewhere = cluster.fail_with(&["apply", "-n", "nowhere", "-f", "-"], DEPLOYMENT);
        assert!(elsewhere.contains(r#"namespaces "nowhere" not found"#), "{elsewhere}");
        cluster.run_with(&["apply", "-f", "-"], DEPLOYMENT);
        let moved = DEPLOYMENT.replace("app: web", "app: moved");
        let refused = cluster.fail_with(&["apply", "-f", "-"], &moved);
        assert!(refused.contains("field is immutable"), "{refused}");
        let refused = cluster.fail_with(&["get", "pods", "--as=system:serviceaccount:default:default"], "");
        assert!(refused.contains("cannot list resource \"pods\""), "{refused}");
        let refused = cluster.fail_with(&["create", "namespace", "Upper_Case"], "");
        assert!(refused.contains("a lowercase RFC 1123 label"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn things_are_created_by_command() {
    with_cluster(|cluster| {
        // These bodies come in protobuf: kubectl's typed clients prefer it.
        cluster.run(&["create", "namespace", "team"]);
        cluster.run(&["create", "secret", "generic", "s", "-n", "team", "--from-literal=a=b"]);
        assert_eq!(cluster.run(&["get", "secret", "s", "-n", "team", "-o", "jsonpath={.data.a}"]), "Yg==");
        cluster.run(&["create", "configmap", "c", "--from-literal=a=b"]);
        cluster.run(&["create", "deployment", "d", "--image=nginx", "--replicas=0"]);
        assert_eq!(cluster.run(&["get", "deployment", "d", "-o", "jsonpath={.spec.replicas}"]), "0");
        cluster.run(&["expose", "deployment", "d", "--port=80"]);
        cluster.run(&["create", "job", "j", "--image=busybox", "--", "true"]);
        cluster.run(&["create", "cronjob", "cj", "--image=busybox", "--schedule=*/5 * * * *", "--", "true"]);
        cluster.run(&["create", "job", "from", "--from=cronjob/cj"]);
        cluster.run(&["create", "ingress", "i", "--rule=a.example/*=d:80"]);
        cluster.run(&["autoscale", "deployment", "d", "--min=1", "--max=3", "--cpu-percent=50"]);
        cluster.run(&["create", "role", "r", "--verb=get", "--resource=pods"]);
        cluster.run(&["create", "rolebinding", "rb", "--role=r", "--serviceaccount=default:default"]);
        cluster.run(&["create", "clusterrolebinding", "crb", "--clusterrole=view", "--user=jane"]);
        cluster.run(&["create", "serviceaccount", "sa"]);
        let token = cluster.run(&["create", "token", "sa"]);
        let who = cluster.run(&["auth", "whoami", "--token", token.trim()]);
        assert!(who.contains("kubernetes-admin"), "a certificate counts before a token: {who}");
        let dry = cluster.run(&[
            "create",
            "secret",
            "generic",
            "t",
            "--from-literal=a=b",
            "--dry-run=client",
            "-o",
            "yaml",
        ]);
        assert!(cluster.run_with(&["apply", "-f", "-"], &dry).contains("secret/t created"));
        cluster.run(&["run", "p", "--image=nginx"]);
        assert_eq!(cluster.run(&["logs", "p"]), "", "a Pod without a node has no log");
        assert!(cluster.run(&["auth", "can-i", "get", "pods"]).contains("yes"));
        assert!(cluster.fail_with(&["auth", "can-i", "create", "pods", "--as=jane"], "").is_empty());
        assert!(cluster.run(&["auth", "can-i", "list", "pods", "--as=jane"]).contains("yes"));
        cluster.run(&["delete", "pod", "p"]);
        cluster.run(&["delete", "secret", "--all"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_tables() {
    with_cluster(|cluster| {
        cluster.run_with(&["apply", "-f", "-"], DEPLOYMENT);
        cluster.run(&["expose", "deployment", "web", "--port=80"]);
        cluster.run(&["create", "ingress", "i", "--class=traefik", "--rule=a.example/*=web:80"]);
        cluster.run(&["run", "p", "--image=nginx"]);
        let first = |arguments: &[&str]| {
            let out = cluster.run(arguments);
            let line =
                out.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            let row = out.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            (line, row)
        };
        let (head, row) = first(&["get", "deployments", "-o", "wide"]);
        assert_eq!(head, "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR");
        assert!(row.starts_with("web 0/2 0 0 ") && row.ends_with("web nginx app=web"), "{row}");
        let (head, row) = first(&["get", "pods", "-o", "wide"]);
        assert_eq!(head, "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES");
        assert!(row.starts_with("p 0/1 Pending 0 "), "{row}");
        let (head, row) = first(&["get", "ingresses"]);
        assert_eq!(head, "NAME CLASS HOSTS ADDRESS PORTS AGE");
        assert!(row.starts_with("i traefik a.example 80 "), "{row}");
        let (head, _) = first(&["get", "services"]);
        assert_eq!(head, "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE");
        let (head, _) = first(&["get", "clusterroles"]);
        assert_eq!(head, "NAME CREATED AT");
        let (head, _) = first(&["get", "applications.argoproj.io", "-A", "--ignore-not-found", "-o", "name"]);
        assert_eq!(head, "");
        let all = cluster.run(&["get", "all", "-A"]);
        assert!(all.contains("deployment.apps/web") && all.contains("service/kubernetes"), "{all}");
        assert!(cluster.run(&["api-resources", "--api-group=argoproj.io"]).contains("rollouts"));
        assert!(cluster.run(&["api-versions"]).contains("apps/v1"));
        let explained = cluster.run(&["explain", "deployment.spec.template.spec.containers"]);
        assert!(explained.contains("imagePullPolicy\t<string>"), "{explained}");
        let explained = cluster.run(&["explain", "pods.spec.volumes.configMap.items"]);
        assert!(explained.contains("key\t<string> -required-"), "{explained}");
        assert!(cluster.run(&["get", "--raw", "/readyz?verbose"]).contains("readyz check passed"));
    })
    .await;
}
