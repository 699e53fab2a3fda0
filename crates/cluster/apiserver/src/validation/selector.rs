//! Labels, and what selects by them.

use objects::selector::LabelSelector;
use serde_json::{Map, Value};

use super::Problems;
use super::field::Field;
use super::names::{self, Form};

/// Labels with valid keys and values.
pub(super) fn labels(labels: &Field<'_, '_>, problems: &mut Problems) {
    for (key, value) in labels.map().into_iter().flatten() {
        for problem in names::key_problems(key) {
            labels.invalid_as(key.as_str().into(), problem, problems);
        }
        for problem in names::value_problems(value.as_str().unwrap_or_default()) {
            labels.invalid_as(value.clone(), problem, problems);
        }
    }
}

/// A label selector, which may be absent. Returns whether it can be used.
pub(super) fn label_selector(selector: &Field<'_, '_>, problems: &mut Problems) -> bool {
    let before = problems.len();
    labels(&selector.get("matchLabels"), problems);
    for requirement in selector.get("matchExpressions").items() {
        let values = requirement.get("values");
        match requirement.get("operator").text() {
            "In" | "NotIn" if values.list().is_empty() => {
                values.required("must be specified when `operator` is 'In' or 'NotIn'", problems);
            }
            "Exists" | "DoesNotExist" if !values.list().is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                values.forbidden(detail, problems);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let operator = requirement.get("operator");
                operator.invalid_as(other.into(), "not a valid selector operator", problems);
            }
        }
        requirement.get("key").qualified(problems);
        values.items().for_each(|value| value.name(Form::LabelValue, problems));
    }
    problems.len() == before
}

/// The selector's labels and expressions together are none.
pub(super) fn selects_all(selector: &Value) -> bool {
    let none = |field: &str| match &selector[field] {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => true,
    };
    none("matchLabels") && none("matchExpressions")
}

/// Whether a selector that can be used selects labels. An absent one selects nothing, an empty one everything.
pub(super) fn selects(selector: &Value, labels: Option<&Map<String, Value>>) -> bool {
    !selector.is_null() && LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(labels))
}

/// A selector as upstream's messages show it.
pub(super) fn shown(selector: &Value) -> String {
    if selector.is_null() {
        return "null".to_owned();
    }
    let parts = ["matchLabels", "matchExpressions"].into_iter().filter_map(|field| {
        let value = selector.get(field)?;
        let empty =
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        (!empty).then(|| format!("{field:?}:{value}"))
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

/// A node selector that must have terms.
pub(super) fn node_selector(selector: &Field<'_, '_>, problems: &mut Problems) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.list().is_empty() {
        terms.required("must have at least one node selector term", problems);
    }
    terms.items().for_each(|term| node_selector_term(&term, Values::Labels, problems));
}

/// What the values of a node selector's expressions have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Labels,
    /// Preferences are not checked.
    Anything,
}

pub(super) fn node_selector_term(term: &Field<'_, '_>, values: Values, problems: &mut Problems) {
    for requirement in term.get("matchExpressions").items() {
        node_requirement(&requirement, values, problems);
    }
    for requirement in term.get("matchFields").items() {
        node_field(&requirement, problems);
    }
}

fn node_requirement(requirement: &Field<'_, '_>, form: Values, problems: &mut Problems) {
    let values = requirement.get("values");
    let count = values.list().len();
    match requirement.get("operator").text() {
        "In" | "NotIn" if count == 0 => {
            values.required("must be specified when `operator` is 'In' or 'NotIn'", problems);
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            values.forbidden(detail, problems);
        }
        "Gt" | "Lt" if count != 1 => {
            values.required("must be specified single value when `operator` is 'Lt' or 'Gt'", problems);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => {
            let operator = requirement.get("operator");
            operator.invalid_as(other.into(), "not a valid selector operator", problems);
        }
    }
    requirement.get("key").qualified(problems);
    if form == Values::Labels {
        values.items().for_each(|value| value.name(Form::LabelValue, problems));
    }
}

fn node_field(requirement: &Field<'_, '_>, problems: &mut Problems) {
    let values = requirement.get("values");
    match requirement.get("operator").text() {
        "In" | "NotIn" if values.list().len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            values.required(detail, problems);
        }
        "In" | "NotIn" => {}
        other => {
            let operator = requirement.get("operator");
            operator.invalid_as(other.into(), "not a valid selector operator", problems);
        }
    }
    let key = requirement.get("key");
    if key.text() == "metadata.name" {
        values.items().for_each(|value| value.name(Form::Subdomain, problems));
    } else {
        key.invalid_as(key.text().into(), "not a valid field selector key", problems);
    }
}

/// Taints that are tolerated.
pub(super) fn tolerations(tolerations: &Field<'_, '_>, problems: &mut Problems) {
    for toleration in tolerations.items() {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        let (value, effect) = (toleration.get("value"), toleration.get("effect"));
        if !key.text().is_empty() {
            key.qualified(problems);
        } else if operator.text() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.invalid_as(operator.text().into(), detail, problems);
        }
        if toleration.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            effect.invalid_as(effect.text().into(), detail, problems);
        }
        match operator.text() {
            "Equal" | "" => {
                let wrong = names::value_problems(value.text());
                if !wrong.is_empty() {
                    operator.invalid_as(value.text().into(), wrong.join(";"), problems);
                }
            }
            "Exists" if !value.text().is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                operator.invalid_as(value.text().into(), detail, problems);
            }
            "Exists" => {}
            _ => operator.not_supported(&["Equal", "Exists"], problems),
        }
        effect.one_of(&TAINT_EFFECTS, problems);
    }
}

/// What a taint does to Pods that do not tolerate it.
pub(super) const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
