//! LimitRanges and ResourceQuotas.

use std::collections::BTreeSet;

use objects::quantity::Quantity;
use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::{names, resources};

const TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];

pub(super) fn limit_range(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let mut seen = BTreeSet::new();
    for limit in spec.get("limits").items() {
        let kind = limit.get("type");
        let wrong = names::key_problems(kind.text());
        if wrong.is_empty() && !kind.text().contains('/') && !TYPES.contains(&kind.text()) {
            kind.invalid("must be a standard limit type or fully qualified", problems);
        }
        wrong.into_iter().for_each(|problem| kind.invalid_as(kind.text().into(), problem, problems));
        if !seen.insert(kind.text()) {
            kind.duplicate(problems);
        }
        limit_item(&limit, kind.text(), problems);
    }
}

fn limit_item(limit: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    let mut keys = BTreeSet::new();
    for field in ["max", "min", "default", "defaultRequest"] {
        let amounts = limit.get(field);
        if kind == "Pod" && field.starts_with("default") {
            if !amounts.is_empty() {
                amounts.forbidden("may not be specified when `type` is 'Pod'", problems);
            }
        } else {
            names_of(&amounts, kind, &mut keys, problems);
        }
    }
    let storage = |field: &str| limit.value()[field].get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        limit.child("limits").required(detail, problems);
    }
    names_of(&limit.get("maxLimitRequestRatio"), kind, &mut keys, problems);
    keys.into_iter().for_each(|key| compare(limit, kind, key, problems));
}

fn names_of<'v>(amounts: &Field<'v, '_>, kind: &str, keys: &mut BTreeSet<&'v str>, problems: &mut Problems) {
    for (name, amount) in amounts.entries() {
        if matches!(kind, "Pod" | "Container") {
            resources::container_name(&amount, name, problems);
        } else {
            resources::name(&amount, name, problems);
        }
    }
    keys.extend(amounts.map().into_iter().flatten().map(|(key, _)| key.as_str()));
}

/// The limits of one resource must not contradict each other.
fn compare(limit: &Field<'_, '_>, kind: &str, key: &str, problems: &mut Problems) {
    let amount = |field: &str| {
        let hidden = kind == "Pod" && field.starts_with("default");
        (!hidden).then(|| resources::amount(&limit.value()[field][key])).flatten()
    };
    let (min, max) = (amount("min"), amount("max"));
    let (default, request) = (amount("default"), amount("defaultRequest"));
    let mut tell = |field: &str, value: Quantity, detail: String| {
        let field = limit.get(field);
        field.key(key).invalid_as(value.to_string().into(), detail, problems);
    };
    if let Some((min, max)) = min.zip(max).filter(|(min, max)| min > max) {
        tell("min", min, format!("min value {min} is greater than max value {max}"));
    }
    if let Some((min, request)) = min.zip(request).filter(|(min, request)| min > request) {
        let detail = format!("min value {min} is greater than default request value {request}");
        tell("defaultRequest", request, detail);
    }
    if let Some((request, max)) = request.zip(max).filter(|(request, max)| request > max) {
        let detail = format!("default request value {request} is greater than max value {max}");
        tell("defaultRequest", request, detail);
    }
    if let Some((request, default)) = request.zip(default).filter(|(request, default)| request > default) {
        let detail = format!("default request value {request} is greater than default limit value {default}");
        tell("defaultRequest", request, detail);
    }
    if let Some((min, default)) = min.zip(default).filter(|(min, default)| min > default) {
        tell("default", min, format!("min value {min} is greater than default value {default}"));
    }
    if let Some((default, max)) = default.zip(max).filter(|(default, max)| default > max) {
        tell("default", max, format!("default value {default} is greater than max value {max}"));
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        if ratio < Quantity::from_units(1) {
            tell("maxLimitRequestRatio", ratio, format!("ratio {ratio} is less than 1"));
        }
        if let Some((min, max)) = min.zip(max) {
            let most = max.as_f64() / min.as_f64();
            if ratio.as_f64() > most {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                tell("maxLimitRequestRatio", ratio, detail);
            }
        }
    }
    if let Some((default, request)) = default.zip(request)
        && default != request
        && !resources::may_overcommit(key)
    {
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {key}");
        tell("defaultRequest", request, detail);
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];

pub(super) fn quota(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let hard = spec.get("hard");
    for (name, amount) in hard.entries() {
        resources::quota_name(&amount, name, problems);
        resources::quantity(&amount, name, problems);
    }
    let scopes = spec.get("scopes");
    for scope in scopes.strings() {
        if !SCOPES.contains(&scope) {
            scopes.invalid("unsupported scope", problems);
        }
        for _ in hard.entries().filter(|(name, _)| !counts(scope, name)) {
            scopes.invalid("unsupported scope applied to resource", problems);
        }
    }
    conflicts(&scopes, &scopes.strings().collect(), problems);
    scope_selector(&spec, problems);
    if let Some(old) = old {
        let set = |scopes: &Value| {
            let scopes = scopes.as_array().into_iter().flatten();
            scopes.map(|scope| scope.as_str().unwrap_or_default().to_owned()).collect::<BTreeSet<_>>()
        };
        if set(&old["spec"]["scopes"]) != set(scopes.value()) {
            scopes.invalid("field is immutable", problems);
        }
    }
}

fn scope_selector(spec: &Field<'_, '_>, problems: &mut Problems) {
    let selector = spec.get("scopeSelector");
    if !selector.is_set() {
        return;
    }
    let (hard, expressions) = (spec.get("hard"), selector.get("matchExpressions"));
    let mut scopes = BTreeSet::new();
    // Upstream's paths leave out which of the expressions it is.
    for expression in expressions.list() {
        let expression = expressions.with(expression);
        let (scope, values) = (expression.get("scopeName"), expression.get("values"));
        let operator = expression.get("operator");
        if !SCOPES.contains(&scope.text()) {
            scope.invalid("unsupported scope", problems);
        }
        for _ in hard.entries().filter(|(name, _)| !counts(scope.text(), name)) {
            expressions.with(selector.value()).invalid("unsupported scope applied to resource", problems);
        }
        let exists_only = !matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope.text()) && exists_only && operator.text() != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            operator.invalid_as(operator.text().into(), detail, problems);
        }
        match operator.text() {
            "In" | "NotIn" if values.list().is_empty() => {
                let detail =
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                values.required(detail, problems);
            }
            "Exists" | "DoesNotExist" if !values.list().is_empty() => {
                let detail =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                values.invalid(detail, problems);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => operator.invalid_as(other.into(), "not a valid selector operator", problems),
        }
        scopes.insert(scope.text());
    }
    conflicts(&expressions.with(spec.get("scopes").value()), &scopes, problems);
}

/// Whether a quota of the scope can count the resource.
fn counts(scope: &str, resource: &str) -> bool {
    const COMPUTE: [&str; 6] =
        ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    if !resources::is_standard_quota(resource) {
        return true;
    }
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => resource == "pods" || COMPUTE.contains(&resource),
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn conflicts(field: &Field<'_, '_>, scopes: &BTreeSet<&str>, problems: &mut Problems) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(one) && scopes.contains(other) {
            field.invalid("conflicting scopes", problems);
        }
    }
}
