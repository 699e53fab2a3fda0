//! Which volume suits a claim, and what a provisioned volume looks like.

use std::path::Path;

use objects::meta;
use objects::quantity::Quantity;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use super::{PROVISIONED_BY, PROVISIONER, VOLUME_PROTECTION};

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn size(quantity: &Value) -> i64 {
    Quantity::from_value(quantity).map_or(0, |quantity| quantity.as_units())
}

/// Whether the volume is this claim's, or free to become it.
pub(super) fn may_take(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    if meta::is_deleting(volume) {
        return reference["uid"] == meta::uid(claim);
    }
    if reference.is_null() {
        return true;
    }
    let same_name =
        reference["name"] == meta::name(claim) && reference["namespace"].as_str() == meta::namespace(claim);
    let uid = reference["uid"].as_str().unwrap_or("");
    same_name && (uid.is_empty() || uid == meta::uid(claim))
}

/// The smallest volume that satisfies a claim; one that is reserved for it by name wins.
pub(super) fn best<'a>(volumes: &'a [Value], claim: &Value) -> Option<&'a Value> {
    let wanted = size(&claim["spec"]["resources"]["requests"]["storage"]);
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or("");
    let selector = match &claim["spec"]["selector"] {
        Value::Null => LabelSelector::everything(),
        selector => LabelSelector::from_object(selector).unwrap_or_else(|_| LabelSelector::nothing()),
    };
    let mode = |object: &Value| object["spec"]["volumeMode"].as_str().unwrap_or("Filesystem").to_owned();
    volumes
        .iter()
        .filter(|volume| may_take(volume, claim) && !meta::is_deleting(volume))
        .filter(|volume| {
            let reserved = !volume["spec"]["claimRef"].is_null();
            let modes = strings(&volume["spec"]["accessModes"]);
            let suits = size(&volume["spec"]["capacity"]["storage"]) >= wanted
                && strings(&claim["spec"]["accessModes"]).iter().all(|mode| modes.contains(mode))
                && mode(volume) == mode(claim);
            let same_class = volume["spec"]["storageClassName"].as_str().unwrap_or("") == class;
            suits && (reserved || same_class && selector.matches_object(volume))
        })
        .min_by_key(|volume| {
            let free = volume["spec"]["claimRef"].is_null();
            (free, size(&volume["spec"]["capacity"]["storage"]), meta::name(volume).to_owned())
        })
}

/// What a local directory cannot be, in words for an event.
pub(super) fn unsupported(claim: &Value) -> Option<String> {
    if claim["spec"]["volumeMode"] == "Block" {
        return Some("failed to provision volume: spec.volumeMode Block is not supported yet".to_owned());
    }
    if claim["spec"]["selector"].is_object() {
        return Some(
            "failed to provision volume: spec.selector is not supported by this provisioner".to_owned(),
        );
    }
    let source = ["dataSource", "dataSourceRef"].into_iter().find(|field| claim["spec"][field].is_object());
    source.map(|field| format!("failed to provision volume: spec.{field} is not supported yet"))
}

/// A volume for `claim` in a directory of `node`.
pub(super) fn volume(name: &str, path: &Path, claim: &Value, class: &Value, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": { PROVISIONED_BY: PROVISIONER },
            "finalizers": [VOLUME_PROTECTION],
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "name": meta::name(claim), "namespace": meta::namespace(claim), "uid": meta::uid(claim),
            },
            "local": { "path": path.to_string_lossy() },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchFields": [
                { "key": "metadata.name", "operator": "In", "values": [node] }] }] } },
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
            "storageClassName": meta::name(class),
            "volumeMode": "Filesystem",
        },
    })
}

/// Whether any field of `wanted` is not so in `status`.
pub(super) fn differs(status: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().any(|(field, value)| status[field] != *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume_of(name: &str, storage: &str, class: &str) -> Value {
        json!({ "metadata": { "name": name, "labels": { "tier": name } }, "spec": { "capacity": { "storage": storage },
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": class } })
    }

    fn claim(storage: &str, class: &str) -> Value {
        json!({ "metadata": { "name": "data", "namespace": "a", "uid": "c1" }, "spec": { "accessModes": ["ReadWriteOnce"],
            "storageClassName": class, "resources": { "requests": { "storage": storage } } } })
    }

    fn found<'a>(volumes: &'a [Value], claim: &Value) -> Option<&'a str> {
        best(volumes, claim).map(meta::name)
    }

    #[test]
    fn the_smallest_suitable_volume_wins() {
        let volumes =
            [volume_of("big", "10Gi", "x"), volume_of("fit", "2Gi", "x"), volume_of("other", "2Gi", "y")];
        assert_eq!(found(&volumes, &claim("1Gi", "x")), Some("fit"));
        assert_eq!(found(&volumes, &claim("5Gi", "x")), Some("big"));
        assert_eq!(found(&volumes, &claim("50Gi", "x")), None);
        assert_eq!(found(&volumes, &claim("1Gi", "")), None);
        let mut many = claim("1Gi", "x");
        many["spec"]["accessModes"] = json!(["ReadWriteMany"]);
        assert_eq!(found(&volumes, &many), None);
        let mut chosen = claim("1Gi", "x");
        chosen["spec"]["selector"] = json!({ "matchLabels": { "tier": "big" } });
        assert_eq!(found(&volumes, &chosen), Some("big"));
    }

    #[test]
    fn reservations_are_kept() {
        let mut mine = volume_of("mine", "50Gi", "z");
        mine["spec"]["claimRef"] = json!({ "name": "data", "namespace": "a" });
        let mut taken = volume_of("taken", "1Gi", "x");
        taken["spec"]["claimRef"] = json!({ "name": "data", "namespace": "a", "uid": "other" });
        let volumes = [taken, volume_of("free", "1Gi", "x"), mine];
        assert_eq!(found(&volumes, &claim("1Gi", "x")), Some("mine"));
    }
}
