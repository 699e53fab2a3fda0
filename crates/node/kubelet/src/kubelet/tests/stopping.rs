//! What becomes of Pods whose node was stopped, was killed while it stopped, or lost its machine.

use super::*;

fn prepared(policy: &str) -> Value {
    json!({
        "restartPolicy": policy,
        "initContainers": [{"name": "prepare", "image": "busybox:1"}],
        "containers": [{"name": "app"}],
    })
}

impl Cluster {
    /// Lets the init container end well.
    async fn prepare(&self) {
        let running = async || self.runtime.running("prepare").ok_or("it does not run");
        let id = test_kit::eventually_async("the init container runs", DEADLINE, running).await;
        self.runtime.set_exited(&id, 0);
    }

    async fn until_prepared(&self, name: &str) -> Value {
        self.prepare().await;
        self.until_ready(name).await
    }
}

fn init(pod: &Value) -> &Value {
    &pod["status"]["initContainerStatuses"][0]
}

/// Checks that a Pod was brought up again, and that it still ends as its policy says.
async fn runs_again(cluster: &Cluster, policy: &str) {
    let pod = cluster.until_prepared("work").await;
    assert_eq!((&container(&pod)["restartCount"], &init(&pod)["restartCount"]), (&json!(1), &json!(1)));
    assert!(container(&pod)["lastState"]["terminated"].is_object(), "{policy}");
    if policy == "OnFailure" {
        cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 0);
        cluster.until("it succeeded", "work", |pod| pod["status"]["phase"] == "Succeeded").await;
    }
}

fn is_disrupted(pod: &Value) {
    let status = &pod["status"];
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("Terminated")));
    assert_eq!(condition(pod, "DisruptionTarget"), "True");
    assert!(container(pod)["state"]["terminated"].is_object(), "{pod}");
}

#[tokio::test]
async fn a_stopped_node_runs_its_pods_again() {
    for policy in ["Always", "OnFailure"] {
        let mut cluster = Cluster::start().await;
        cluster.run("work", prepared(policy)).await;
        cluster.until_prepared("work").await;
        cluster.runtime.machine().obliging = true;
        assert!(cluster.kubelet().stop_pods(Duration::from_secs(5)).await);
        assert!(cluster.runtime.running("app").is_none());
        let pod = cluster.pod("work").await.unwrap();
        assert_eq!((&pod["status"]["phase"], condition(&pod, "Ready")), (&json!("Running"), "False"));
        assert_eq!(container(&pod)["state"]["waiting"]["reason"], "NodeStopped");
        assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 0);
        assert!(init(&pod)["state"]["terminated"].is_object(), "{pod}");
        cluster.down().await;
        cluster.up().await;
        runs_again(&cluster, policy).await;
    }
}

/// Somebody may be faster than the first list of Pods.
#[tokio::test]
async fn a_node_that_is_stopped_as_it_starts_ends_what_was_left_running() {
    let mut cluster = Cluster::start().await;
    cluster.run("work", prepared("Always")).await;
    cluster.until_prepared("work").await;
    cluster.runtime.machine().obliging = true;
    cluster.down().await;
    assert!(cluster.runtime.running("app").is_some());
    cluster.up().await;
    assert!(cluster.kubelet().stop_pods(Duration::from_secs(5)).await);
    assert!(cluster.runtime.running("app").is_none());
    cluster.down().await;
    cluster.up().await;
    runs_again(&cluster, "Always").await;
}

#[tokio::test]
async fn what_never_runs_twice_fails_with_the_node() {
    let mut cluster = Cluster::start().await;
    cluster.run("work", prepared("Never")).await;
    cluster.until_prepared("work").await;
    cluster.runtime.machine().obliging = true;
    assert!(cluster.kubelet().stop_pods(Duration::from_secs(5)).await);
    is_disrupted(&cluster.pod("work").await.unwrap());
    // What its Job makes in its place waits for the node.
    cluster.run("next", json!({"restartPolicy": "Never", "containers": [{"name": "app"}]})).await;
    cluster.down().await;
    let starts = cluster.runtime.machine().specs.len();
    cluster.up().await;
    cluster.until_ready("next").await;
    is_disrupted(&cluster.pod("work").await.unwrap());
    assert_eq!(cluster.runtime.machine().specs.len(), starts + 1);
}

#[tokio::test]
async fn a_kill_while_the_node_stops_changes_nothing() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut cluster = Cluster::start().await;
        cluster.run("work", prepared(policy)).await;
        cluster.until_prepared("work").await;
        cluster.runtime.machine().stubborn = true;
        let kubelet = cluster.kubelet().clone();
        let stopping = tokio::spawn(async move { kubelet.stop_pods(Duration::from_secs(60)).await });
        test_kit::eventually_async("the container is asked to end", DEADLINE, async || {
            let asked = !cluster.runtime.machine().signals.is_empty();
            asked.then_some(()).ok_or("not asked")
        })
        .await;
        cluster.down().await;
        assert!(stopping.await.unwrap(), "the workers have gone");
        // It ends well while nobody looks, and has done its work as little as before.
        cluster.runtime.set_exited(&cluster.runtime.running("app").unwrap(), 0);
        cluster.up().await;
        if policy == "Never" {
            is_disrupted(&cluster.until("it failed", "work", |pod| pod["status"]["phase"] == "Failed").await);
        } else {
            runs_again(&cluster, policy).await;
        }
    }
}

#[tokio::test]
async fn a_machine_that_was_started_again_runs_pods_from_their_beginning() {
    for policy in ["Always", "OnFailure", "Never"] {
        let mut cluster = Cluster::start().await;
        cluster.run("work", prepared(policy)).await;
        cluster.until_prepared("work").await;
        cluster.down().await;
        cluster.runtime.lose_all();
        cluster.up().await;
        if policy == "Never" {
            let pod = cluster.until("it failed", "work", |pod| pod["status"]["phase"] == "Failed").await;
            let ended = &container(&pod)["state"]["terminated"];
            assert_eq!(ended["reason"], "ContainerStatusUnknown");
            assert_eq!(condition(&pod, "DisruptionTarget"), "", "nobody knows what became of it");
        } else {
            runs_again(&cluster, policy).await;
        }
    }
}
