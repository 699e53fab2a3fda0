//! What keeps Pods running: selectors, templates, how they are replaced, and what may not change.

use serde_json::Value;

use super::field::{Field, same};
use super::names::Form;
use super::pod::{self, Context};
use super::{Problems, names, selector};

/// The selector is there and selects something. Returns whether it can be used.
fn own_selector(selector: &Field<'_, '_>, kind: &str, problems: &mut Problems) -> bool {
    if !selector.is_set() {
        selector.required("", problems);
        return true;
    }
    let usable = selector::label_selector(selector, problems);
    if selector::selects_all(selector.value()) {
        let detail = format!("empty selector is invalid for {kind}");
        selector.invalid_shown(selector::shown(selector.value()), detail, problems);
    }
    usable
}

/// The template has the labels that its owner selects.
fn is_selected(spec: &Field<'_, '_>, problems: &mut Problems) {
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    if !selector::selects(spec.get("selector").value(), labels.map()) {
        labels.invalid("`selector` does not match template `labels`", problems);
    }
}

/// A template whose Pods are meant to run for ever.
fn lasting(template: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    if policy.is_set() && policy.text() != "Always" {
        policy.not_supported(&["Always"], problems);
    }
    if spec.get("activeDeadlineSeconds").is_set() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        spec.get("activeDeadlineSeconds").forbidden(detail, problems);
    }
}

/// Selector and template of Deployments and ReplicaSets.
fn selected_template(spec: &Field<'_, '_>, problems: &mut Problems) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !own_selector(&selector, "deployment", problems) {
        selector.invalid_shown(selector::shown(selector.value()), "invalid label selector", problems);
        return;
    }
    is_selected(spec, problems);
    pod::template(&template, Context::default(), problems);
    lasting(&template, "ReplicaSet", problems);
}

/// A selector stays what it is.
fn fixed_selector(old: Option<&Value>, selector: &Field<'_, '_>, problems: &mut Problems) {
    if let Some(old) = old
        && !same(&old["spec"]["selector"], selector.value())
    {
        selector.invalid_shown(selector::shown(selector.value()), "field is immutable", problems);
    }
}

pub(super) fn replica_set(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    spec.get("replicas").not_negative(problems);
    spec.get("minReadySeconds").not_negative(problems);
    selected_template(&spec, problems);
    fixed_selector(old, &spec.get("selector"), problems);
}

pub(super) fn deployment(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    spec.get("replicas").not_negative(problems);
    selected_template(&spec, problems);
    strategy(&spec.get("strategy"), problems);
    spec.get("minReadySeconds").not_negative(problems);
    spec.get("revisionHistoryLimit").not_negative(problems);
    let deadline = spec.get("progressDeadlineSeconds");
    deadline.not_negative(problems);
    if deadline.int().is_some_and(|deadline| deadline <= spec.get("minReadySeconds").number()) {
        deadline.invalid("must be greater than minReadySeconds", problems);
    }
    fixed_selector(old, &spec.get("selector"), problems);
}

/// A strategy of a type that does not exist, as upstream shows it.
fn strategy_shown(strategy: &Field<'_, '_>) -> String {
    let kind = strategy.get("type");
    format!("{{\"Type\":{:?},\"RollingUpdate\":{}}}", kind.text(), strategy.get("rollingUpdate").value())
}

fn strategy(strategy: &Field<'_, '_>, problems: &mut Problems) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => {}
        "Recreate" if rolling.is_set() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'", problems);
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (fewer, more) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            count_or_percent(&fewer, problems);
            count_or_percent(&more, problems);
            if rolling.is_set() && count_of(&fewer) == 0 && count_of(&more) == 0 {
                fewer.invalid("may not be 0 when `maxSurge` is 0", problems);
            }
            at_most_all(&fewer, problems);
        }
        _ => {
            let allowed = ["Recreate", "RollingUpdate"];
            strategy.not_supported(&allowed, problems);
            show_last(strategy_shown(strategy), problems);
        }
    }
}

fn show_last(shown: String, problems: &mut Problems) {
    if let Some(last) = problems.last_mut() {
        last.shown = Some(shown);
    }
}

fn percent(field: &Field<'_, '_>) -> Option<i64> {
    let digits = field.value().as_str()?.strip_suffix('%')?;
    let number = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    number.then(|| digits.parse().unwrap_or(i64::MAX))
}

/// The number of a count or a percentage.
pub(super) fn count_of(field: &Field<'_, '_>) -> i64 {
    percent(field).or_else(|| field.int()).or_else(|| field.text().parse().ok()).unwrap_or(0)
}

/// Not negative, or `N%`.
pub(super) fn count_or_percent(field: &Field<'_, '_>, problems: &mut Problems) {
    if field.value().is_string() && percent(field).is_none() {
        let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
        field.invalid(detail, problems);
    }
    field.not_negative(problems);
}

pub(super) fn at_most_all(field: &Field<'_, '_>, problems: &mut Problems) {
    if percent(field).is_some_and(|percent| percent > 100) {
        field.invalid("must not be greater than 100%", problems);
    }
}

pub(super) fn daemon_set(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    fixed_selector(old, &selector, problems);
    if selector::label_selector(&selector, problems) {
        is_selected(&spec, problems);
    }
    if selector.is_set() && selector::selects_all(selector.value()) {
        let detail = "empty selector is invalid for daemonset";
        selector.invalid_shown(selector::shown(selector.value()), detail, problems);
    }
    pod::template(&template, Context::default(), problems);
    lasting(&template, "DaemonSet", problems);
    spec.get("minReadySeconds").not_negative(problems);
    daemon_strategy(&spec.get("updateStrategy"), problems);
    spec.get("revisionHistoryLimit").not_negative(problems);
}

