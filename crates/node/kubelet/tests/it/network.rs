use client::resource::{ENDPOINT_SLICES, SERVICES};
use serde_json::json;

use crate::machine::{SERVER, on_a_machine};

#[test]
fn containers_share_the_network_and_services_are_reached_by_name() {
    on_a_machine(async |machine| {
        let running = machine.up().await;
        machine
            .run(
                "web",
                json!({"containers": [
                    {"name": "app", "args": ["serve", "8080", "hello"], "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}},
                    {"name": "side", "command": ["/bin/sh", "-c", format!("until {SERVER} get 127.0.0.1 8080; do sleep 0.1; done; exec sleep 1000")]},
                ]}),
            )
            .await;
        let pod = machine.until_ready("web").await;
        running.until_logged("web", "side", "hello").await;

        let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
        machine
            .create(
                &SERVICES,
                "web",
                json!({"spec": {"clusterIP": "10.96.7.7", "selector": {"app": "web"}, "ports": ports}}),
            )
            .await;
        machine.create(&SERVICES, "empty", json!({"spec": {"clusterIP": "10.96.7.8", "ports": ports}})).await;
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": true}}],
        });
        machine.create(&ENDPOINT_SLICES, "web-1", slice).await;
        let script = format!(
            "for name in web web.shop web.shop.svc.cluster.local 10.96.7.7; do \
               until answer=$({SERVER} get $name 80); do sleep 0.1; done; echo $name $answer; done; \
             {SERVER} get empty 80 || echo refused; exec sleep 1000"
        );
        machine
            .run("client", json!({"containers": [{"name": "client", "command": ["/bin/sh", "-c", script]}]}))
            .await;
        running.until_logged("client", "client", "refused").await;
        let log = running.log("client", "client").await;
        for line in ["web hello", "web.shop hello", "web.shop.svc.cluster.local hello", "10.96.7.7 hello"] {
            assert!(log.lines().any(|l| l == line), "{line}: {log}");
        }
        machine.down(running).await;
    });
}
