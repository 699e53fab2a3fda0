use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::env::Sources;
use crate::resources::Capacity;
use crate::volumes::Token;

const CAPACITY: Capacity = Capacity { cpu_millis: 1000, memory: 1 << 30, storage: 0 };

fn contents(pairs: &[(&str, &str)]) -> Option<Contents> {
    let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    Some(Contents { data, binary: BTreeMap::from([("blob".to_owned(), vec![0, 255])]) })
}

fn run(volume: Value, spec: Value) -> Result<Vec<(String, String, u32)>, String> {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "app"}]);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web"}}, "spec": spec,
    }))
    .unwrap();
    let sources = Sources::from([
        (config_map("settings"), contents(&[("a", "1"), ("b", "2")])),
        (secret("keys"), contents(&[("key", "hunter2")])),
    ]);
    let context =
        Context { pod: &pod, pod_ip: "", host_ip: "", capacity: &CAPACITY, sources: &sources, services: &[] };
    let mut volume = volume;
    volume["name"] = json!("v");
    let volume: Volume = serde_json::from_value(volume).unwrap();
    let token = Token { value: "jwt".into(), refresh_at: Timestamp::UNIX_EPOCH };
    let tokens = Tokens::from([((String::new(), 3607), token)]);
    let files = files(&context, &volume, &tokens).map_err(|error| error.to_string())?;
    let text = |file: &File| String::from_utf8_lossy(&file.content).into_owned();
    Ok(files.iter().map(|(path, file)| (path.clone(), text(file), file.mode)).collect())
}

fn expect(list: &[(&str, &str, u32)]) -> Result<Vec<(String, String, u32)>, String> {
    Ok(list.iter().map(|(path, text, mode)| ((*path).to_owned(), (*text).to_owned(), *mode)).collect())
}

#[test]
fn whole_objects_and_chosen_items() {
    let whole = run(json!({"configMap": {"name": "settings"}}), json!({}));
    assert_eq!(whole, expect(&[("a", "1", 0o644), ("b", "2", 0o644), ("blob", "\0\u{fffd}", 0o644)]));
    // 493 is 0755 as JSON writes it.
    let items = json!([{"key": "key", "path": "dir/file"}, {"key": "blob", "path": "x", "mode": 256}]);
    let chosen =
        run(json!({"secret": {"secretName": "keys", "defaultMode": 493, "items": items}}), json!({}));
    assert_eq!(chosen, expect(&[("dir/file", "hunter2", 0o755), ("x", "\0\u{fffd}", 0o400)]));
}

#[test]
fn what_is_missing_is_named_unless_it_may_be() {
    let missing = run(json!({"secret": {"secretName": "x"}}), json!({}));
    assert_eq!(missing, Err("secret \"x\" not found".into()));
    assert_eq!(run(json!({"secret": {"secretName": "x", "optional": true}}), json!({})), expect(&[]));
    let items = json!([{"key": "nope", "path": "p"}]);
    let missing = run(json!({"configMap": {"name": "settings", "items": items}}), json!({}));
    assert_eq!(missing, Err("references non-existent config key: nope".into()));
}

#[test]
fn no_path_leaves_the_volume() {
    for path in ["../x", "/x", "a/../../x", "..data", "", "a/.."] {
        let items = json!([{"key": "a", "path": path}]);
        let error = run(json!({"configMap": {"name": "settings", "items": items}}), json!({})).unwrap_err();
        assert!(error.contains("leaves the volume"), "{path}: {error}");
    }
}

#[test]
fn the_service_account_volume() {
    let volume = json!({"projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}});
    let expected = [("ca.crt", "1", 0o644), ("namespace", "n", 0o644), ("token", "jwt", 0o644)];
    assert_eq!(run(volume.clone(), json!({})), expect(&expected));
    let private = run(volume, json!({"securityContext": {"runAsUser": 1000}})).unwrap();
    assert_eq!(private[2], ("token".into(), "jwt".into(), 0o600));
}
