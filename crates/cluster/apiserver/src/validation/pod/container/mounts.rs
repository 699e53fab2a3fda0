//! Volumes in containers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problems, Surroundings};
use crate::validation::field::Field;
use crate::validation::pod::volumes::{Volume, descending, no_backsteps};

/// Where in the container volumes are, by name.
fn by_name<'v>(list: &Field<'v, '_>, path: &str) -> BTreeMap<&'v str, &'v str> {
    let text = |item: &'v serde_json::Value, field: &str| item[field].as_str().unwrap_or_default();
    list.list().iter().map(|item| (text(item, "name"), text(item, path))).collect()
}

/// Volumes that are mounted.
pub(super) fn mounts(container: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let list = container.get("volumeMounts");
    let mut targets = BTreeSet::new();
    // Of devices of the same name the last counts.
    let devices = container.get("volumeDevices");
    let devices = by_name(&devices, "devicePath");
    let device_paths: BTreeSet<&str> = devices.values().copied().collect();
    for mount in list.items() {
        let (name, target) = (mount.get("name"), mount.get("mountPath"));
        name.need(problems);
        if !around.volumes.contains_key(name.text()) {
            name.with(&name.text().into()).not_found("", problems);
        }
        target.need(problems);
        if !targets.insert(target.text()) {
            target.invalid("must be unique", problems);
        }
        if devices.contains_key(name.text()) {
            name.invalid("must not already exist in volumeDevices", problems);
        }
        if device_paths.contains(target.text()) {
            target.invalid("must not already exist as a path in volumeDevices", problems);
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        if !sub.text().is_empty() {
            let at = list.child("subPath");
            descending(&at.with(sub.value()), problems);
        }
        if !expression.text().is_empty() {
            if !sub.text().is_empty() {
                expression.invalid("subPathExpr and subPath are mutually exclusive", problems);
            }
            let at = list.child("subPathExpr");
            descending(&at.with(expression.value()), problems);
        }
        propagation(&list, &mount, container, problems);
    }
}

fn propagation(
    list: &Field<'_, '_>,
    mount: &Field<'_, '_>,
    container: &Field<'_, '_>,
    problems: &mut Problems,
) {
    let mode = mount.get("mountPropagation");
    let at = list.child("mountPropagation");
    let at = at.with(mode.value());
    at.one_of_if_set(&["Bidirectional", "HostToContainer", "None"], problems);
    if mode.text() == "Bidirectional" && !container.get("securityContext").get("privileged").is_true() {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        at.forbidden(detail, problems);
    }
    let recursive = mount.get("recursiveReadOnly");
    let at = list.child("recursiveReadOnly");
    let at = at.with(recursive.value());
    at.one_of_if_set(&["Disabled", "Enabled", "IfPossible"], problems);
    if matches!(recursive.text(), "Enabled" | "IfPossible") {
        if !mount.get("readOnly").is_true() {
            at.forbidden("may only be specified when readOnly is true", problems);
        }
        if mode.is_set() && mode.text() != "None" {
            at.forbidden("may only be specified when mountPropagation is None or not specified", problems);
        }
    }
}

/// Volumes that are used as block devices.
pub(super) fn devices(container: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let mounts = container.get("volumeMounts");
    let mounts = by_name(&mounts, "mountPath");
    let targets: BTreeSet<&str> = mounts.values().copied().collect();
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        name.need(problems);
        if names.contains(name.text()) {
            name.invalid("must be unique", problems);
        }
        match around.volumes.get(name.text()) {
            Some(Volume::Claim) => {}
            Some(Volume::Other) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                name.invalid(detail, problems);
            }
            None => name.with(&name.text().into()).not_found("", problems),
        }
        path.need(problems);
        if paths.contains(path.text()) {
            path.invalid("must be unique", problems);
        }
        if no_backsteps(path.text()) {
            paths.insert(path.text());
        } else {
            path.invalid("can not contain backsteps ('..')", problems);
        }
        if mounts.contains_key(name.text()) {
            name.invalid("must not already exist in volumeMounts", problems);
        }
        if targets.contains(path.text()) {
            path.invalid("must not already exist as a path in volumeMounts", problems);
        }
        if !name.text().is_empty() {
            names.insert(name.text());
        }
    }
}
