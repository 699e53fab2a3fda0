//! Pods and the templates they are made from.

use std::collections::BTreeSet;

use objects::quantity::Quantity;
use objects::schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::names::{self, Form};
use super::{Problems, metadata};

/// What a template must say about restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    Any,
    Always,
    /// `OnFailure` or `Never`.
    Ends,
}

pub(super) fn spec(spec: &Value, path: &str, restarts: Restarts, problems: &mut Problems) {
    let volumes = volumes(spec, path, problems);
    let mut seen = BTreeSet::new();
    let main = spec["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if main.is_empty() {
        problems.push(FieldError::required(&format!("{path}.containers"), ""));
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            self::container(container, &path, &volumes, problems);
            let name = container["name"].as_str().unwrap_or_default();
            if !name.is_empty() && !seen.insert(name) {
                problems.push(FieldError::new(
                    ErrorKind::Duplicate,
                    &format!("{path}.name"),
                    name.into(),
                    "",
                ));
            }
        }
    }
    restart_policy(spec, path, restarts, problems);
    one_of(
        spec,
        path,
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        problems,
    );
    not_negative(spec, path, "terminationGracePeriodSeconds", problems);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64().filter(|seconds| *seconds < 1) {
        let detail = "must be between 1 and 2147483647, inclusive";
        problems.push(FieldError::invalid(&format!("{path}.activeDeadlineSeconds"), seconds.into(), detail));
    }
    metadata::check_label_map(&spec["nodeSelector"], &format!("{path}.nodeSelector"), problems);
}

fn restart_policy(spec: &Value, path: &str, restarts: Restarts, problems: &mut Problems) {
    let allowed: &[&str] = match restarts {
        Restarts::Any => &["Always", "Never", "OnFailure"],
        Restarts::Always => &["Always"],
        Restarts::Ends => &["Never", "OnFailure"],
    };
    let field = format!("{path}.restartPolicy");
    match spec["restartPolicy"].as_str() {
        None | Some("") => problems.push(FieldError::required(&field, "")),
        Some(policy) if !allowed.contains(&policy) => {
            problems.push(FieldError::not_supported(&field, policy.into(), allowed));
        }
        Some(_) => {}
    }
}

/// The value must be one of these, if it is there.
pub(super) fn one_of(parent: &Value, path: &str, field: &str, allowed: &[&str], problems: &mut Problems) {
    if let Some(value) = parent[field].as_str().filter(|value| !value.is_empty() && !allowed.contains(value))
    {
        problems.push(FieldError::not_supported(&format!("{path}.{field}"), value.into(), allowed));
    }
}

pub(super) fn not_negative(parent: &Value, path: &str, field: &str, problems: &mut Problems) {
    if let Some(number) = parent[field].as_i64().filter(|number| *number < 0) {
        let detail = "must be greater than or equal to 0";
        problems.push(FieldError::invalid(&format!("{path}.{field}"), number.into(), detail));
    }
}

fn label(name: &str, field: &str, problems: &mut Problems) {
    if name.is_empty() {
        problems.push(FieldError::required(field, ""));
        return;
    }
    for problem in names::problems(Form::Label, name) {
        problems.push(FieldError::invalid(field, name.into(), problem));
    }
}

/// Checks the volumes and returns their names.
fn volumes<'a>(spec: &'a Value, path: &str, problems: &mut Problems) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = volume["name"].as_str().unwrap_or_default();
        label(name, &format!("{path}.name"), problems);
        if !name.is_empty() && !names.insert(name) {
            problems.push(FieldError::new(ErrorKind::Duplicate, &format!("{path}.name"), name.into(), ""));
        }
        let sources = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name").count();
        if sources == 0 {
            problems.push(FieldError::required(&path, "must specify a volume type"));
        } else if sources > 1 {
            problems.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, problems: &mut Problems) {
    label(container["name"].as_str().unwrap_or_default(), &format!("{path}.name"), problems);
    let image = container["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        problems.push(FieldError::required(&format!("{path}.image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        problems.push(FieldError::invalid(&format!("{path}.image"), image.into(), detail));
    }
    one_of(container, path, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], problems);
    ports(container, path, problems);
    environment(container, path, problems);
    mounts(container, path, volumes, problems);
    resources(&container["resources"], &format!("{path}.resources"), problems);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        self::probe(&container[probe], &format!("{path}.{probe}"), probe != "readinessProbe", problems);
    }
}

