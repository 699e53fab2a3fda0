use std::time::Duration;

use serde_json::json;

use crate::machine::{SERVER, on_a_machine};

#[test]
fn a_new_process_adopts_what_runs_and_a_stopped_node_starts_it_again() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        let probe = json!({"httpGet": {"port": 8080}, "periodSeconds": 1});
        let app = json!({
            "name": "app", "command": [SERVER, "serve", "8080", "hello"], "readinessProbe": probe, "livenessProbe": probe,
        });
        machine.run("web", json!({"terminationGracePeriodSeconds": 1, "containers": [app]})).await;
        let before = machine.until_ready("web").await;
        running.end().await;

        let running = machine.up().await;
        let quick = json!({"restartPolicy": "Never", "containers": [{"name": "quick", "command": ["/bin/sh", "-c", "exit 0"]}]});
        machine.run("quick", quick).await;
        machine.until("another Pod ran", "quick", |pod| pod["status"]["phase"] == "Succeeded").await;
        let after = machine.pod("web").await.unwrap();
        assert_eq!(after["status"], before["status"], "the same container, never unready");

        assert!(running.kubelet.stop_pods(Duration::from_secs(5)).await);
        let ids: Vec<_> = running.containers.list();
        assert!(ids.iter().all(|(_, status)| !status.is_running()), "{ids:?}");
        running.end().await;

        let running = machine.up().await;
        let again = machine.until_ready("web").await;
        assert_eq!(again["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(again["status"]["containerStatuses"][0]["restartCount"], 1);
        assert_eq!(
            machine.pod("quick").await.unwrap()["status"]["phase"],
            "Succeeded",
            "what was done stays done"
        );
        machine.delete("web").await;
        machine.down(running).await;
    });
}
