//! PersistentVolumes and claims.

use objects::quantity::Quantity;
use serde_json::Value;

use super::field::{Field, same};
use super::names::Form;
use super::pod::{self, sources};
use super::{Problems, resources, selector};

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn claim(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    pod::claim_spec(&spec, old.map(|old| &old["spec"]), problems);
    let Some(old) = old else { return };
    let before = &old["spec"];
    let bound = object["status"]["phase"] == "Bound";
    let mut changed = spec.value().clone();
    // The binder sets the volume once, and a class may be given to a claim that had none.
    if before["volumeName"].as_str().unwrap_or_default().is_empty() {
        changed["volumeName"] = before["volumeName"].clone();
    }
    if before["storageClassName"].is_null() && !changed["storageClassName"].is_null() {
        let beta = objects::meta::annotation(old, BETA_CLASS);
        if beta.is_none_or(|beta| changed["storageClassName"] == beta) {
            changed["storageClassName"] = Value::Null;
        }
    }
    if bound {
        changed["volumeAttributesClassName"] = before["volumeAttributesClassName"].clone();
        if changed["resources"]["requests"].is_object() {
            changed["resources"]["requests"]["storage"] = before["resources"]["requests"]["storage"].clone();
        }
    }
    if !same(before, &changed) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        spec.forbidden(detail, problems);
    }
    let storage = |spec: &Value| resources::amount(&spec["resources"]["requests"]["storage"]);
    if let (Some(was), Some(is)) = (storage(before), storage(spec.value()))
        && is < was
        && is <= resources::amount(&old["status"]["capacity"]["storage"]).unwrap_or(Quantity::ZERO)
    {
        let field = spec.get("resources");
        let field = field.get("requests");
        field.get("storage").forbidden("field can not be less than status.capacity", problems);
    }
    // Upstream's path leaves out the specification.
    root.child("volumeMode").with(spec.get("volumeMode").value()).fixed(&before["volumeMode"], problems);
    let class = spec.get("volumeAttributesClassName");
    if !old["status"]["currentVolumeAttributesClassName"].is_null()
        && before["volumeAttributesClassName"] != *class.value()
        && class.text().is_empty()
    {
        let to = if class.is_set() { "empty string" } else { "nil" };
        let detail =
            format!("update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil");
        class.forbidden(detail, problems);
    }
}

/// Kinds of volumes in the order in which upstream looks for them.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Where a volume's specification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Volume,
    /// In an attachment, which has no volume of its own.
    Inline,
}

pub(super) fn volume(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    volume_spec(&spec, Place::Volume, problems);
    if let Some(old) = old {
        volume_update(&spec, &root, old, problems);
    }
}

pub(super) fn volume_spec(spec: &Field<'_, '_>, place: Place, problems: &mut Problems) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let inline = place == Place::Inline;
    if inline {
        for field in ["claimRef", "capacity"] {
            if !spec.get(field).is_empty() {
                spec.get(field).forbidden(INLINE, problems);
            }
        }
        if !spec.get("csi").is_set() {
            spec.get("csi").required("has to be specified in the context of inline volumes", problems);
        }
    }
    let modes = spec.get("accessModes");
    modes.need(problems);
    pod::access_modes(&modes, problems);
    if !inline {
        capacity(&spec.get("capacity"), problems);
    }
    let reclaim = spec.get("persistentVolumeReclaimPolicy");
    if !inline {
        reclaim.one_of(&["Delete", "Recycle", "Retain"], problems);
    } else if !matches!(reclaim.text(), "" | "Retain") {
        reclaim.forbidden("may only be Retain in the context of inline volumes", problems);
    }
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() && inline {
        affinity.forbidden(INLINE, problems);
    } else if affinity.is_set() {
        let required = affinity.get("required");
        if required.is_set() {
            selector::node_selector(&required, problems);
        } else {
            required.required("must specify required node constraints", problems);
        }
    }
    sources_of(spec, problems);
    let host = spec.get("hostPath");
    if reclaim.text() == "Recycle" && host.is_set() && is_top(host.get("path").text()) {
        reclaim.forbidden("may not be 'recycle' for a hostPath mount of '/'", problems);
    }
    let class = spec.get("storageClassName");
    if inline && !class.text().is_empty() {
        class.forbidden(INLINE, problems);
    } else {
        class.name_if_given(Form::Subdomain, problems);
    }
    let mode = spec.get("volumeMode");
    if !inline {
        mode.one_of_if_set(&["Block", "Filesystem"], problems);
    } else if mode.is_set() && mode.text() != "Filesystem" {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        mode.forbidden(detail, problems);
    }
    let attributes = spec.get("volumeAttributesClassName");
    if attributes.is_set() && !inline {
        if attributes.text().is_empty() {
            attributes.required("an empty string is disallowed", problems);
        } else {
            attributes.name(Form::Subdomain, problems);
        }
        if !spec.get("csi").is_set() {
            let detail = "has to be specified when using volumeAttributesClassName";
            spec.get("csi").required(detail, problems);
        }
    }
}

