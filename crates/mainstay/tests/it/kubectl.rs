//! Real `kubectl` against real Pods: what a person types in a day.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use test_kit::{eventually, find_program};

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: tour}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: localhost/demo-service:1
          env: [{name: PORT, value: '8080'}, {name: SERVICE_NAME, value: web}]
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
";

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: tour}\ndata: {a: '1'}\n";

#[test]
fn kubectl_works_as_on_any_cluster() {
    // The demo brings its image without a registry.
    let platform = Platform::up(&[]);
    platform.kubectl(&["create", "namespace", "tour"]);
    objects(&platform);
    a_secret_is_made_in_a_pipe(&platform);
    workloads(&platform);
    ports_are_forwarded(&platform);
    files_and_terminals(&platform);
    logs_are_followed(&platform);
    an_editor_changes_an_object(&platform);
    a_missing_secret_is_named(&platform);
    platform.kubectl(&["delete", "namespace", "tour"]);
    let gone = platform.try_kubectl(&["get", "namespace", "tour"]);
    assert!(gone.as_ref().is_err_and(|error| error.contains("NotFound")), "{gone:?}");
}

fn apply(platform: &Platform, arguments: &[&str], manifest: &str) -> String {
    platform.kubectl_with_input(&[&["apply", "--filename=-"], arguments].concat(), manifest).expect("apply")
}

fn objects(platform: &Platform) {
    assert_eq!(apply(platform, &[], CONFIG), "configmap/settings created\n");
    assert_eq!(apply(platform, &[], CONFIG), "configmap/settings unchanged\n");
    let changed = CONFIG.replace("'1'", "'2'");
    assert_eq!(apply(platform, &[], &changed), "configmap/settings configured\n");
    assert_eq!(
        apply(platform, &["--server-side", "--force-conflicts"], &changed),
        "configmap/settings serverside-applied\n"
    );
    platform.kubectl(&[
        "patch",
        "configmap",
        "settings",
        "--namespace=tour",
        "--patch={\"data\":{\"b\":\"3\"}}",
    ]);
    let data = platform.get(&["configmap", "settings", "--namespace=tour"]).expect("the ConfigMap");
    assert_eq!(data["data"], serde_json::json!({"a": "2", "b": "3"}));
    let described = platform.kubectl(&["describe", "configmap", "settings", "--namespace=tour"]);
    assert!(described.contains("Name:         settings") && described.contains("b:\n----\n3"), "{described}");
    platform.kubectl(&["delete", "configmap", "settings", "--namespace=tour"]);
    let gone = platform.try_kubectl(&["get", "configmap", "settings", "--namespace=tour"]);
    assert_eq!(gone, Err("Error from server (NotFound): configmaps \"settings\" not found".to_owned()));
}

/// `kubectl create secret --dry-run=client --output=yaml | kubectl apply --filename=-`
fn a_secret_is_made_in_a_pipe(platform: &Platform) {
    let secret = platform.kubectl(&[
        "create",
        "secret",
        "generic",
        "token",
        "--namespace=tour",
        "--from-literal=value=s3cret",
        "--dry-run=client",
        "--output=yaml",
    ]);
    assert_eq!(apply(platform, &[], &secret), "secret/token created\n");
    let value = ["get", "secret", "token", "--namespace=tour", "--output=jsonpath={.data.value}"];
    assert_eq!(platform.kubectl(&value), "czNjcmV0");
}

fn workloads(platform: &Platform) {
    assert_eq!(apply(platform, &[], DEPLOYMENT), "deployment.apps/web created\n");
    let rollout = ["rollout", "status", "deployment/web", "--namespace=tour", "--timeout=60s"];
    assert!(platform.kubectl(&rollout).ends_with("deployment \"web\" successfully rolled out\n"));
    platform.kubectl(&["scale", "deployment/web", "--replicas=2", "--namespace=tour"]);
    platform.kubectl(&[
        "wait",
        "--for=jsonpath={.status.readyReplicas}=2",
        "deployment/web",
        "--namespace=tour",
        "--timeout=60s",
    ]);
    let table = platform.kubectl(&["get", "all", "--namespace=tour"]);
    assert!(table.contains("NAME                  READY   UP-TO-DATE   AVAILABLE   AGE"), "{table}");
    assert!(table.contains("deployment.apps/web   2/2     2            2"), "{table}");
    let everywhere = platform.kubectl(&["get", "pods", "--all-namespaces"]);
    assert!(everywhere.starts_with("NAMESPACE   NAME ") && everywhere.contains("\ngateway "), "{everywhere}");
    let described = platform.kubectl(&["describe", "pods", "--namespace=tour", "--selector=app=web"]);
    assert!(
        described.contains("Started container web") && described.contains("Ready                       True"),
        "{described}"
    );
    let program = ["--", "/usr/local/bin/mainstay", "--version"];
    let version = platform.kubectl(&[&["exec", "deployment/web", "--namespace=tour"], &program[..]].concat());
    assert!(version.starts_with("mainstay "), "{version}");
    platform.kubectl(&["rollout", "restart", "deployment/web", "--namespace=tour"]);
    platform.kubectl(&rollout);
}

