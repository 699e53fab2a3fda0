use client::resource::{CONFIG_MAPS, SECRETS};
use serde_json::{Value, json};

use crate::machine::{DEADLINE, Machine, SERVER, on_a_machine};

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn shell(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// A Pod that has ended vanishes from the API before the node has cleaned up.
async fn assert_nothing_left(machine: &Machine, running: &crate::machine::Running) {
    test_kit::eventually_async("nothing is left", DEADLINE, async || {
        let mut left: Vec<String> = running.containers.list().into_iter().map(|(id, _)| id).collect();
        for dir in ["pods", "logs", "memory"] {
            let entries = std::fs::read_dir(machine.dir.path().join("kubelet").join(dir)).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

#[test]
fn a_pod_runs_is_probed_and_leaves_nothing() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        machine
            .create(&CONFIG_MAPS, "settings", json!({"data": {"COLOUR": "green", "page": "from a file"}}))
            .await;
        machine.create(&SECRETS, "keys", json!({"stringData": {"PASSWORD": "hunter2"}})).await;
        let script = format!(
            "echo $COLOUR $PASSWORD; cat /settings/page; echo; cat /keys/PASSWORD; echo; cat /etc/hosts; \
             echo x > /scratch/file && echo wrote; touch=no; (echo y > /settings/page) 2>/dev/null || echo read-only; \
             cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; exec {SERVER} serve 8080 hello"
        );
        machine
            .run(
                "web",
                json!({
                    "terminationGracePeriodSeconds": 1,
                    "volumes": [
                        {"name": "settings", "configMap": {"name": "settings"}},
                        {"name": "keys", "secret": {"secretName": "keys"}},
                        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                    ],
                    "containers": [{
                        "name": "app",
                        "command": shell(&script),
                        "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                        "startupProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "failureThreshold": 30},
                        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                        "livenessProbe": {"exec": {"command": ["/bin/sh", "-c", "true"]}, "periodSeconds": 1},
                        "volumeMounts": [
                            {"name": "settings", "mountPath": "/settings"},
                            {"name": "keys", "mountPath": "/keys"},
                            {"name": "scratch", "mountPath": "/scratch"},
                        ],
                    }],
                }),
            )
            .await;
        let pod = machine.until_ready("web").await;
        assert_eq!(pod["status"]["qosClass"], "Guaranteed");
        let log = running.log("web", "app").await;
        let ip = pod["status"]["podIP"].as_str().unwrap();
        for line in [
            "green hunter2",
            "from a file",
            "hunter2",
            &format!("{ip}\tweb"),
            "wrote",
            "read-only",
            "shop",
            "serving hello",
        ] {
            assert!(log.lines().any(|l| l == line), "{line}: {log}");
        }
        machine.delete("web").await;
        assert_nothing_left(&machine, &running).await;
        machine.down(running).await;
    });
}

#[test]
fn a_killed_container_comes_back_and_a_crashing_one_backs_off() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        machine
            .run(
                "app",
                json!({"containers": [{"name": "app", "command": shell("echo begun; exec sleep 1000")}]}),
            )
            .await;
        machine.run("bad", json!({"containers": [{"name": "bad", "command": shell("echo oh > /dev/termination-log; exit 3")}]})).await;
        let pod = machine.until_ready("app").await;
        let id =
            container(&pod)["containerID"].as_str().unwrap().strip_prefix("mainstay://").unwrap().to_owned();
        running.containers.kill(&id).await.unwrap();
        let pod = machine.until("it was restarted", "app", |pod| container(pod)["restartCount"] == 1).await;
        assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
        machine.until_ready("app").await;
        running.until_logged("app", "app", "begun").await;

        let waiting = |pod: &Value| container(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff";
        let pod = machine.until("it backs off", "bad", waiting).await;
        let last = &container(&pod)["lastState"]["terminated"];
        assert_eq!(
            (&last["exitCode"], &last["reason"], &last["message"]),
            (&json!(3), &json!("Error"), &json!("oh\n"))
        );
        machine.down(running).await;
    });
}

#[test]
fn a_missing_secret_is_waited_for() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        let env = json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "late", "key": "p"}}}]);
        machine
            .run("app", json!({"containers": [{"name": "app", "command": shell("echo got $PASSWORD; exec sleep 1000"), "env": env}]}))
            .await;
        let waiting =
            |pod: &Value| container(pod)["state"]["waiting"]["message"] == "secret \"late\" not found";
        machine.until("it waits", "app", waiting).await;
        machine.create(&SECRETS, "late", json!({"stringData": {"p": "hunter2"}})).await;
        machine.until_ready("app").await;
        running.until_logged("app", "app", "got hunter2").await;
        machine.down(running).await;
    });
}

