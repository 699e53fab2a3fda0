//! Environment variables, and references to what only the running Pod knows.

use super::{Form, Problems};
use crate::validation::field::Field;
use crate::validation::resources::amount;

/// Variables, each with a value or with one place that it comes from.
pub(super) fn variables(variables: &Field<'_, '_>, problems: &mut Problems) {
    for variable in variables.items() {
        variable.get("name").needs_name(Form::Variable, problems);
        let source = variable.get("valueFrom");
        if !source.is_set() {
            continue;
        }
        let mut sources = 0;
        for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"] {
            let reference = source.get(kind);
            if !reference.is_set() {
                continue;
            }
            sources += 1;
            match kind {
                "fieldRef" => field_reference(&reference, &VARIABLE_FIELDS, problems),
                "resourceFieldRef" => resource_reference(&reference, false, problems),
                _ => {
                    reference.get("name").name(Form::Subdomain, problems);
                    reference.get("key").needs_name(Form::ConfigKey, problems);
                }
            }
        }
        let detail = match sources {
            0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            _ if !variable.get("value").text().is_empty() => "may not be specified when `value` is not empty",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        source.invalid_as("".into(), detail, problems);
    }
}

/// Places whose every key becomes a variable.
pub(super) fn sources(list: &Field<'_, '_>, problems: &mut Problems) {
    for source in list.items() {
        source.get("prefix").name_if_given(Form::Variable, problems);
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            let reference = source.get(kind);
            if reference.is_set() {
                sources += 1;
                reference.get("name").needs_name(Form::Subdomain, problems);
            }
        }
        match sources {
            0 => list.invalid_as("".into(), "must specify one of: `configMapRef` or `secretRef`", problems),
            1 => {}
            _ => list.invalid_as("".into(), "may not have more than one field specified at a time", problems),
        }
    }
}

const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A reference to a field of the Pod.
pub(in crate::validation::pod) fn field_reference(
    reference: &Field<'_, '_>,
    allowed: &[&str],
    problems: &mut Problems,
) {
    let path = reference.get("fieldPath");
    if !path.need(problems) {
        return;
    }
    let text = path.text();
    if let Some((of, key)) = text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        let key = match of {
            "metadata.annotations" => key.to_lowercase(),
            "metadata.labels" => key.to_owned(),
            _ => {
                let detail =
                    format!("error converting fieldPath: field label does not support subscript: {text}");
                path.invalid(detail, problems);
                return;
            }
        };
        reference.with(&key.into()).qualified(problems);
        return;
    }
    const KNOWN: [&str; 13] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
    ];
    if !KNOWN.contains(&text) && text != "status.podIPs" && text != "spec.host" {
        let detail = format!("error converting fieldPath: field label not supported: {text}");
        path.invalid(detail, problems);
    } else if !allowed.contains(&text) {
        path.not_supported(allowed, problems);
    }
}

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZE_UNITS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to a container's resources.
pub(in crate::validation::pod) fn resource_reference(
    reference: &Field<'_, '_>,
    in_volume: bool,
    problems: &mut Problems,
) {
    let (resource, divisor) = (reference.get("resource"), reference.get("divisor"));
    let name = resource.text();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if in_volume && reference.get("containerName").text().is_empty() {
        reference.get("containerName").required("", problems);
    } else if resource.need(problems) && !RESOURCE_FIELDS.contains(&name) && !huge {
        resource.not_supported(&RESOURCE_FIELDS, problems);
    }
    let Some(unit) = amount(divisor.value()).filter(|unit| !unit.is_zero()) else { return };
    let unit = unit.to_string();
    let sizes = SIZE_UNITS.contains(&unit.as_str());
    let (right, what) = match name {
        "limits.cpu" | "requests.cpu" => (unit == "1" || unit == "1m", "cpu"),
        "limits.memory" | "requests.memory" => (sizes, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (sizes, "local ephemeral storage"),
        _ => (sizes || !huge, "hugepages"),
    };
    if right {
        return;
    }
    let detail = if what == "cpu" {
        "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
    } else {
        format!("only divisor's values {} are supported with the {what} resource", SIZE_UNITS.join(", "))
    };
    divisor.invalid_as(name.into(), detail, problems);
}