fn ports_are_forwarded(platform: &Platform) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let pods = platform.get(&["pods", "--namespace=tour", "--selector=app=web"]).expect("the Pods");
    let mut lasting = pods["items"].as_array().into_iter().flatten();
    let lasting = lasting.rfind(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let name = lasting.and_then(|pod| pod["metadata"]["name"].as_str()).expect("a Pod that stays");
    let mut forward = Command::new(find_program("kubectl"))
        .arg("--kubeconfig")
        .arg(platform.kubeconfig())
        .args(["port-forward", "--namespace=tour", name, ":8080"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start kubectl");
    let mut line = String::new();
    // It ends when nobody reads what it says of each connection.
    let mut said = BufReader::new(forward.stdout.take().expect("its output"));
    said.read_line(&mut line).expect("its first line");
    let port = line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|rest| rest.split(' ').next());
    let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    for _ in 0..3 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect with kubectl");
        stream.set_read_timeout(Some(SOON)).expect("set a timeout");
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    forward.kill().expect("end kubectl");
    forward.wait().expect("wait for kubectl");
}

const TOOLS: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: tools, namespace: tour}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: tools, image: localhost/tools:1}]
";

/// `kubectl cp`, the end of standard input, and the size of a terminal.
fn files_and_terminals(platform: &Platform) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    platform.pack_tools();
    apply(platform, &[], TOOLS);
    platform.kubectl(&["wait", "--for=condition=Ready", "pod/tools", "--namespace=tour", "--timeout=60s"]);

    let exec = |program: &[&str], input: &str| {
        let start = ["exec", "--stdin", "--namespace=tour", "tools", "--"];
        platform.kubectl_with_input(&[&start, program].concat(), input)
    };
    let long = "0123456789abcdef".repeat(60_000);
    assert_eq!(exec(&["wc", "-c"], &long).expect("count").trim(), "960000");
    assert!(exec(&["cat"], &long).expect("copy") == long);

    let (there, back) = (directory.path().join("there"), directory.path().join("back"));
    std::fs::write(&there, &long).expect("write a file");
    let path = |path: &std::path::Path| path.to_str().expect("a plain path").to_owned();
    platform.kubectl(&["cp", "--namespace=tour", &path(&there), "tools:/tmp/copied"]);
    platform.kubectl(&["cp", "--namespace=tour", "tools:/tmp/copied", &path(&back)]);
    assert!(std::fs::read_to_string(&back).expect("read the copy") == long);

    let line = format!(
        "stty rows 33 cols 101; kubectl --kubeconfig {} exec -it -n tour tools -- stty size",
        path(&platform.kubeconfig())
    );
    // It takes a moment until the size of a terminal has arrived, so the command may have been faster.
    eventually("the terminal has the size of ours", SOON, || {
        let said = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let said = String::from_utf8_lossy(&said.expect("start script").stdout).into_owned();
        if said.trim_end().ends_with("33 101") { Ok(()) } else { Err(said) }
    });
    other_clients(platform);
    platform.kubectl(&["delete", "pod", "tools", "--namespace=tour", "--wait=false"]);
    a_pod_of_ones_own(platform, &long);
}

/// The Python and the JavaScript client talk with a container as `kubectl` does.
fn other_clients(platform: &Platform) {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `cargo xtask tools` installs them.
    let installed = crate_.join("../../target/tools/clients");
    let scripts = crate_.join("tests/clients");
    let mut python = Command::new(installed.join("python/bin/python"));
    python.arg(scripts.join("talk.py")).arg(platform.kubeconfig());
    let mut javascript = Command::new("node");
    javascript.arg(scripts.join("talk.mjs")).arg(platform.kubeconfig()).arg(installed.join("javascript"));
    for mut client in [python, javascript] {
        let output = client.stdin(Stdio::null()).output().expect("start a client");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(out, "watch\nexec\nexec with input\n", "{client:?}: {err}");
        assert!(output.status.success(), "{client:?}: {err}");
    }
}

