use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::env::Sources;
use crate::resources::Capacity;
use crate::testing::image;

fn run(container: Value) -> Result<ContainerSpec, String> {
    let mut container = container;
    container["name"] = json!("app");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u"}, "spec": {"containers": [container]},
    }))
    .unwrap();
    let capacity = Capacity { cpu_millis: 1000, memory: 1 << 30, storage: 0 };
    let sources = Sources::new();
    let id = PodId { namespace: "shop".into(), name: "web-0".into(), uid: "u".into() };
    let volumes = BTreeMap::from([
        ("data".to_owned(), VolumeDir { path: "/pods/u/data".into(), read_only: false }),
        ("config".to_owned(), VolumeDir { path: "/pods/u/config".into(), read_only: true }),
    ]);
    let parts = Parts {
        context: Context {
            pod: &pod,
            pod_ip: "10.42.0.2",
            host_ip: "192.0.2.1",
            capacity: &capacity,
            sources: &sources,
            services: &[],
        },
        id: &id,
        container_id: "u.app.0",
        image: &image(),
        volumes: &volumes,
        network: Some(Path::new("/run/netns/pod")),
        etc: Path::new("/pods/u/etc"),
        log: Path::new("/logs/0.log"),
        cluster_domain: "cluster.local",
    };
    container_spec(&parts, &pod.spec.as_ref().unwrap().containers[0]).map_err(|error| error.to_string())
}

#[test]
fn command_and_args_replace_what_the_image_says() {
    let line = |container: Value| run(container).unwrap().args.join(" ");
    assert_eq!(line(json!({})), "/bin/sleep inf");
    assert_eq!(line(json!({"args": ["1"]})), "/bin/sleep 1");
    assert_eq!(line(json!({"command": ["sh"]})), "sh");
    assert_eq!(
        line(
            json!({"command": ["sh", "-c"], "args": ["echo $(A) $(B)"], "env": [{"name": "A", "value": "1"}]})
        ),
        "sh -c echo 1 $(B)"
    );
}

#[test]
fn the_environment_is_the_images_then_the_pods() {
    let spec = run(json!({"env": [{"name": "LANG", "value": "de"}]})).unwrap();
    let last = spec.env.iter().rfind(|(name, _)| name == "LANG").unwrap();
    assert_eq!(last.1, "de");
    assert!(spec.env.contains(&("HOSTNAME".into(), "web-0".into())));
    assert_eq!((spec.hostname.as_str(), spec.cwd.to_str()), ("web-0", Some("/")));
}

#[test]
fn mounts_are_ordered_and_the_nodes_own_volumes_are_read_only() {
    let spec = run(json!({"volumeMounts": [
        {"name": "config", "mountPath": "/data/etc/conf.d", "subPath": "a/b"},
        {"name": "data", "mountPath": "/data"},
        {"name": "data", "mountPath": "/etc/hosts", "readOnly": true},
    ]}))
    .unwrap();
    let targets: Vec<_> = spec.mounts.iter().map(|mount| mount.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/data", "/etc/hostname", "/etc/resolv.conf", "/etc/hosts", "/data/etc/conf.d"]);
    let config = &spec.mounts[4];
    assert!(config.read_only && !spec.mounts[0].read_only && spec.mounts[3].read_only);
    let expected = MountSource::Bind { path: "/pods/u/config".into(), sub_path: Some("a/b".into()) };
    assert_eq!(config.source, expected);
}

#[test]
fn a_sub_path_may_name_a_variable_but_not_leave_its_volume() {
    let mount = |field: &str, path: &str| {
        run(json!({
            "env": [{"name": "POD", "value": "web"}],
            "volumeMounts": [{"name": "data", "mountPath": "/d", (field): path}],
        }))
    };
    let spec = mount("subPathExpr", "logs/$(POD)").unwrap();
    let MountSource::Bind { sub_path, .. } = &spec.mounts[0].source else { panic!("{:?}", spec.mounts) };
    assert_eq!(sub_path.as_deref(), Some(Path::new("logs/web")));
    for path in ["../x", "a/../../x", "/etc"] {
        assert!(mount("subPath", path).unwrap_err().contains("not a path inside its volume"), "{path}");
    }
}
