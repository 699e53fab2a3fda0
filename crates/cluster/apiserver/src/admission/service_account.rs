//! Every Pod runs as a ServiceAccount, and its containers find a token of it where clients look for one.

use objects::meta;
use serde_json::{Value, json};

use crate::core::Call;
use crate::error::ApiError;
use crate::{kinds, object};

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX: &str = "kube-api-access-";
/// Seconds; upstream gives projected tokens an hour and seven seconds.
const EXPIRATION: u32 = 3607;

pub(super) fn admit(call: &Call, pod: &mut Value) -> Result<(), ApiError> {
    if meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return Ok(());
    }
    let spec = &mut pod["spec"];
    let name =
        spec["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or("default").to_owned();
    spec["serviceAccountName"] = name.clone().into();
    spec["serviceAccount"] = name.clone().into();
    let namespace = &call.info.namespace;
    let key = store::Key::new("serviceaccounts", Some(namespace), &name);
    let Some(found) = call.core.store.get(&key) else {
        let because =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(ApiError::forbidden("", "pods", meta::name(pod), &because));
    };
    let account = object::decode(&found.bytes)?;
    let spec = &mut pod["spec"];
    if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && let Some(secrets) = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty())
    {
        spec["imagePullSecrets"] = secrets.clone().into();
    }
    let wanted = spec["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if wanted {
        mount(spec);
    }
    Ok(())
}

/// Adds the token volume to each container that has nothing at its place.
fn mount(spec: &mut Value) {
    let volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    let present =
        volumes.iter().filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(PREFIX));
    let name = present.map_or_else(|| format!("{PREFIX}{}", kinds::random_suffix()), str::to_owned);
    let mut mounted = false;
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let mounts = &mut container["volumeMounts"];
            if mounts.as_array().into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT) {
                continue;
            }
            let entry = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
            match mounts.as_array_mut() {
                Some(mounts) => mounts.push(entry),
                None => *mounts = json!([entry]),
            }
            mounted = true;
        }
    }
    if spec["initContainers"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("initContainers");
    }
    if mounted && present.is_none() {
        let mut volumes = volumes;
        volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
        spec["volumes"] = volumes.into();
    }
}