/// `kubectl run -i --rm`: what is piped in is the container's standard input, and how it ends is how kubectl ends.
fn a_pod_of_ones_own(platform: &Platform, input: &str) {
    let run = |name: &str, script: &str| {
        let start = ["run", name, "--stdin", "--rm", "--restart=Never", "--namespace=tour"];
        let image = ["--image=localhost/tools:1", "--command", "--", "/bin/sh", "-c", script];
        platform.kubectl_with_input(&[&start[..], &image].concat(), input)
    };
    let said = run("typist", "wc -c").expect("count");
    assert!(said.starts_with("960000\n") && said.contains("pod \"typist\" deleted"), "{said}");
    let failed = run("quitter", "read -n 1 letter; exit 3");
    assert!(failed.as_ref().is_err_and(|error| error.contains("terminated (Error)")), "{failed:?}");
}

fn logs_are_followed(platform: &Platform) {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut follow = Command::new(find_program("kubectl"))
        .arg("--kubeconfig")
        .arg(platform.kubeconfig())
        .args(["logs", "--follow", "--namespace=tour", "deployment/web"])
        .stdout(log.reopen().expect("the file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("start kubectl");
    let contains = |text: &str| {
        let said = std::fs::read_to_string(log.path()).map_err(|error| error.to_string())?;
        if said.contains(text) { Ok(()) } else { Err(said) }
    };
    eventually("the log is read", SOON, || contains("listening"));
    platform.kubectl(&["delete", "deployment", "web", "--namespace=tour", "--wait=false"]);
    eventually("what it says last is followed", SOON, || contains("stopping"));
    // The stream ends when what it follows ends.
    let status = eventually("kubectl ends", SOON, || follow.try_wait().ok().flatten().ok_or("it runs"));
    assert!(status.success());
}

fn an_editor_changes_an_object(platform: &Platform) {
    apply(platform, &[], CONFIG);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let editor = directory.path().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nexec sed -i 's/a: \"1\"/a: \"edited\"/' \"$1\"\n")
        .expect("write the editor");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    let edit = Command::new(find_program("kubectl"))
        .arg("--kubeconfig")
        .arg(platform.kubeconfig())
        .args(["edit", "configmap/settings", "--namespace=tour"])
        .env("KUBE_EDITOR", &editor)
        .output()
        .expect("start kubectl");
    let said = String::from_utf8_lossy(&edit.stdout).into_owned();
    assert_eq!(said, "configmap/settings edited\n", "{}", String::from_utf8_lossy(&edit.stderr));
    let value = ["get", "configmap", "settings", "--namespace=tour", "--output=jsonpath={.data.a}"];
    assert_eq!(platform.kubectl(&value), "edited");
}

fn a_missing_secret_is_named(platform: &Platform) {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: waits, namespace: tour}\nspec:\n  \
               terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: localhost/demo-service:1\n    \
               envFrom: [{secretRef: {name: app-secrets}}]\n";
    apply(platform, &[], pod);
    let waiting = |object: &Value| {
        let waiting = &object["status"]["containerStatuses"][0]["state"]["waiting"];
        format!(
            "{}: {}",
            waiting["reason"].as_str().unwrap_or_default(),
            waiting["message"].as_str().unwrap_or_default()
        )
    };
    let expected = "CreateContainerConfigError: secret \"app-secrets\" not found";
    platform.wait_for(SOON, &["pod", "--namespace=tour", "waits"], waiting, expected);
    // Once somebody makes it, the Pod runs.
    platform.kubectl(&[
        "create",
        "secret",
        "generic",
        "app-secrets",
        "--namespace=tour",
        "--from-literal=PORT=8080",
    ]);
    platform.kubectl(&["wait", "--for=condition=Ready", "pod/waits", "--namespace=tour", "--timeout=60s"]);
    eventually("the events say what it waited for", SOON, || {
        let events = platform.kubectl(&["events", "--for=pod/waits", "--namespace=tour"]);
        if events.contains("secret \"app-secrets\" not found") { Ok(()) } else { Err(events) }
    });
}