/// Whether a path leads to the file system's root.
fn is_top(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    path.starts_with('/') && depth == 0
}

fn capacity(capacity: &Field<'_, '_>, problems: &mut Problems) {
    capacity.need(problems);
    if !capacity.key("storage").is_set() || capacity.map().is_some_and(|resources| resources.len() > 1) {
        capacity.not_supported(&["storage"], problems);
    }
    for (_, amount) in capacity.entries() {
        resources::basic(&amount, problems);
        resources::positive(&amount, problems);
    }
}

fn sources_of(spec: &Field<'_, '_>, problems: &mut Problems) {
    let mut count = 0;
    for kind in SOURCES {
        let source = spec.get(kind);
        if !source.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            let shown = if kind == "cephfs" { "cephFS" } else { kind };
            spec.child(shown).forbidden("may not specify more than 1 volume type", problems);
            continue;
        }
        match kind {
            "local" => {
                let path = source.get("path");
                if path.need(problems) && path.text().split('/').any(|part| part == "..") {
                    path.invalid("must not contain '..'", problems);
                }
                if !spec.get("nodeAffinity").is_set() {
                    spec.get("nodeAffinity").required("Local volume requires node affinity", problems);
                }
            }
            "csi" => csi(&source, problems),
            other => sources::check(other, spec, problems),
        }
    }
    if count == 0 {
        spec.required("must specify a volume type", problems);
    }
}

fn csi(source: &Field<'_, '_>, problems: &mut Problems) {
    sources::driver_name(&source.get("driver"), problems);
    source.get("volumeHandle").need(problems);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let secret = source.get(field);
        if secret.is_set() {
            secret.get("name").needs_name(Form::Subdomain, problems);
            secret.get("namespace").needs_name(Form::Label, problems);
        }
    }
}

fn volume_update(spec: &Field<'_, '_>, root: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let before = &old["spec"];
    let stays = |kind: &str| {
        let mut now = spec.get(kind).value().clone();
        // A secret for growing may be added later.
        if kind == "csi" && before["csi"].is_object() && before["csi"]["controllerExpandSecretRef"].is_null()
        {
            now.as_object_mut().and_then(|now| now.remove("controllerExpandSecretRef"));
        }
        same(&before[kind], &now)
    };
    if !SOURCES.into_iter().all(stays) {
        let field = spec.child("persistentvolumesource");
        field.forbidden("spec.persistentvolumesource is immutable after creation", problems);
    }
    root.child("volumeMode").with(spec.get("volumeMode").value()).fixed(&before["volumeMode"], problems);
    let affinity = spec.get("nodeAffinity");
    if !before["nodeAffinity"].is_null() && !same(&before["nodeAffinity"], affinity.value()) {
        let detail = "field is immutable, except for updating from beta label to GA";
        root.child("nodeAffinity").with(affinity.value()).invalid(detail, problems);
    }
    let class = spec.get("volumeAttributesClassName");
    if !before["volumeAttributesClassName"].is_null() && !class.is_set() {
        class.forbidden("update from non-nil value to nil is forbidden", problems);
    }
}
