//! What may change of a Pod that exists: images, deadlines, tolerations that are added, gates that fall, and, while it
//! waits for its gates, where it may run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Field, Problems, container};
use crate::validation::field::same;
use crate::validation::selector;

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::validation) fn update(old: &Value, new: &Value, problems: &mut Problems) {
    let root = Field::root(new);
    super::metadata_and_spec(&root, problems);
    annotations(&root.get("metadata").get("annotations"), &old["metadata"]["annotations"], problems);
    let (spec, before) = (root.get("spec"), &old["spec"]);
    for list in ["containers", "initContainers"] {
        if !images(&spec.get(list), &before[list], problems) {
            return;
        }
    }
    if !deadline(&spec.get("activeDeadlineSeconds"), &before["activeDeadlineSeconds"], problems) {
        return;
    }
    tolerations(&spec.get("tolerations"), &before["tolerations"], problems);
    gates(&spec.get("schedulingGates"), &before["schedulingGates"], problems);
    if same(before, spec.value()) {
        return;
    }
    let mut changed = spec.value().clone();
    for list in ["containers", "initContainers"] {
        let items = changed[list].as_array_mut().into_iter().flatten();
        for (index, container) in items.enumerate().filter(|(_, container)| container.is_object()) {
            container["image"] = before[list][index]["image"].clone();
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        changed[field] = before[field].clone();
    }
    let grace = "terminationGracePeriodSeconds";
    if before[grace].as_i64().is_some_and(|seconds| seconds < 0) && changed[grace] == 1 {
        changed[grace] = before[grace].clone();
    }
    if before["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        placement(&spec, before, &mut changed, problems);
    }
    if !same(before, &changed) {
        spec.forbidden(CHANGEABLE, problems);
    }
}

fn annotations(new: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let guarded = |key: &str| {
        if key.starts_with("container.apparmor.security.beta.kubernetes.io/") {
            Some("AppArmor annotations")
        } else {
            (key == "kubernetes.io/config.mirror").then_some("mirror pod annotation")
        }
    };
    for (key, before) in old.as_object().into_iter().flatten() {
        if let Some(what) = guarded(key).filter(|_| new.value().get(key) != Some(before)) {
            new.key(key).forbidden(format!("may not remove or update {what}"), problems);
        }
    }
    for (key, annotation) in new.entries().filter(|(key, _)| old.get(key).is_none()) {
        if let Some(what) = guarded(key) {
            annotation.forbidden(format!("may not add {what}"), problems);
        }
    }
}

/// Whether the rest can be compared.
fn images(containers: &Field<'_, '_>, old: &Value, problems: &mut Problems) -> bool {
    if containers.list().len() != old.as_array().map_or(0, Vec::len) {
        containers.forbidden("pod updates may not add or remove containers", problems);
        return false;
    }
    for container in containers.items() {
        let image = container.get("image");
        image.need(problems);
        container::image_is_trimmed(&image, problems);
    }
    true
}

fn deadline(seconds: &Field<'_, '_>, old: &Value, problems: &mut Problems) -> bool {
    match (seconds.int(), old.as_i64()) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            seconds.invalid("must be between 0 and 2147483647, inclusive", problems);
            false
        }
        (Some(new), Some(old)) if old < new => {
            seconds.invalid("must be less than or equal to previous value", problems);
            false
        }
        (None, Some(_)) => {
            seconds.invalid("must not update from a positive integer to nil value", problems);
            true
        }
        _ => true,
    }
}

fn tolerations<'v>(new: &Field<'v, '_>, old: &'v Value, problems: &mut Problems) {
    let but_seconds = |toleration: &'v Value| {
        ["key", "operator", "value", "effect"].map(|field| toleration[field].as_str().unwrap_or_default())
    };
    let kept: BTreeSet<[&str; 4]> = new.list().iter().map(but_seconds).collect();
    for old in old.as_array().into_iter().flatten() {
        if !kept.contains(&but_seconds(old)) {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            new.forbidden(detail, problems);
            return;
        }
    }
    selector::tolerations(new, problems);
}

fn gates(new: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let known: BTreeSet<&str> =
        old.as_array().into_iter().flatten().filter_map(|gate| gate["name"].as_str()).collect();
    for gate in new.items() {
        let name = gate.get("name");
        if !known.contains(name.text()) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", name.text());
            name.forbidden(detail, problems);
        }
    }
}

/// A Pod behind gates may be told more of where to run, not less.
fn placement(spec: &Field<'_, '_>, before: &Value, changed: &mut Value, problems: &mut Problems) {
    let nodes = spec.get("nodeSelector");
    let mut kept = before["nodeSelector"].as_object().into_iter().flatten();
    if !kept.all(|(key, value)| nodes.value().get(key) == Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        nodes.invalid(detail, problems);
    }
    changed["nodeSelector"] = before["nodeSelector"].clone();
    let affinity = spec.get("affinity");
    let of_nodes = affinity.get("nodeAffinity");
    let required = of_nodes.get("requiredDuringSchedulingIgnoredDuringExecution");
    let terms = required.get("nodeSelectorTerms");
    let old_affinity = &before["affinity"]["nodeAffinity"];
    let old = &old_affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let old = old.as_array().map(Vec::as_slice).unwrap_or_default();
    if !old.is_empty() && old.len() != terms.list().len() {
        terms.invalid("no additions/deletions to non-empty NodeSelectorTerms list are allowed", problems);
    } else {
        for (term, old) in terms.items().zip(old) {
            if !only_adds(old, term.value()) {
                term.invalid("only additions are allowed (no mutations or deletions)", problems);
            }
        }
    }
    let only_nodes = |affinity: &Value| {
        affinity.as_object().is_none_or(|kinds| kinds.keys().all(|kind| kind == "nodeAffinity"))
    };
    if before["affinity"].is_null() && only_nodes(&changed["affinity"]) {
        changed["affinity"] = Value::Null;
    } else if !same(old_affinity, &changed["affinity"]["nodeAffinity"]) {
        changed["affinity"]["nodeAffinity"] = old_affinity.clone();
    }
}

fn only_adds(old: &Value, new: &Value) -> bool {
    let list = |term: &Value, field: &str| term[field].as_array().cloned().unwrap_or_default();
    let fields = ["matchExpressions", "matchFields"];
    if fields.iter().all(|field| list(old, field).is_empty()) {
        return fields.iter().all(|field| list(new, field).is_empty());
    }
    fields.iter().all(|field| list(new, field).starts_with(&list(old, field)))
}
