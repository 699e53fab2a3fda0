//! HorizontalPodAutoscalers.

use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::names::Form;
use super::resources;

pub(super) fn autoscaler(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if least.int().is_some_and(|least| least < 1) {
        least.invalid("must be greater than or equal to 1", problems);
    }
    if most.number() < 1 {
        most.invalid_as(most.number().into(), "must be greater than 0", problems);
    }
    if least.int().is_some_and(|least| most.number() < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        most.invalid_as(most.number().into(), detail, problems);
    }
    let target = spec.get("scaleTargetRef");
    let unchanged = |old: &Value| {
        let old = &old["spec"]["scaleTargetRef"];
        ["apiVersion", "kind"].into_iter().all(|field| old[field] == *target.get(field).value())
    };
    let group = match target.get("kind").text() {
        _ if old.is_some_and(unchanged) => Group::Anything,
        // The only kind of the group without a name that can be scaled.
        "ReplicationController" => Group::Optional,
        _ => Group::Needed,
    };
    reference(&target, group, problems);
    metrics(&spec, problems);
    let at_load = |metric: &Value| metric["type"] == "Object" || metric["type"] == "External";
    let measured = spec.get("metrics").list().iter().any(at_load);
    if least.is_set() && least.number() == 0 && !measured {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        spec.get("metrics").forbidden(detail, problems);
    }
    let behavior = spec.get("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        let rules = behavior.get(direction);
        if rules.is_set() {
            scaling_rules(&rules, problems);
        }
    }
}

/// What a reference's version has to say of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Needed,
    Optional,
    Anything,
}

fn group_version(text: &str, group: Group) -> Result<(), String> {
    match (text.matches('/').count(), group) {
        (_, Group::Anything) => Ok(()),
        (2.., _) => Err(format!("unexpected GroupVersion string: {text}")),
        (0, Group::Needed) => Err("apiVersion must specify API group".to_owned()),
        (1, Group::Needed) if text.starts_with('/') => Err("apiVersion must specify API group".to_owned()),
        _ => Ok(()),
    }
}

fn reference(reference: &Field<'_, '_>, group: Group, problems: &mut Problems) {
    reference.get("kind").needs_name(Form::Segment, problems);
    reference.get("name").needs_name(Form::Segment, problems);
    let version = reference.get("apiVersion");
    if let Err(problem) = group_version(version.text(), group) {
        version.invalid_as(version.text().into(), problem, problems);
    }
}

fn metrics(spec: &Field<'_, '_>, problems: &mut Problems) {
    let metrics = spec.get("metrics");
    metrics.items().for_each(|metric| self::metric(&metric, problems));
    // The first version has one metric, which the others write as one of these.
    let percent = spec.get("targetCPUUtilizationPercentage");
    if percent.int().is_some_and(|percent| percent < 1) {
        let at = metrics.index(0);
        let at = at.child("resource");
        let at = at.child("target");
        let at = at.child("averageUtilization");
        at.with(percent.value()).invalid("must be greater than 0", problems);
    }
}

const TYPES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

fn metric(metric: &Field<'_, '_>, problems: &mut Problems) {
    let kind = metric.get("type");
    if kind.text().is_empty() {
        kind.required("must specify a metric source type", problems);
    }
    let known = TYPES.contains(&kind.text());
    if !known {
        kind.with(&kind.text().into()).not_supported(&TYPES, problems);
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.get(field).is_set()).collect();
    if let Some(first) = present.first() {
        source(&metric.get(first), first, problems);
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind.text()).map(|(_, field)| *field);
    match expected {
        Some(field) if !metric.get(field).is_set() => {
            let detail = "must populate information for the given metric source";
            metric.get(field).required(detail, problems);
        }
        Some(_) => {}
        None => kind.with(&kind.text().into()).not_supported(&TYPES, problems),
    }
    if present.len() != 1 {
        for field in present.into_iter().filter(|field| Some(*field) != expected) {
            metric.get(field).forbidden("must populate the given metric source only", problems);
        }
    }
}