fn daemon_strategy(strategy: &Field<'_, '_>, problems: &mut Problems) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" | "OnDelete" => {}
        "RollingUpdate" => {
            let (fewer, more) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            for check in [count_or_percent, at_most_all] {
                check(&fewer, problems);
                check(&more, problems);
            }
            match (count_of(&fewer) != 0, count_of(&more) != 0) {
                (true, true) => {
                    more.invalid("may not be set when maxUnavailable is non-zero", problems);
                }
                (false, false) if rolling.is_set() => {
                    fewer.required("cannot be 0 when maxSurge is 0", problems);
                }
                _ => {}
            }
        }
        _ => {
            strategy.not_supported(&["RollingUpdate", "OnDelete"], problems);
            show_last(strategy_shown(strategy), problems);
        }
    }
}

/// What of a StatefulSet's specification may change.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn stateful_set(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let management = spec.get("podManagementPolicy");
    if !["", "OrderedReady", "Parallel"].contains(&management.text()) {
        management.invalid("must be 'OrderedReady' or 'Parallel'", problems);
    }
    set_strategy(&spec.get("updateStrategy"), problems);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        retention.get(field).one_of(&["Retain", "Delete"], problems);
    }
    if old.is_none() {
        for claim in spec.get("volumeClaimTemplates").items() {
            pod::claim_spec(&claim.get("spec"), None, problems);
        }
    }
    spec.get("replicas").not_negative(problems);
    spec.get("minReadySeconds").not_negative(problems);
    spec.named("ordinals", "ordinals.start").with(&spec.value()["ordinals"]["start"]).not_negative(problems);
    if old.is_none() {
        spec.get("serviceName").name_if_given(Form::Label, problems);
    }
    set_template(&spec, problems);
    if let Some(old) = old {
        let fixed = |(name, before): (&String, &Value)| {
            CHANGEABLE.contains(&name.as_str())
                || same(before, spec.value().get(name).unwrap_or(&Value::Null))
        };
        let before = old["spec"].as_object().into_iter().flatten();
        let added = |(name, value): (&String, &Value)| {
            CHANGEABLE.contains(&name.as_str())
                || old["spec"].get(name).is_some()
                || same(&Value::Null, value)
        };
        if !before.into_iter().all(fixed) || !spec.map().into_iter().flatten().all(added) {
            let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            spec.forbidden(detail, problems);
        }
    }
}

fn set_strategy(strategy: &Field<'_, '_>, problems: &mut Problems) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => {}
        "OnDelete" if rolling.is_set() => {
            let shown =
                format!("{{\"Partition\":{},\"MaxUnavailable\":null}}", rolling.get("partition").number());
            rolling.invalid_shown(shown, "only allowed for updateStrategy 'RollingUpdate'", problems);
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").not_negative(problems);
        }
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            strategy.invalid_shown(strategy_shown(strategy), detail, problems);
        }
    }
}

fn set_template(spec: &Field<'_, '_>, problems: &mut Problems) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !own_selector(&selector, "statefulset", problems) {
        selector.invalid_shown(selector::shown(selector.value()), "", problems);
    } else {
        is_selected(spec, problems);
        let claims = spec.get("volumeClaimTemplates").list();
        let context = Context { claims, named_by_controller: true, ..Context::default() };
        pod::template(&template, context, problems);
    }
    lasting(&template, "StatefulSet", problems);
}

pub(super) fn replication_controller(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    spec.get("minReadySeconds").not_negative(problems);
    let selector = spec.get("selector");
    selector.need(problems);
    spec.get("replicas").not_negative(problems);
    let template = spec.get("template");
    if !template.is_set() {
        template.required("", problems);
        return;
    }
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let has = |(key, value): (&String, &Value)| labels.value().get(key) == Some(value);
    if !selector.map().into_iter().flatten().all(has) {
        labels.invalid("`selector` does not match template `labels`", problems);
    }
    pod::template(&template, Context::default(), problems);
    lasting(&template, "ReplicationController", problems);
}

pub(super) fn pod_template(object: &Value, problems: &mut Problems) {
    pod::template(&Field::root(object).get("template"), Context::default(), problems);
}

pub(super) fn controller_revision(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    root.get("revision").not_negative(problems);
    let data = root.get("data");
    match old {
        None if !data.is_set() => data.required("data is mandatory", problems),
        None if !data.value().is_object() => data.required("data must be a valid JSON object", problems),
        None => {}
        Some(old) => data.fixed(&old["data"], problems),
    }
}

/// The name of a Job's or CronJob's Pods.
pub(super) fn is_host_name(name: &str) -> bool {
    names::problems(Form::Label, name).is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claim_templates_are_volumes_of_a_stateful_set() {
        let set = |mount: &str| {
            json!({"spec": {
                "serviceName": "loki",
                "selector": {"matchLabels": {"app": "loki"}},
                "volumeClaimTemplates": [{"metadata": {"name": "storage"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
                "template": {
                    "metadata": {"labels": {"app": "loki"}},
                    "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "containers": [{
                        "name": "loki", "image": "loki", "imagePullPolicy": "Always",
                        "terminationMessagePolicy": "File",
                        "volumeMounts": [{"name": mount, "mountPath": "/var/loki"}],
                    }]},
                },
            }})
        };
        let problems = |mount: &str| {
            let mut problems = Problems::default();
            stateful_set(None, &set(mount), &mut problems);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(problems("storage"), [""; 0]);
        assert_eq!(
            problems("other"),
            ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""]
        );
    }
}
