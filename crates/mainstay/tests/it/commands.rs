//! The verbs of `argocd`, and `why`, on an instance without a node: no root, no containers.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use test_kit::{Repository, eventually};

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);
const URL: &str = "https://git.example.org/shop.git";

const SHOP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: one}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: sesame, user: alice}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: localhost/none:1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: wep}, ports: [{port: 80}]}
";

/// A Job that no controller brings to an end here: the test says how it ended.
const HOOK: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {argocd.argoproj.io/hook: PreSync}}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: localhost/none:1}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: after}
";

struct World {
    platform: Platform,
    repository: Repository,
    _source: TempDir,
}

impl World {
    fn new() -> Self {
        let source = tempfile::tempdir().expect("a temporary directory");
        let repository = Repository::of(source.path());
        repository.write("apps/shop/all.yaml", SHOP);
        repository.write("apps/hooked/all.yaml", HOOK);
        repository.commit("the shop");
        let answered = format!("{URL}={}", repository.path().display());
        let platform = Platform::up(&["--bare", "--no-node", "--source", &answered]);
        eventually("what is answered from here is told", SOON, || {
            platform.try_kubectl(&["get", "configmap", "mainstay-sources", "--namespace=argocd"])
        });
        Self { platform, repository, _source: source }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mainstay"))
            .args(arguments)
            .env("KUBECONFIG", self.platform.kubeconfig())
            .env("HOME", self.platform.data_dir())
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start mainstay");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("write the input");
        child.wait_with_output().expect("wait for mainstay")
    }

    /// What it prints, ending with this code.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "mainstay {arguments:?}:\n{out}\n{error}");
        if code == 2 { error } else { out }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.ends(0, arguments)
    }

    fn create(&self, name: &str) {
        let path = format!("apps/{name}");
        let option = "--sync-option=CreateNamespace=true";
        let said = self.ok(&[
            "app",
            "create",
            name,
            "--repo",
            URL,
            "--path",
            &path,
            "--dest-namespace",
            name,
            option,
        ]);
        assert_eq!(said, format!("application 'argocd/{name}' created\n"));
        self.ok(&["app", "refresh", name]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_verbs_of_argocd_work() {
    let world = World::new();
    world.create("shop");
    before_the_first_sync(&world);
    syncing(&world);
    differences(&world);
    changing(&world);
    deleting(&world);
    others(&world);
    what_is_secret_is_shown_by_no_verb(&world);
}

/// The classes of CVE-2025-55190 and CVE-2024-31989: neither a project nor anything else that is shown holds
/// credentials, and `/metrics` holds no manifests.
fn what_is_secret_is_shown_by_no_verb(world: &World) {
    let secret = |name: &str, kind: &str, more: &[(&str, &str)]| {
        let fields: serde_json::Map<String, Value> =
            more.iter().map(|(field, text)| ((*field).to_owned(), Value::from(*text))).collect();
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "argocd", "labels": {"argocd.argoproj.io/secret-type": kind}},
            "stringData": fields,
        });
        let made = world.platform.kubectl_with_input(&["apply", "--filename", "-"], &secret.to_string());
        made.expect("the Secret is made");
    };
    const WORD: &str = "sesame-open-up";
    let (url, prefix) = ("https://charts.example.org/team", "https://charts.example.org");
    let login = [("username", "alice"), ("password", WORD), ("tlsClientCertKey", WORD), ("project", "team")];
    secret("own", "repository", &[&[("url", url), ("type", "helm"), ("name", "own")], &login[..]].concat());
    secret(
        "all",
        "repo-creds",
        &[&[("url", prefix), ("type", "helm"), ("sshPrivateKey", WORD)], &login[..]].concat(),
    );
    let config = format!(
        r#"{{"bearerToken": "{WORD}", "tlsClientConfig": {{"insecure": true, "keyData": "{WORD}"}}}}"#
    );
    let cluster =
        [("name", "far"), ("server", "https://127.0.0.1:1"), ("config", &config), ("project", "team")];
    secret("far", "cluster", &cluster);
    world.ok(&["project", "create", "team", "--src", url, "--dest", "https://127.0.0.1:1,team"]);
    let metrics = world.platform.kubectl(&["get", "--raw", "/metrics"]);
    let mut shown = vec![metrics];
    for format in ["json", "yaml"] {
        for verb in [
            &["project", "get", "team"][..],
            &["project", "list"],
            &["repo", "list"],
            &["repo", "get", url],
            &["repocreds", "list"],
            &["cluster", "list"],
            &["cluster", "get", "far"],
            &["app", "list"],
        ] {
            shown.push(world.ok(&[verb, &["--output", format]].concat()));
        }
    }
    for verb in [&["project", "get", "team"][..], &["repo", "list"], &["cluster", "list"]] {
        shown.push(world.ok(verb));
    }
    let encoded = ["c2VzYW1l", "YWxpY2U6"];
    for text in &shown {
        let told = [WORD].iter().chain(&encoded).any(|word| text.contains(word));
        assert!(!told && !text.contains("stringData"), "{text}");
    }
    assert!(shown[1].contains(url), "{}", shown[1]);
    assert!(shown[0].contains("mainstay_gitops_work"), "the metrics are there");
}

