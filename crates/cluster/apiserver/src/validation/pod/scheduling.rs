//! Where a Pod may run: affinities, spreading, gates.

use std::collections::{BTreeMap, BTreeSet};

use super::{Form, Problems};
use crate::validation::field::Field;
use crate::validation::selector::{self, Values};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Field<'_, '_>, problems: &mut Problems) {
    if !affinity.is_set() {
        return;
    }
    let nodes = affinity.get("nodeAffinity");
    let required = nodes.get(REQUIRED);
    if required.is_set() {
        selector::node_selector(&required, problems);
    }
    for term in nodes.get(PREFERRED).items() {
        weight(&term.get("weight"), problems);
        selector::node_selector_term(&term.get("preference"), Values::Anything, problems);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        pods.get(REQUIRED).items().for_each(|term| pod_term(&term, problems));
        for term in pods.get(PREFERRED).items() {
            weight(&term.get("weight"), problems);
            pod_term(&term.get("podAffinityTerm"), problems);
        }
    }
}

fn weight(weight: &Field<'_, '_>, problems: &mut Problems) {
    if !(1..=100).contains(&weight.number()) {
        weight.invalid_as(weight.number().into(), "must be in the range 1-100", problems);
    }
}

fn pod_term(term: &Field<'_, '_>, problems: &mut Problems) {
    selector::label_selector(&term.get("labelSelector"), problems);
    selector::label_selector(&term.get("namespaceSelector"), problems);
    let at = term.child("namespace");
    for name in term.get("namespaces").list() {
        at.with(name).name(Form::Label, problems);
    }
    label_keys(term, problems);
    let key = term.get("topologyKey");
    if key.text().is_empty() {
        key.required("can not be empty", problems);
    }
    key.with(&key.text().into()).qualified(problems);
}

/// Labels of the Pod itself that others must share or must not.
fn label_keys(term: &Field<'_, '_>, problems: &mut Problems) {
    let (same, other) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    if same.list().is_empty() && other.list().is_empty() {
        return;
    }
    let labels = term.get("labelSelector");
    for keys in [same, other] {
        if !keys.list().is_empty() && !labels.is_set() {
            keys.forbidden("must not be specified when labelSelector is not set", problems);
        } else {
            keys.items().for_each(|key| key.qualified(problems));
        }
    }
    let mut selected: BTreeSet<&str> =
        labels.get("matchLabels").map().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let places: BTreeMap<&str, usize> = same.strings().enumerate().map(|(index, key)| (key, index)).collect();
    for expression in labels.get("matchExpressions").list() {
        let key = expression["key"].as_str().unwrap_or_default();
        if let Some(index) = places.get(key).copied()
            && selected.contains(key)
        {
            let detail = "exists in both matchLabelKeys and labelSelector";
            term.index(index).invalid_as(key.into(), detail, problems);
        }
        selected.insert(key);
    }
    let others: BTreeSet<&str> = other.strings().collect();
    for key in same.items().filter(|key| others.contains(key.text())) {
        key.invalid("exists in both matchLabelKeys and mismatchLabelKeys", problems);
    }
}

pub(super) fn gates(gates: &Field<'_, '_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for gate in gates.items() {
        let name = gate.get("name");
        gate.with(&name.text().into()).qualified(problems);
        if !seen.insert(name.text()) {
            gate.duplicate_of(name.text().into(), problems);
        }
    }
}

pub(super) fn spread(constraints: &Field<'_, '_>, problems: &mut Problems) {
    const ACTIONS: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
    let mut last = BTreeMap::new();
    for (index, constraint) in constraints.items().enumerate() {
        last.insert(
            (constraint.get("topologyKey").text(), constraint.get("whenUnsatisfiable").text()),
            index,
        );
    }
    for (index, constraint) in constraints.items().enumerate() {
        let skew = constraint.get("maxSkew");
        if skew.number() <= 0 {
            skew.invalid_as(skew.number().into(), "must be greater than zero", problems);
        }
        let key = constraint.get("topologyKey");
        if key.text().is_empty() {
            key.required("can not be empty", problems);
        }
        let action = constraint.get("whenUnsatisfiable");
        if !ACTIONS.contains(&action.text()) {
            action.with(&action.text().into()).not_supported(&ACTIONS, problems);
        }
        if last.get(&(key.text(), action.text())).is_some_and(|last| *last > index) {
            let pair = format!("{{{}, {}}}", key.text(), action.text());
            constraint.child("{topologyKey, whenUnsatisfiable}").duplicate_of(pair.into(), problems);
        }
        least_domains(&constraint, action.text(), problems);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(policy).one_of_if_set(&["Honor", "Ignore"], problems);
        }
        label_keys(&constraint, problems);
        selector::label_selector(&constraint.get("labelSelector"), problems);
    }
}

fn least_domains(constraint: &Field<'_, '_>, action: &str, problems: &mut Problems) {
    let least = constraint.get("minDomains");
    if !least.is_set() {
        return;
    }
    if least.number() <= 0 {
        least.invalid("must be greater than zero", problems);
    }
    if action != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        least.invalid(detail, problems);
    }
}
