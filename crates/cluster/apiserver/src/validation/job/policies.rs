//! When a Job has failed, and when it has succeeded before all its Pods have.

use std::collections::BTreeSet;

use super::{Field, Problems, schedule};

/// What a Pod that fails means for its Job.
pub(super) fn failure_policy(spec: &Field<'_, '_>, policy: &Field<'_, '_>, problems: &mut Problems) {
    const RULES: usize = 20;
    let rules = policy.get("rules");
    if rules.list().len() > RULES {
        rules.too_many(RULES, problems);
    }
    let of_pod = &spec.value()["template"]["spec"];
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| of_pod[list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    for rule in rules.items() {
        failure_rule(spec, &rule, &containers, problems);
    }
}

fn failure_rule(
    spec: &Field<'_, '_>,
    rule: &Field<'_, '_>,
    containers: &BTreeSet<&str>,
    problems: &mut Problems,
) {
    const CONDITIONS: usize = 20;
    let action = rule.get("action");
    choice(&action, &["Count", "FailIndex", "FailJob", "Ignore"], problems);
    if action.text() == "FailIndex" && !spec.get("backoffLimitPerIndex").is_set() {
        action.invalid("requires the backoffLimitPerIndex to be set", problems);
    }
    let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, containers, problems);
    }
    if conditions.list().len() > CONDITIONS {
        conditions.too_many(CONDITIONS, problems);
    }
    for condition in conditions.items() {
        condition.get("type").qualified(problems);
        choice(&condition.get("status"), &["False", "True", "Unknown"], problems);
    }
    let detail = match (codes.is_set(), conditions.list().is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    rule.invalid_shown(String::new(), detail, problems);
}

/// One of these, which all are named where none is given.
fn choice(field: &Field<'_, '_>, allowed: &[&str], problems: &mut Problems) {
    if field.text().is_empty() {
        let list: Vec<String> = allowed.iter().map(|value| format!("{value:?}")).collect();
        field.required(&format!("valid values: [{}]", list.join(" ")), problems);
    } else {
        field.one_of(allowed, problems);
    }
}

fn exit_codes(codes: &Field<'_, '_>, containers: &BTreeSet<&str>, problems: &mut Problems) {
    const VALUES: usize = 255;
    let operator = codes.get("operator");
    choice(&operator, &["In", "NotIn"], problems);
    let container = codes.get("containerName");
    if container.is_set() && !containers.contains(container.text()) {
        let detail = "must be one of the container or initContainer names in the pod template";
        container.invalid(detail, problems);
    }
    let values = codes.get("values");
    if values.list().is_empty() {
        values.invalid("at least one value is required", problems);
    } else if values.list().len() > VALUES {
        values.too_many(VALUES, problems);
    }
    let mut seen = BTreeSet::new();
    for value in values.items() {
        if operator.text() == "In" && value.number() == 0 {
            value.invalid("must not be 0 for the In operator", problems);
        }
        if !seen.insert(value.number()) {
            value.duplicate(problems);
        }
    }
    if !values.list().is_sorted_by_key(|value| value.as_i64()) {
        values.invalid("must be ordered", problems);
    }
}

/// When enough Pods have succeeded.
pub(super) fn success_policy(spec: &Field<'_, '_>, policy: &Field<'_, '_>, problems: &mut Problems) {
    const RULES: usize = 20;
    const INDEXES: usize = 64 * 1024;
    let rules = policy.get("rules");
    if rules.list().is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        rules.required(detail, problems);
    }
    if rules.list().len() > RULES {
        rules.too_many(RULES, problems);
    }
    let completions = spec.get("completions").number();
    for rule in rules.items() {
        let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
        if !count.is_set() && !indexes.is_set() {
            let detail = "at least one of succeededCount or succeededIndexes must be specified";
            rule.required(detail, problems);
        }
        if indexes.text().len() > INDEXES {
            indexes.too_long(INDEXES, problems);
        }
        let total = schedule::indexes(indexes.text(), completions).unwrap_or_else(|problem| {
            indexes.invalid(format!("error parsing succeededIndexes: {problem}"), problems);
            0
        });
        count.not_negative(problems);
        if count.number() > completions {
            let detail =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            count.invalid(detail, problems);
        }
        if indexes.is_set() && count.number() > total {
            let detail = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            count.invalid(detail, problems);
        }
    }
}