fn ports(container: &Value, path: &str, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        match port["containerPort"].as_i64() {
            None => {}
            Some(number) if !(1..=65535).contains(&number) => {
                let detail = "must be between 1 and 65535, inclusive";
                problems.push(FieldError::invalid(&format!("{path}.containerPort"), number.into(), detail));
            }
            Some(_) => {}
        }
        one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], problems);
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            for problem in names::port_problems(name) {
                problems.push(FieldError::invalid(&format!("{path}.name"), name.into(), problem));
            }
            if !seen.insert(name) {
                problems.push(FieldError::new(
                    ErrorKind::Duplicate,
                    &format!("{path}.name"),
                    name.into(),
                    "",
                ));
            }
        }
    }
}

fn environment(container: &Value, path: &str, problems: &mut Problems) {
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = variable["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            problems.push(FieldError::required(&format!("{path}.name"), ""));
        } else if name.contains('=') || name.chars().any(|c| !(' '..='~').contains(&c)) {
            let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            problems.push(FieldError::invalid(&format!("{path}.name"), name.into(), detail));
        }
        let text = variable["value"].as_str().unwrap_or_default();
        if variable["valueFrom"].is_object() && !text.is_empty() {
            let detail = "may not be specified when `value` is not empty";
            problems.push(FieldError::invalid(&format!("{path}.valueFrom"), "".into(), detail));
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, problems: &mut Problems) {
    let mut paths = BTreeSet::new();
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            problems.push(FieldError::required(&format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            problems.push(FieldError::new(ErrorKind::NotFound, &format!("{path}.name"), name.into(), ""));
        }
        let target = mount["mountPath"].as_str().unwrap_or_default();
        if target.is_empty() {
            problems.push(FieldError::required(&format!("{path}.mountPath"), ""));
        } else if !paths.insert(target) {
            problems.push(FieldError::invalid(&format!("{path}.mountPath"), target.into(), "must be unique"));
        }
        for field in ["subPath", "subPathExpr"] {
            let sub = mount[field].as_str().unwrap_or_default();
            if sub.starts_with('/') {
                problems.push(FieldError::invalid(
                    &format!("{path}.{field}"),
                    sub.into(),
                    "must be a relative path",
                ));
            }
            if sub.split('/').any(|part| part == "..") {
                problems.push(FieldError::invalid(
                    &format!("{path}.{field}"),
                    sub.into(),
                    "must not contain '..'",
                ));
            }
        }
    }
}

fn resources(resources: &Value, path: &str, problems: &mut Problems) {
    let amount = |value: &Value| Quantity::from_value(value).ok();
    for (name, requested) in resources["requests"].as_object().into_iter().flatten() {
        let field = format!("{path}.requests");
        let Some(request) = amount(requested) else { continue };
        let negative = amount(&Value::from("0")).is_some_and(|zero| request < zero);
        if negative {
            let detail = "must be greater than or equal to 0";
            problems.push(FieldError::invalid(&format!("{field}[{name}]"), requested.clone(), detail));
        }
        if let Some(limit) = amount(&resources["limits"][name])
            && request > limit
        {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            problems.push(FieldError::invalid(&field, requested.clone(), detail));
        }
    }
}

fn probe(probe: &Value, path: &str, success_is_one: bool, problems: &mut Problems) {
    if !probe.is_object() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    match handlers.iter().filter(|handler| probe[**handler].is_object()).count() {
        0 => problems.push(FieldError::required(path, "must specify a handler type")),
        1 => {}
        _ => problems.push(FieldError::forbidden(path, "may not specify more than 1 handler type")),
    }
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        not_negative(probe, path, field, problems);
    }
    if success_is_one && probe["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1) {
        problems.push(FieldError::invalid(
            &format!("{path}.successThreshold"),
            probe["successThreshold"].clone(),
            "must be 1",
        ));
    }
}

/// What may change of a Pod that exists: images, deadlines, tolerations that are added, and gates that fall.
pub(super) fn update(old: &Value, new: &Value, problems: &mut Problems) {
    let comparable = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut)
            {
                container.remove("image");
            }
        }
        if let Some(fields) = spec.as_object_mut() {
            for field in [
                "activeDeadlineSeconds",
                "tolerations",
                "terminationGracePeriodSeconds",
                "schedulingGates",
                "ephemeralContainers",
            ] {
                fields.remove(field);
            }
        }
        spec
    };
    if comparable(old) != comparable(new) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        problems.push(FieldError::forbidden("spec", detail));
    }
}