fn source(source: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    let target = source.get("target");
    match kind {
        "object" => reference(&source.get("describedObject"), Group::Optional, problems),
        "containerResource" | "resource" => {
            let name = source.get("name");
            if name.text().is_empty() {
                name.required("must specify a resource name", problems);
            } else if kind == "containerResource" {
                resources::container_name(&name, name.text(), problems);
            }
            if kind == "containerResource" {
                let container = source.get("container");
                if container.text().is_empty() {
                    container.required("must specify a container", problems);
                }
                container.name_if_given(Form::Label, problems);
            }
        }
        _ => {}
    }
    if !kind.to_lowercase().ends_with("resource") {
        let metric = source.get("metric");
        let name = metric.get("name");
        if name.text().is_empty() {
            name.required("must specify a metric name", problems);
        }
        name.name_if_given(Form::Segment, problems);
    }
    self::target(&target, problems);
    needed_target(&target, kind, problems);
}

/// What of the target the kind of source cannot do without, or cannot have.
fn needed_target(target: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    let (value, average) = (target.get("value"), target.get("averageValue"));
    let utilization = target.get("averageUtilization");
    match kind {
        "object" if !value.is_set() && !average.is_set() => {
            average.required("must set either a target value or averageValue", problems);
        }
        "external" if !value.is_set() && !average.is_set() => {
            average.required("must set either a target value for metric or a per-pod target", problems);
        }
        "external" if value.is_set() && average.is_set() => {
            value.forbidden("may not set both a target value for metric and a per-pod target", problems);
        }
        "pods" if !average.is_set() => {
            average.required("must specify a positive target averageValue", problems);
        }
        "object" | "external" | "pods" => {}
        _ if !utilization.is_set() && !average.is_set() => {
            let detail = "must set either a target raw value or a target utilization";
            utilization.required(detail, problems);
        }
        _ if utilization.is_set() && average.is_set() => {
            average.forbidden("may not set both a target raw value and a target utilization", problems);
        }
        _ => {}
    }
}

fn target(target: &Field<'_, '_>, problems: &mut Problems) {
    let kind = target.get("type");
    if kind.text().is_empty() {
        kind.required("must specify a metric target type", problems);
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        let detail = "must be either Utilization, Value, or AverageValue";
        kind.invalid_as(kind.text().into(), detail, problems);
    }
    for field in ["value", "averageValue"] {
        let amount = target.get(field);
        if let Some(found) = resources::amount(amount.value())
            && (found.is_negative() || found.is_zero())
        {
            amount.invalid_as(found.to_string().into(), "must be positive", problems);
        }
    }
    let utilization = target.get("averageUtilization");
    if utilization.int().is_some_and(|percent| percent < 1) {
        utilization.invalid("must be greater than 0", problems);
    }
}

fn scaling_rules(rules: &Field<'_, '_>, problems: &mut Problems) {
    const WINDOW: i64 = 3600;
    const PERIOD: i64 = 1800;
    let window = rules.get("stabilizationWindowSeconds");
    if window.number() < 0 {
        window.invalid("must be greater than or equal to zero", problems);
    }
    if window.number() > WINDOW {
        window.invalid(format!("must be less than or equal to {WINDOW}"), problems);
    }
    rules.get("selectPolicy").one_of_if_set(&["Disabled", "Max", "Min"], problems);
    let policies = rules.get("policies");
    if policies.list().is_empty() {
        policies.required("must specify at least one Policy", problems);
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !["Pods", "Percent"].contains(&kind.text()) {
            kind.with(&kind.text().into()).not_supported(&["Percent", "Pods"], problems);
        }
        for field in ["value", "periodSeconds"] {
            let number = policy.get(field);
            if number.number() <= 0 {
                number.invalid_as(number.number().into(), "must be greater than zero", problems);
            }
        }
        let period = policy.get("periodSeconds");
        if period.number() > PERIOD {
            period.invalid(format!("must be less than or equal to {PERIOD}"), problems);
        }
    }
}