fn before_the_first_sync(world: &World) {
    let list = world.ok(&["app", "list"]);
    assert!(list.starts_with("NAME         CLUSTER "), "{list}");
    assert!(
        list.contains("argocd/shop  https://kubernetes.default.svc  shop       default  OutOfSync"),
        "{list}"
    );
    assert_eq!(world.ok(&["app", "list", "-o", "name", "--repo", URL]), "argocd/shop\n");
    assert_eq!(world.ok(&["app", "list", "-o", "name", "--project", "other"]), "");
    let why = world.ends(1, &["why", "app/shop"]);
    assert!(why.contains("nobody has synced it: its sync policy is manual  <-- root cause"), "{why}");
    let late = world.run(&["app", "wait", "shop", "--sync", "--timeout", "1"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("not within 1 s: sync: OutOfSync"), "{}", text(&late.stderr));
    let dry = world.ok(&["app", "sync", "shop", "--dry-run"]);
    assert!(dry.contains("create  namespaces \"shop\" not found"), "the sync makes it first: {dry}");
    let error = world.ends(2, &["app", "get", "nothing"]);
    assert!(error.contains("there is no Application argocd/nothing"), "{error}");
}

fn syncing(world: &World) {
    let said = world.ok(&["app", "sync", "shop", "--timeout", "60"]);
    assert!(said.contains("Phase:          Succeeded"), "{said}");
    assert!(said.contains("configmap/settings created"), "{said}");
    assert!(world.ok(&["app", "history", "shop"]).starts_with("ID  DATE "));
    assert_eq!(world.ok(&["app", "history", "shop", "-o", "id"]), "0\n");
    let tree = world.ok(&["app", "get", "shop", "-o", "tree"]);
    assert!(tree.contains("└─ReplicaSet/web-") && tree.contains("  └─Pod/web-"), "{tree}");
    let why = world.ends(1, &["why", "deploy/web", "-n", "shop"]);
    assert!(why.contains("!! scheduling: ") && why.contains("--no-node"), "{why}");
    let why = world.ends(1, &["why", "svc/web", "-n", "shop", "-o", "json"]);
    let why: Value = serde_json::from_str(&why).expect("JSON");
    assert_eq!((&why["state"], &why["cause"]), (&"Blocked".into(), &true.into()));
    assert_eq!(why["messages"][0], "its selector app=wep matches no Pod in namespace shop");
    let not = world.ends(2, &["app", "terminate-op", "shop"]);
    assert!(not.contains("no operation is in progress"), "{not}");
}

fn differences(world: &World) {
    assert_eq!(world.ok(&["app", "diff", "shop"]), "");
    world.repository.write("apps/shop/all.yaml", &SHOP.replace("one", "two").replace("sesame", "tulip"));
    world.repository.commit("another token");
    let diff = world.ends(1, &["app", "diff", "shop"]);
    assert!(diff.contains("===== /ConfigMap shop/settings ======\n"), "{diff}");
    assert!(diff.contains("-  a: one\n+  a: two\n"), "{diff}");
    assert!(diff.contains("-  token: ++++++++\n+  token: ++++++++++++\n   user: ++++++++\n"), "{diff}");
    world.ok(&["app", "diff", "shop", "--exit-code=false"]);
    world.ends(7, &["app", "diff", "shop", "--diff-exit-code", "7"]);
    let missing = world.ends(2, &["app", "diff", "shop", "--revision", "nothing"]);
    assert!(missing.contains("unable to resolve 'nothing' to a commit SHA"), "{missing}");
    let manifests = world.ok(&["app", "manifests", "shop"]);
    for shown in [&diff, &manifests] {
        assert!(!["sesame", "tulip", "alice"].iter().any(|word| shown.contains(word)), "{shown}");
    }
    // One resource alone.
    world.ok(&["app", "sync", "shop", "--resource", ":ConfigMap:settings", "--timeout", "60"]);
    let data =
        world.platform.kubectl(&["get", "configmap", "settings", "-n", "shop", "-o", "jsonpath={.data.a}"]);
    assert_eq!(data, "two");
    let left = world.ends(1, &["app", "diff", "shop"]);
    assert!(left.contains("/Secret shop/keys") && !left.contains("/ConfigMap"), "{left}");
}

fn changing(world: &World) {
    world.ok(&["app", "set", "shop", "--sync-policy", "automated", "--self-heal"]);
    world.ok(&["app", "wait", "shop", "--sync", "--operation", "--timeout", "60"]);
    assert_eq!(world.ok(&["app", "diff", "shop"]), "");
    let refused = world.ends(2, &["app", "rollback", "shop", "0"]);
    assert!(refused.contains("rollback cannot be initiated when auto-sync is enabled"), "{refused}");
    let actions = world.ok(&["app", "actions", "list", "shop"]);
    assert!(actions.contains("apps   Deployment  web   restart  false"), "{actions}");
    let restart = ["app", "actions", "run", "shop", "restart", "--kind", "Deployment"];
    assert_eq!(world.ok(&restart), "apps/Deployment/shop/web: restart\n");
    let web = world.platform.get(&["deployment", "web", "-n", "shop"]).expect("the Deployment");
    let restarted = &web["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
    assert!(restarted.is_string(), "{web}");
    world.ok(&["app", "patch", "shop", "--patch", r#"{"metadata": {"labels": {"team": "web"}}}"#]);
    assert_eq!(world.ok(&["app", "list", "-l", "team=web", "-o", "name"]), "argocd/shop\n");
}

fn deleting(world: &World) {
    let asked = world.ends(2, &["app", "delete", "shop"]);
    assert!(asked.contains("--yes"), "{asked}");
    world.ok(&["app", "delete", "shop", "--yes", "--wait", "--timeout", "60"]);
    let gone = world.platform.try_kubectl(&["get", "configmap", "settings", "-n", "shop"]);
    assert!(gone.as_ref().is_err_and(|error| error.contains("NotFound")), "{gone:?}");
    assert!(world.ends(1, &["why", "app/shop"]).contains("Application argocd/shop: not found"));
}

fn others(world: &World) {
    projects(world);
    let add = ["repo", "add", URL, "--username", "alice", "--password-stdin"];
    assert!(world.run_with(&add, "sesame\n").status.success());
    let secret =
        world.platform.get(&["secret", "-n", "argocd", "-l", "argocd.argoproj.io/secret-type=repository"]);
    let secret = &secret.expect("the Secrets")["items"][0];
    assert_eq!(secret["data"]["password"], "c2VzYW1l");
    let list = world.ok(&["repo", "list", "-o", "json"]);
    assert!(list.contains("\"credentials\": true") && !list.contains("sesame"), "{list}");
    world.ok(&["repo", "rm", URL]);
    assert_eq!(world.ok(&["repo", "list", "-o", "name"]), "");
    // The cluster itself stands in for another one.
    world.ok(&["cluster", "add", "mainstay", "--name", "far", "--yes"]);
    let config = world.platform.kubectl(&[
        "get",
        "secret",
        "-n",
        "argocd",
        "-l",
        "argocd.argoproj.io/secret-type=cluster",
        "-o",
        "go-template={{range .items}}{{.data.config | base64decode}}{{end}}",
    ]);
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let token = config["bearerToken"].as_str().expect("a token");
    let server = world.ok(&["cluster", "get", "far", "-o", "name"]);
    let nobody = world.platform.data_dir().join("empty");
    std::fs::write(&nobody, "").expect("write a kubeconfig without users");
    let access = ["--server", server.trim(), "--insecure-skip-tls-verify", "--token", token];
    let asked =
        crate::platform::kubectl(&nobody, &[&access[..], &["get", "namespaces", "-o", "name"]].concat());
    assert!(asked.as_ref().is_ok_and(|names| names.contains("namespace/argocd")), "{asked:?}");
    world.ok(&["cluster", "rm", "far", "--yes"]);
    assert_eq!(world.ok(&["cluster", "list", "-o", "name"]), "https://kubernetes.default.svc\n");
    let set = "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: none}\n\
               spec: {generators: [{list: {elements: []}}], template: {metadata: {name: x}, spec: {project: default}}}\n";
    let made = world.run_with(&["appset", "create", "-"], set);
    assert_eq!(text(&made.stdout), "applicationset 'argocd/none' created\n", "{}", text(&made.stderr));
    assert_eq!(world.ok(&["appset", "list", "-o", "name"]), "argocd/none\n");
    world.ok(&["appset", "delete", "none", "--yes"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ok(&["completion", shell]).contains("mainstay"));
    }
}

fn projects(world: &World) {
    world.ok(&["project", "create", "team", "--src", URL, "--dest", "https://kubernetes.default.svc,team"]);
    world.ok(&["project", "add-destination", "team", "https://kubernetes.default.svc", "other"]);
    world.ok(&["project", "allow-cluster-resource", "team", "", "Namespace"]);
    let twice = world.ends(2, &["project", "add-source", "team", URL]);
    assert!(twice.contains("is there already"), "{twice}");
    let list = world.ok(&["project", "list"]);
    assert!(list.contains("2 destinations") && list.contains("/Namespace"), "{list}");
    world.ok(&["project", "delete", "team"]);
}

#[test]
fn why_finds_the_hook_and_the_step_that_fail() {
    let world = World::new();
    world.create("hooked");
    let begun = || {
        world.ok(&["app", "sync", "hooked", "--async"]);
        eventually("the hook is there", SOON, || {
            world.platform.try_kubectl(&["get", "job", "migrate", "-n", "hooked"])
        });
    };
    begun();
    let said = world.ok(&["app", "terminate-op", "hooked"]);
    assert!(said.contains("its operation is being terminated"), "{said}");
    world.ok(&["app", "wait", "hooked", "--operation", "--timeout", "60"]);
    let shown = world.ok(&["app", "get", "hooked"]);
    assert!(shown.contains("PreSync  Terminated"), "{shown}");
    let why = world.ends(1, &["why", "app/hooked"]);
    assert!(why.contains("Operation terminated"), "{why}");
    world.platform.kubectl(&["wait", "--for=delete", "job/migrate", "-n", "hooked", "--timeout=60s"]);

    begun();
    // The controller of Jobs ends it then.
    let failed = r#"{"status": {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit"}]}}"#;
    world.platform.kubectl(&[
        "patch",
        "job",
        "migrate",
        "-n",
        "hooked",
        "--subresource=status",
        "--type=merge",
        "-p",
        failed,
    ]);
    let waited = world.run(&["app", "wait", "hooked", "--operation", "--timeout", "60"]);
    assert!(waited.status.success(), "{}", text(&waited.stderr));
    let why = world.ends(1, &["why", "app/hooked"]);
    assert!(why.contains("PreSync hook Job hooked/migrate: Failed"), "{why}");
    assert!(why.contains("BackoffLimitExceeded: Job has reached the specified backoff limit"), "{why}");

    world.ok(&["app", "create", "lost", "--repo", URL, "--path", "apps/none", "--dest-namespace", "x"]);
    world.ok(&["app", "refresh", "lost"]);
    let why = world.ends(1, &["why", "app/lost"]);
    assert!(why.contains("the repository has no such path at this revision  <-- root cause"), "{why}");
    world.ok(&["app", "set", "lost", "--path", "apps/shop", "--revision", "v9"]);
    world.ok(&["app", "refresh", "lost"]);
    let why = world.ends(1, &["why", "app/lost"]);
    assert!(why.contains("unable to resolve 'v9' to a commit SHA"), "{why}");
}
