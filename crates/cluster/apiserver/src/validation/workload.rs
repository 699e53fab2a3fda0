//! What runs Pods: selectors, templates, and what may not change.

use objects::schema::FieldError;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use super::pod::{self, Restarts};
use super::{Problems, metadata};

const TEMPLATE: &str = "spec.template";

fn template(spec: &Value, path: &str, restarts: Restarts, problems: &mut Problems) {
    let template = &spec["template"];
    if template.is_object() {
        metadata::check_maps(&template["metadata"], &format!("{path}.metadata"), problems);
        pod::spec(&template["spec"], &format!("{path}.spec"), restarts, problems);
    }
}

/// The selector is there, is valid, and selects the template.
fn selector(spec: &Value, problems: &mut Problems) {
    let given = &spec["selector"];
    let empty = |field: &str| match &given[field] {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if given.is_null() {
        // Its absence is reported with the other required fields.
        return;
    }
    if empty("matchLabels") && empty("matchExpressions") {
        problems.push(FieldError::invalid(
            "spec.selector",
            given.clone(),
            "empty selector is invalid for deployment",
        ));
        return;
    }
    match LabelSelector::from_object(given) {
        Ok(selector) => {
            let labels = &spec["template"]["metadata"]["labels"];
            if !selector.matches(labels.as_object()) {
                let detail = "`selector` does not match template `labels`";
                problems.push(FieldError::invalid("spec.template.metadata.labels", labels.clone(), detail));
            }
        }
        Err(error) => problems.push(FieldError::invalid("spec.selector", given.clone(), error.to_string())),
    }
}

fn immutable(old: &Value, new: &Value, path: &str, problems: &mut Problems) {
    let pointer = format!("/{}", path.replace('.', "/"));
    let (before, after) = (old.pointer(&pointer), new.pointer(&pointer));
    if before != after {
        let value = after.cloned().unwrap_or(Value::Null);
        problems.push(FieldError::invalid(path, value, "field is immutable"));
    }
}

pub(super) fn replicated(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    pod::not_negative(spec, "spec", "replicas", problems);
    pod::not_negative(spec, "spec", "minReadySeconds", problems);
    selector(spec, problems);
    template(spec, TEMPLATE, Restarts::Always, problems);
    if let Some(old) = old {
        immutable(old, object, "spec.selector", problems);
    }
}

pub(super) fn deployment(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    replicated(old, object, problems);
    let strategy = &object["spec"]["strategy"];
    pod::one_of(strategy, "spec.strategy", "type", &["Recreate", "RollingUpdate"], problems);
    if strategy["type"] == "Recreate" && strategy["rollingUpdate"].is_object() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        problems.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    let none = |field: &str| {
        matches!(&strategy["rollingUpdate"][field], Value::Number(number) if number.as_i64() == Some(0))
            || strategy["rollingUpdate"][field] == "0%"
    };
    if strategy["type"] == "RollingUpdate" && none("maxUnavailable") && none("maxSurge") {
        let value = strategy["rollingUpdate"]["maxUnavailable"].clone();
        let detail = "may not be 0 when `maxSurge` is 0";
        problems.push(FieldError::invalid("spec.strategy.rollingUpdate.maxUnavailable", value, detail));
    }
    let seconds = |field: &str| object["spec"][field].as_i64();
    if let (Some(deadline), Some(ready)) = (seconds("progressDeadlineSeconds"), seconds("minReadySeconds"))
        && deadline <= ready
    {
        let detail = "must be greater than minReadySeconds";
        problems.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline.into(), detail));
    }
}

pub(super) fn stateful_set(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    pod::not_negative(spec, "spec", "replicas", problems);
    selector(spec, problems);
    template(&with_claims(spec), TEMPLATE, Restarts::Always, problems);
    pod::one_of(spec, "spec", "podManagementPolicy", &["OrderedReady", "Parallel"], problems);
    let Some(old) = old else { return };
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            for field in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ] {
                fields.remove(field);
            }
        }
        spec
    };
    if fixed(old) != fixed(object) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        problems.push(FieldError::forbidden("spec", detail));
    }
}

/// The specification as its Pods will have it: each claim template is a volume of that name.
fn with_claims(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims: Vec<Value> = spec["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|claim| claim["metadata"]["name"].clone())
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    if claims.is_empty() || !spec["template"]["spec"].is_object() {
        return spec;
    }
    let own = spec["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    // A claim stands in for a volume of the same name.
    let named = |volume: &Value| claims.iter().any(|claim| claim["name"] == volume["name"]);
    let volumes: Vec<Value> = own.into_iter().filter(|volume| !named(volume)).chain(claims.clone()).collect();
    spec["template"]["spec"]["volumes"] = volumes.into();
    spec
}

pub(super) fn job(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        pod::not_negative(spec, "spec", field, problems);
    }
    template(spec, TEMPLATE, Restarts::Ends, problems);
    let Some(old) = old else { return };
    immutable(old, object, "spec.selector", problems);
    immutable(old, object, "spec.completionMode", problems);
    let suspended = old["spec"]["suspend"] == true && old["status"]["startTime"].is_null();
    if !suspended {
        immutable(old, object, "spec.template", problems);
    }
    if spec["completionMode"] != "Indexed" {
        immutable(old, object, "spec.completions", problems);
    }
}

pub(super) fn cron_job(object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    match spec["schedule"].as_str() {
        None => {}
        Some("") => problems.push(FieldError::required("spec.schedule", "")),
        Some(schedule) if schedule.contains("TZ") => {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            problems.push(FieldError::invalid("spec.schedule", schedule.into(), detail));
        }
        Some(schedule) if !is_schedule(schedule) => {
            let fields = schedule.split_whitespace().count();
            let detail = format!("expected exactly 5 fields, found {fields}: [{schedule}]");
            problems.push(FieldError::invalid("spec.schedule", schedule.into(), detail));
        }
        Some(_) => {}
    }
    pod::one_of(spec, "spec", "concurrencyPolicy", &["Allow", "Forbid", "Replace"], problems);
    template(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec.template", Restarts::Ends, problems);
    if let Some(zone) = spec["timeZone"].as_str()
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        let detail = format!("unknown time zone {zone}");
        problems.push(FieldError::invalid("spec.timeZone", zone.into(), detail));
    }
}

/// Five fields, or a name such as `@daily`. What the fields say is the controller's to parse.
fn is_schedule(schedule: &str) -> bool {
    const NAMES: [&str; 7] =
        ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    NAMES.contains(&schedule) || schedule.starts_with("@every ") || schedule.split_whitespace().count() == 5
}

pub(super) fn autoscaler(object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let most = spec["maxReplicas"].as_i64();
    if let Some(most) = most.filter(|most| *most < 1) {
        problems.push(FieldError::invalid("spec.maxReplicas", most.into(), "must be greater than 0"));
    }
    let least = spec["minReplicas"].as_i64();
    if let Some(least) = least.filter(|least| *least < 1) {
        problems.push(FieldError::invalid(
            "spec.minReplicas",
            least.into(),
            "must be greater than or equal to 1",
        ));
    }
    if let (Some(least), Some(most)) = (least, most)
        && most < least
    {
        let detail = "must be greater than or equal to `minReplicas`";
        problems.push(FieldError::invalid("spec.maxReplicas", most.into(), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_templates_are_volumes_of_a_stateful_set() {
        let set = |mount: &str| {
            json!({"spec": {
                "serviceName": "loki",
                "selector": {"matchLabels": {"app": "loki"}},
                "volumeClaimTemplates": [{"metadata": {"name": "storage"}, "spec": {}}],
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