#[test]
fn a_job_succeeds_and_a_process_that_ignores_sigterm_is_killed_in_time() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        machine.run("job", json!({"restartPolicy": "Never", "containers": [{"name": "job", "command": shell("exit 0")}]})).await;
        let stubborn = shell("trap '' TERM; echo trapped; while :; do sleep 1; done");
        machine
            .run("mule", json!({"terminationGracePeriodSeconds": 2, "containers": [{"name": "mule", "command": stubborn}]}))
            .await;
        let pod = machine.until("it succeeded", "job", |pod| pod["status"]["phase"] == "Succeeded").await;
        assert_eq!(container(&pod)["state"]["terminated"]["reason"], "Completed");
        running.until_logged("mule", "mule", "trapped").await;
        let began = std::time::Instant::now();
        machine.delete("mule").await;
        let took = began.elapsed();
        assert!(took.as_secs() >= 2 && took < DEADLINE, "{took:?}");
        machine.delete("job").await;
        assert_nothing_left(&machine, &running).await;
        machine.down(running).await;
    });
}

#[test]
fn the_security_context_is_kept() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        let script = "read -r line < /proc/self/loginuid 2>/dev/null; while read -r key value; do case $key in \
                      Uid:|Gid:|Groups:|CapEff:|NoNewPrivs:|Seccomp:) echo $key $value;; esac; done < /proc/self/status; \
                      (echo x > /file) 2>/dev/null || echo read-only; echo y > /data/file && echo wrote; exec sleep 1000";
        machine
            .run(
                "app",
                json!({
                    "securityContext": {"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456, "runAsNonRoot": true},
                    "volumes": [{"name": "data", "emptyDir": {}}],
                    "containers": [{
                        "name": "app",
                        "command": shell(script),
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                }),
            )
            .await;
        machine.until_ready("app").await;
        running.until_logged("app", "app", "wrote").await;
        let log = running.log("app", "app").await;
        for line in [
            "Uid: 1234 1234 1234 1234",
            "Gid: 2345 2345 2345 2345",
            "CapEff: 0000000000000000",
            "NoNewPrivs: 1",
            "Seccomp: 2",
            "read-only",
        ] {
            let plain = log.replace('\t', " ");
            assert!(plain.lines().any(|l| l == line), "{line}: {log}");
        }
        assert!(log.lines().any(|line| line.starts_with("Groups:") && line.contains("3456")), "{log}");
        machine.down(running).await;
    });
}

#[test]
fn a_command_runs_in_a_pod_and_its_ports_are_reached() {
    use futures::{SinkExt as _, StreamExt as _};
    use link::{ExecRequest, Input, LinkError, Node as _, Output};
    on_a_machine(async |machine| {
        let running = machine.up().await;
        let script = format!("exec {SERVER} serve 8080 hello");
        machine.run("web", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "command": shell(&script)}]})).await;
        machine.until_ready("web").await;
        let request = |container: &str, script: &str| ExecRequest {
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            container: container.to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            stdin: true,
            tty: false,
        };
        let mut session = running.kubelet.exec(request("app", "cat; echo web >&2; exit 5")).await.unwrap();
        session.input.send(Input::Bytes("typed\n".into())).await.unwrap();
        session.input.send(Input::End).await.unwrap();
        let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
        while let Some(event) = session.output.next().await {
            match event.unwrap() {
                Output::Stdout(bytes) => out.extend_from_slice(&bytes),
                Output::Stderr(bytes) => err.extend_from_slice(&bytes),
                Output::Ended(ended) => code = Some(ended),
            }
        }
        assert_eq!((&*out, &*err, code), (&b"typed\n"[..], &b"web\n"[..], Some(5)));
        // As much as waits on its way, so that the command is over before any of it is taken.
        let mut session = running.kubelet.exec(request("app", "printf %300000d 0")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let mut taken = 0;
        while let Some(Ok(Output::Stdout(bytes))) = session.output.next().await {
            taken += bytes.len();
        }
        assert_eq!(taken, 300_000, "who takes slowly loses nothing");
        let missing = running.kubelet.exec(request("nobody", "true")).await.unwrap_err();
        assert!(matches!(missing, LinkError::ContainerNotFound { .. }), "{missing}");
        let connect = |port| running.kubelet.connect("shop".to_owned(), "web".to_owned(), port);
        let mut connection = connect(8080).await.unwrap();
        connection.input.send("GET / HTTP/1.0\r\n\r\n".into()).await.unwrap();
        let mut answer = Vec::new();
        while let Some(bytes) = connection.output.next().await {
            answer.extend_from_slice(&bytes.unwrap());
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("hello"), "{answer}");
        let closed = connect(8081).await.unwrap_err();
        assert!(matches!(closed, LinkError::Connect { port: 8081, .. }), "{closed}");
        machine.delete("web").await;
        machine.down(running).await;
    });
}
