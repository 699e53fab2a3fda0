//! Volumes, claims, classes, and what holds configuration.

use objects::meta;
use serde_json::Value;

use super::{AGE, NAME, Printer, at, created, items, joined, name, string, text, wide};

pub(super) fn core(plural: &str) -> Option<Printer> {
    Some(match plural {
        "persistentvolumes" => Printer {
            columns: const {
                &[
                    NAME,
                    text("Capacity"),
                    text("Access Modes"),
                    text("Reclaim Policy"),
                    text("Status"),
                    text("Claim"),
                    text("StorageClass"),
                    text("VolumeAttributesClass"),
                    text("Reason"),
                    AGE,
                    wide("VolumeMode"),
                ]
            },
            cells: |object, now| {
                let claim = at(object, "/spec/claimRef");
                let claim = if claim.is_object() {
                    format!("{}/{}", string(claim, "/namespace"), string(claim, "/name"))
                } else {
                    String::new()
                };
                vec![
                    name(object),
                    string(object, "/spec/capacity/storage").into(),
                    modes(items(object, "/spec/accessModes")).into(),
                    string(object, "/spec/persistentVolumeReclaimPolicy").into(),
                    phase(object),
                    claim.into(),
                    string(object, "/spec/storageClassName").into(),
                    unset(string(object, "/spec/volumeAttributesClassName")),
                    string(object, "/status/reason").into(),
                    created(object, now),
                    unset(string(object, "/spec/volumeMode")),
                ]
            },
        },
        "persistentvolumeclaims" => Printer {
            columns: const {
                &[
                    NAME,
                    text("Status"),
                    text("Volume"),
                    text("Capacity"),
                    text("Access Modes"),
                    text("StorageClass"),
                    text("VolumeAttributesClass"),
                    AGE,
                    wide("VolumeMode"),
                ]
            },
            cells: |object, now| {
                let bound = !string(object, "/spec/volumeName").is_empty();
                let (capacity, modes) = if bound {
                    (string(object, "/status/capacity/storage"), modes(items(object, "/status/accessModes")))
                } else {
                    ("", String::new())
                };
                vec![
                    name(object),
                    phase(object),
                    string(object, "/spec/volumeName").into(),
                    capacity.into(),
                    modes.into(),
                    string(object, "/spec/storageClassName").into(),
                    unset(string(object, "/spec/volumeAttributesClassName")),
                    created(object, now),
                    unset(string(object, "/spec/volumeMode")),
                ]
            },
        },
        "configmaps" => Printer {
            columns: const { &[NAME, text("Data"), AGE] },
            cells: |object, now| {
                let count = size(object, "/data") + size(object, "/binaryData");
                vec![name(object), count.into(), created(object, now)]
            },
        },
        "secrets" => Printer {
            columns: const { &[NAME, text("Type"), text("Data"), AGE] },
            cells: |object, now| {
                vec![
                    name(object),
                    string(object, "/type").into(),
                    size(object, "/data").into(),
                    created(object, now),
                ]
            },
        },
        _ => return None,
    })
}

pub(super) fn printer(plural: &str) -> Option<Printer> {
    Some(match plural {
        "storageclasses" => Printer {
            columns: const {
                &[
                    NAME,
                    text("Provisioner"),
                    text("ReclaimPolicy"),
                    text("VolumeBindingMode"),
                    text("AllowVolumeExpansion"),
                    AGE,
                ]
            },
            cells: |object, now| {
                let default =
                    meta::annotation(object, "storageclass.kubernetes.io/is-default-class") == Some("true");
                let mark = if default { " (default)" } else { "" };
                vec![
                    format!("{}{mark}", meta::name(object)).into(),
                    string(object, "/provisioner").into(),
                    string(object, "/reclaimPolicy").into(),
                    string(object, "/volumeBindingMode").into(),
                    at(object, "/allowVolumeExpansion").as_bool().unwrap_or(false).into(),
                    created(object, now),
                ]
            },
        },
        _ => return None,
    })
}

fn size(object: &Value, pointer: &str) -> usize {
    at(object, pointer).as_object().map_or(0, serde_json::Map::len)
}

fn phase(object: &Value) -> Value {
    if meta::is_deleting(object) { "Terminating".into() } else { string(object, "/status/phase").into() }
}

fn unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

/// Access modes in their short form and upstream's order.
fn modes(list: &[Value]) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    joined(SHORT.iter().filter(|(mode, _)| list.iter().any(|entry| entry == mode)).map(|(_, short)| *short))
}
